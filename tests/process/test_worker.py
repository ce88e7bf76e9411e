"""A worker's hold: one for the process, whatever runs in it, and none of a child's."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodexfer.errors import KeeperFailed
from nodexfer.integrations import worker
from nodexfer.session import BROKEN
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    yield
    worker.release()


def owners() -> list[int]:
    """The processes that hold, one for each hold."""
    try:
        record = json.loads(Path(os.environ["NODEXFER_NODE_DIR"], "registry.json").read_text())
    except FileNotFoundError:
        return []
    return sorted(hold["owner"][0] for hold in record["holds"].values())


def test_all_threads_of_a_process_have_one_hold_and_release_gives_it_back() -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(worker.node())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
    assert owners() == [os.getpid()]
    scratch = found[0].scratch
    worker.release()
    assert owners() == []
    assert not scratch.exists()


def test_a_child_of_the_process_holds_for_itself() -> None:
    """What a function forks is no part of the worker: it may live longer."""
    worker.node()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            worker.node()
            os.write(writer, json.dumps(owners()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader, "rb") as told:
        seen = json.loads(told.read())
    assert os.waitpid(child, 0)[1] == 0
    assert seen == sorted([os.getpid(), child])
    eventually(lambda: owners() == [os.getpid()])


def test_where_the_node_dir_was_removed_the_next_call_holds_anew(tmp_path: Path) -> None:
    first = worker.node()
    # At once: a keeper that looks meanwhile would make a file in a directory that is being removed.
    os.rename(os.environ["NODEXFER_NODE_DIR"], tmp_path / "removed")
    shutil.rmtree(tmp_path / "removed")
    second = worker.node()
    assert second is not first
    assert second.scratch.is_dir()


def test_another_job_or_other_settings_are_another_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    first = worker.node()
    assert worker.node({"linger": 1.0}) is not first
    monkeypatch.setenv("NODEXFER_JOB_ID", "another")
    assert worker.node().scratch != first.scratch
    monkeypatch.delenv("NODEXFER_JOB_ID")
    assert worker.node() is first
    assert len(owners()) == 3


def test_a_block_that_could_not_be_set_up_is_told_by_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BROKEN, json.dumps(KeeperFailed("It did not start.", "").as_record()))
    for _ in range(2):
        with pytest.raises(KeeperFailed, match="did not start"):
            worker.node()
    assert owners() == []
