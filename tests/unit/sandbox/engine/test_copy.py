"""One file, large enough that both sides compute its checksum at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodexfer.sandbox.engine.control import Control
from nodexfer.sandbox.engine.copy import BESIDE_BYTES, Copy, Ends
from nodexfer.sandbox.engine.journal import Journal
from nodexfer.sandbox.faults import Faults
from nodexfer.sandbox.model import FileJob, Task
from nodexfer.sandbox.site import SiteStorage
from nodexfer.sandbox.storage import StorageError
from nodexfer.sandbox.store import Store

CONTENTS = bytes(range(256)) * (2 * BESIDE_BYTES // 256)


class Side(SiteStorage):
    """Calls ``before`` where a checksum is asked for, with the file's path on this machine."""

    def __init__(self, directory: Path, before: Callable[[Path], None] = lambda _: None) -> None:
        directory.mkdir()
        super().__init__(str(directory))
        self.directory = directory
        self._before = before

    def checksum(self, path: str, algorithm: str, progress: Callable[[], None] | None = None) -> str:
        self._before(self.directory / path[1:])
        return super().checksum(path, algorithm, progress)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    store = Store(str(tmp_path / "db"))
    yield Journal(Task("t", "TRANSFER", "me", "s", "a", "b", {}, [], 0.0, 0.0, True), [], store, Faults(store))
    store.close()


def copy(source: Side, destination: Side, journal: Journal) -> FileJob:
    (source.directory / "f").write_bytes(CONTENTS)
    job = FileJob(number=0, source="/f", destination="/g", size=len(CONTENTS), modified=0.0)
    Copy(job, Ends(source, destination), {"verify_checksum": True}, journal, Control()).run()
    return job


def test_both_sides_read_at_once_and_the_destination_all_of_it(tmp_path: Path, journal: Journal) -> None:
    both = threading.Barrier(2, timeout=30)
    seen: list[bool] = []

    def wait(_: Path) -> None:
        both.wait()

    def see(path: Path) -> None:
        seen.append(path.read_bytes() == CONTENTS)
        both.wait()

    job = copy(Side(tmp_path / "a", wait), Side(tmp_path / "b", see), journal)
    assert (job.state, seen) == ("moved", [True])


def test_what_is_not_what_was_sent_is_sent_again(tmp_path: Path, journal: Journal) -> None:
    spoilt: list[Path] = []

    def spoil(path: Path) -> None:
        if not spoilt:
            with path.open("r+b") as file:
                file.seek(len(CONTENTS) - 1)
                file.write(b"!")
            spoilt.append(path)

    job = copy(Side(tmp_path / "a"), Side(tmp_path / "b", spoil), journal)
    assert [event.code for event in journal.task.events].count("VERIFY_CHECKSUM") == 1
    assert (job.state, (tmp_path / "b" / "g").read_bytes() == CONTENTS) == ("moved", True)


@pytest.mark.parametrize("there", [1000, 400, 0, None], ids=["all", "less", "empty", "gone"])
def test_a_file_goes_on_only_behind_what_the_destination_has(
    tmp_path: Path, journal: Journal, there: int | None
) -> None:
    """What was confirmed may be gone meanwhile: going on at that place would leave a hole, or fail for ever."""
    source, destination = Side(tmp_path / "a"), Side(tmp_path / "b")
    (source.directory / "f").write_bytes(CONTENTS)
    if there is not None:
        (destination.directory / "g").write_bytes(CONTENTS[:there])
    modified = (source.directory / "f").stat().st_mtime
    job = FileJob(number=0, source="/f", destination="/g", size=len(CONTENTS), modified=modified, offset=1000)
    Copy(job, Ends(source, destination), {"verify_checksum": True}, journal, Control()).run()
    assert (job.state, (destination.directory / "g").read_bytes() == CONTENTS) == ("moved", True)


@pytest.mark.parametrize("error", [StorageError("GC_NOT_CONNECTED", "gone"), ValueError("a bug")])
def test_a_destination_that_can_not_tell_is_an_error_and_no_difference(
    tmp_path: Path, journal: Journal, error: Exception
) -> None:
    def fail(_: Path) -> None:
        raise error

    with pytest.raises(type(error)):
        copy(Side(tmp_path / "a"), Side(tmp_path / "b", fail), journal)
    assert journal.task.events == []
