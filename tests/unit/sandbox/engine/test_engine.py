"""The queue when things go wrong inside: nothing hangs, and what is accepted is kept."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodexfer.sandbox.catalog import Catalog
from nodexfer.sandbox.engine.engine import Engine
from nodexfer.sandbox.engine.entry import Closed
from nodexfer.sandbox.engine.transfer import TransferAttempt
from nodexfer.sandbox.faults import Faults
from nodexfer.sandbox.model import Task
from nodexfer.sandbox.site import SiteStorage
from nodexfer.sandbox.storage import Storage
from nodexfer.sandbox.store import Store
from tests.support import eventually


class NoGcp:
    """The relay's part, with nobody connected."""

    def connected_since(self, endpoint: str) -> float | None:
        return None

    def paused(self, endpoint: str) -> bool:
        return False

    def storage(self, endpoint: str) -> Storage:
        raise AssertionError(endpoint)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(str(tmp_path / "db"))
    yield found
    found.close()


@pytest.fixture
def engine(store: Store, tmp_path: Path) -> Iterator[Engine]:
    faults = Faults(store)
    catalog = Catalog(store, faults, NoGcp(), SiteStorage)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        catalog.create_site(name, "owner", name, str(tmp_path / name))
    found = Engine(store, catalog, faults)
    found.start()
    yield found
    found.close("shutdown")


def task(name: str) -> Task:
    items = [{"source_path": "/f", "destination_path": f"/{name}"}]
    return Task(name, "TRANSFER", "me", name, "a", "b", {}, items, time.time(), time.time() + 60, True)


def over(engine: Engine, name: str) -> Task:
    found = engine.find(name)
    assert found is not None
    eventually(lambda: found.over)
    return found


def test_what_can_not_be_kept_is_not_accepted(engine: Engine, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(rows: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "save_all", full)
        with pytest.raises(sqlite3.OperationalError):
            engine.submit(task("one"))
    assert engine.find("one") is None
    engine.submit(task("one"))
    assert "one" in store.load("task", Task)


def test_a_disk_that_becomes_full_hangs_no_task(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.submit(task("one"))
    eventually(lambda: task_nice(engine, "one") == "FILE_NOT_FOUND")

    def full(rows: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store, "save_all", full)
    (tmp_path / "a" / "f").write_text("here")
    assert over(engine, "one").status == "SUCCEEDED"


def task_nice(engine: Engine, name: str) -> str:
    found = engine.find(name)
    return "" if found is None else found.nice


def test_a_bug_in_a_task_fails_it_and_the_next_one_runs(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "f").write_text("here")

    def bug(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(TransferAttempt, "run", bug)
        engine.submit(task("one"))
        assert over(engine, "one").fatal_code == "INTERNAL_ERROR"
    engine.submit(task("two"))
    assert over(engine, "two").status == "SUCCEEDED"


def test_the_clock_outlives_a_bug(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    called = threading.Event()

    def bug() -> None:
        called.set()
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_expire", bug)
        engine.kick()
        assert called.wait(30.0)
    late = task("late")
    late.deadline = time.time() + 0.1
    engine.submit(late)
    assert over(engine, "late").fatal_code == "EXPIRED"


def test_a_machine_without_threads_puts_a_task_off(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "f").write_text("here")

    def none_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        engine.submit(task("one"))
    assert over(engine, "one").status == "SUCCEEDED"


def test_a_closed_engine_takes_nothing(engine: Engine, store: Store) -> None:
    """It would be on disk, and nowhere in memory."""
    engine.close("reset")
    with pytest.raises(Closed):
        engine.submit(task("one"))
    assert store.load("task", Task) == {}


def test_of_two_submissions_with_one_id_there_is_one_task(engine: Engine) -> None:
    first, second = task("one"), task("two")
    second.submission_id = first.submission_id
    assert engine.submit(first) is first
    assert engine.submit(second) is first
    assert engine.find("two") is None


def test_a_deadline_that_was_given_ends_a_task_that_is_queued(engine: Engine) -> None:
    engine._faults.switch({"active_tasks": 0})
    waiting = task("one")
    waiting.deadline = time.time() + 0.05
    engine.submit(waiting)
    assert over(engine, "one").fatal_code == "EXPIRED"


def test_deadlines_that_nobody_gave_move_on(engine: Engine, tmp_path: Path) -> None:
    """A queued task's by a day once it has passed, a moving one's to three days from its last file."""
    (tmp_path / "a" / "f").write_text("here")
    engine._faults.switch({"active_tasks": 0})
    waiting = task("one")
    waiting.deadline, waiting.deadline_given = time.time() + 0.05, False
    engine.submit(waiting)
    eventually(lambda: waiting.deadline > time.time() + 23 * 3600)
    assert waiting.nice == "Queued"
    engine._faults.switch({"active_tasks": 3})
    assert over(engine, "one").deadline > time.time() + 71 * 3600
