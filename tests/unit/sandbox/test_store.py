"""What is kept is read back as it was; a batch is kept whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodexfer.sandbox.engine.journal import Journal
from nodexfer.sandbox.faults import Faults
from nodexfer.sandbox.model import FileJob, Task
from nodexfer.sandbox.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(str(tmp_path / "db"))
    yield found
    found.close()


def job(name: str) -> FileJob:
    return FileJob(0, name, name, 1, 1.5)


def task() -> Task:
    items = [{"source_path": "/d", "destination_path": "/d"}]
    return Task("t", "TRANSFER", "me", "s", "a", "b", {}, items, 0.0, 1e12, True, unexpanded=[0])


@pytest.mark.parametrize("name", ["plain", "ä", "not \udcff utf-8", "\ud83d", "\U0001f600", 'quote" \\udcff'])
def test_every_name_is_read_back_as_it_was(store: Store, name: str) -> None:
    store.save("file", name.encode("utf-8", "surrogatepass").hex(), job(name))
    [found] = store.load("file", FileJob).values()
    assert found == job(name)


def test_a_batch_is_kept_whole_or_not_at_all(store: Store) -> None:
    with pytest.raises(UnicodeEncodeError):
        store.save_all([("file", "1", job("/1")), ("file", "\ud800", job("/2"))])
    assert store.load("file", FileJob) == {}


def test_an_item_is_never_walked_without_its_files_on_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a server that dies in between would find the item not walked, and its files known: all twice."""
    commits: list[list[str]] = []
    save_all = store.save_all

    def count(rows: list[tuple[str, str, object]]) -> None:
        commits.append([row[0] for row in rows])
        save_all(rows)

    monkeypatch.setattr(store, "save_all", count)
    journal = Journal(task(), [], store, Faults(store))
    journal.found([job("/1"), job("/2")], 0, 0)
    journal.save()
    assert commits == [["files/t", "files/t", "task"]]
    assert store.load("task", Task)["t"].unexpanded == []
    assert len(store.load("files/t", FileJob)) == 2


def test_a_full_disk_stops_no_task_and_what_was_not_kept_is_kept_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(task(), [], store, Faults(store))
    with monkeypatch.context() as patch:

        def full(rows: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        patch.setattr(store, "save_all", full)
        journal.found([job("/1")], 0, 0)
        journal.try_save()
        with pytest.raises(sqlite3.Error):
            journal.save()
        journal.finish("SUCCEEDED")
        assert journal.task.over
    journal.save()
    assert len(store.load("files/t", FileJob)) == 1
    assert store.load("task", Task)["t"].status == "SUCCEEDED"


def test_the_end_is_on_disk_before_anybody_sees_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(task(), [], store, Faults(store))
    save_all = store.save_all

    def look(rows: list[tuple[str, str, object]]) -> None:
        assert not journal.task.over
        save_all(rows)

    monkeypatch.setattr(store, "save_all", look)
    journal.finish("FAILED")
    assert journal.task.over
    assert store.load("task", Task)["t"].status == "FAILED"


def test_the_same_error_is_said_anew_only_now_and_then(store: Store) -> None:
    """A task is tried again every second: its event log must not drown in that."""
    faults = Faults(store)
    journal = Journal(task(), [], store, faults)
    for details in ("one", "one", "other", "one"):
        journal.error("FILE_NOT_FOUND", details)
    assert [event.details for event in journal.task.events] == ["one", "other"]
    assert journal.task.faults == 2
    faults.switch({"event_seconds": 0})
    journal.error("FILE_NOT_FOUND", "one")
    assert journal.task.faults == 3
