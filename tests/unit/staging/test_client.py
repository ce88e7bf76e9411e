"""The command's end of a request: what it says of one that is gone."""

from __future__ import annotations

import shutil

import pytest

from nodexfer.config import load
from nodexfer.errors import Interrupted, NodeDirRemoved
from nodexfer.scheduler import Job
from nodexfer.staging import client

JOB = Job("local", "host", "1", 0)


@pytest.fixture
def who() -> client.Client:
    config = load()
    config.node_paths.make()
    return client.Client(config, JOB, 0.0, {})


def test_a_request_that_is_gone_with_the_node_dir_says_so_although_it_went_first(
    who: client.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def next_leaf(_: float) -> None:
        shutil.rmtree(who.config.node_dir)

    monkeypatch.setattr("time.sleep", next_leaf)
    with pytest.raises(NodeDirRemoved):
        client._result(who, f"{who.config.node_paths.spool}/job/r1")


def test_a_request_that_alone_is_gone_was_removed(who: client.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_REMOVAL_SECONDS", 0.0)
    with pytest.raises(Interrupted, match="r1 was removed"):
        client._result(who, f"{who.config.node_paths.spool}/job/r1")
