"""The command's end of a request: what it says of one that is gone."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nodexfer.config import load
from nodexfer.errors import Interrupted, NodeDirRemoved
from nodexfer.node import silence
from nodexfer.scheduler import Job
from nodexfer.staging import client, spool, via_route

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


def news(who: client.Client) -> None:
    directory = Path(who.config.node_paths.spool, "job/r1")
    directory.mkdir(parents=True)
    (directory / spool.PROGRESS).touch()
    client._News(lambda _: None).look([str(directory)])


def patience(who: client.Client) -> None:
    via_route._Patience(who, [])._look(float("inf"))


def who_blocks(who: client.Client) -> None:
    lock = os.open(who.config.node_dir, os.O_RDONLY)
    Path(who.config.node_paths.blocked).touch()
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        silence.blocked(who.config.node_paths)
    finally:
        os.close(lock)


@pytest.mark.parametrize("look", [news, patience, who_blocks])
def test_a_signal_that_comes_while_a_record_is_read_ends_the_wait(
    who: client.Client, monkeypatch: pytest.MonkeyPatch, look: Callable[[client.Client], None]
) -> None:
    """Whoever waits looks again and again, and takes what can not be read now for nothing new."""

    def told(*_: object) -> None:
        raise Interrupted("Stopped by SIGTERM.")

    for name in ("staging.spool.progress", "records.read", "node.endpoint.read"):
        monkeypatch.setattr(f"nodexfer.{name}", told)
    with pytest.raises(Interrupted, match="SIGTERM"):
        look(who)
