"""Outputs saved in the job's own process: whole copies only, known at every moment."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodexfer.errors import HomeFull, OutputMissing
from nodexfer.staging import archive, encoding, intents, journal, salvage, salvage_copy, salvage_record
from nodexfer.staging.receipt import read
from nodexfer.staging.salvage import Salvaged
from tests.support.dying import survives
from tests.support.place import OTHER, SITE, Place


def save(place: Place, *sources: str, dest: str = "site:/out/", seconds: float = 30.0, **options: Any) -> Salvaged:
    sends = intents.sends(list(sources), dest, place.config, base=str(place.node))
    return salvage.save(place.client(), sends, deadline=time.time() + seconds, **options)


def tree(top: Path) -> dict[str, bytes]:
    for name in ("one", "below/two", "below/deep/three"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(os.urandom(3000))
    (top / "empty").mkdir()
    (top / "nothing").write_bytes(b"")
    return contents(top)


def contents(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def saved_dirs(place: Place) -> list[str]:
    return salvage_record.directories(place.config.home_paths)


def test_files_and_directories_are_saved_whole_with_their_checksums(place: Place) -> None:
    have = tree(place.node / "d")
    (place.node / "f").write_bytes(b"f" * 5_000_000)
    found = save(place, "d", "f")
    data = Path(found.directory) / "data"
    assert contents(data / "0") == have
    assert (data / "0/empty").is_dir()
    assert (data / "1").read_bytes() == b"f" * 5_000_000
    assert found.unsaved == ()
    assert {(file.source, file.size) for file in found.files} == {
        (str(path), path.stat().st_size)
        for path in place.node.rglob("*")
        if path.is_file() and "nodexfer" not in str(path)
    }
    assert all(salvage_copy.checksum(file.destination).checksum == file.checksum for file in found.files)


def test_the_receipt_says_salvaged_and_where(place: Place) -> None:
    (place.node / "f").write_bytes(b"x")
    found = save(place, "f")
    kept = read(found.receipt.path)
    assert kept is not None
    assert (kept.state, kept.salvage, kept.bytes, kept.unsaved) == ("salvaged", found.directory, 1, ())


def test_what_was_written_last_is_saved_first(place: Place) -> None:
    for age, name in ((3, "old"), (1, "new"), (2, "middle")):
        (place.node / name).write_bytes(b"x")
        os.utime(place.node / name, (time.time() - age * 100,) * 2)
    one_thread = save(place, "old", "new", "middle")
    lines = journal.read(one_thread.directory)
    assert sorted(lines, key=lambda copy: copy.order) != sorted(lines, key=lambda copy: copy.number)
    assert [copy.number for copy in sorted(lines, key=lambda copy: copy.order)] == [1, 2, 0]


def order(found: Salvaged) -> list[str]:
    """The sources, in the order in which their turn came."""
    copies = sorted(journal.read(found.directory), key=lambda copy: copy.order)
    return [os.path.basename(copy.source) for copy in copies]


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ([], ["new", "log", "best1", "best2", "ckpt"]),
        (["ckpt"], ["ckpt", "new", "log", "best1", "best2"]),
        (["d/best*", "new"], ["best1", "best2", "new", "log", "ckpt"]),
        (["best2", "d"], ["best2", "log", "best1", "ckpt", "new"]),
        (["best?", "ckpt"], ["best1", "best2", "ckpt", "new", "log"]),
        (["node/d"], ["log", "best1", "best2", "ckpt", "new"]),
        (["*/ckpt", "absent"], ["ckpt", "new", "log", "best1", "best2"]),
    ],
)
def test_what_was_named_comes_first_and_then_the_newest(place: Place, first: list[str], expected: list[str]) -> None:
    (place.node / "d/sub").mkdir(parents=True)
    for age, name in enumerate(("new", "d/log", "d/best1", "d/best2", "d/sub/ckpt")):
        (place.node / name).write_bytes(b"x")
        os.utime(place.node / name, (time.time() - age * 100,) * 2)
    assert order(save(place, "d", "new", first=first)) == expected


def test_what_was_named_is_what_a_full_file_system_still_takes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.node / "d").mkdir()
    for age, name in enumerate(("new", "newer", "d/best")):
        (place.node / name).write_bytes(bytes(100_000))
        os.utime(place.node / name, (time.time() - age * 100,) * 2)
    Quota(monkeypatch, 150_000, errno.ENOSPC)
    monkeypatch.setattr(salvage, "THREADS", 1)
    with pytest.raises(HomeFull, match="d/best"):
        save(place, "d", "new", "newer", first=["best"])
    (directory,) = saved_dirs(place)
    assert [os.path.basename(copy.source) for copy in journal.read(directory)] == ["best"]


def test_what_is_wrong_with_one_output_does_not_cost_the_others(place: Place) -> None:
    (place.node / "good").write_bytes(b"good")
    os.mkfifo(place.node / "pipe")
    (place.node / "link").symlink_to("good")
    found = save(place, "pipe", "missing", "good", "link")
    assert {os.path.basename(file.source) for file in found.files} == {"good", "link"}
    assert [text.rpartition("/")[2] for text in found.unsaved] == [
        "pipe: it is no plain file",
        "missing: it does not exist",
    ] or {text.rpartition("/")[2] for text in found.unsaved} == {
        "pipe: it is no plain file",
        "missing: it does not exist",
    }


def test_nothing_to_save_is_said_and_leaves_nothing(place: Place) -> None:
    with pytest.raises(OutputMissing, match="nothing to save"):
        save(place, "missing")
    assert saved_dirs(place) == []


def test_a_name_that_is_not_utf8_is_saved_too(place: Place) -> None:
    """Under a name that Globus can move, which is said; nothing else is lost to it."""
    top = place.node / "d" / os.fsdecode(b"\xfcber")
    top.mkdir(parents=True)
    long = b"\xff" * 200
    for name in (b"caf\xe9", b"caf%E9", b"caf%E9%", "café".encode(), long):
        (top / os.fsdecode(name)).write_bytes(name)
    found = save(place, "d")
    data = Path(found.directory) / "data/0"
    saved = {path.name: path.read_bytes() for path in (data / "%FCber").iterdir()}
    assert saved == {
        "caf%E9%%": b"caf\xe9",
        "caf%E9": b"caf%E9",
        "caf%E9%": b"caf%E9%",
        "café": "café".encode(),
        "%FF" * 80: long,
    }
    kept = archive.find(place.config.home_paths, found.receipt.id)
    assert len(kept.warnings) == 3
    words = "its name is not UTF-8, which Globus does not move; it was saved, and is sent, as %FCber"
    assert f"{place.node}/d/%FCber: {words}" in kept.warnings
    assert {file.source for file in kept.files} == {encoding.utf8(str(path)) for path in top.iterdir()}


def test_when_the_time_is_up_what_is_whole_counts_and_the_rest_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        (place.node / f"f{number:02}").write_bytes(bytes(200_000))
    deadline, synced = time.time() + 4.0, list[int]()

    def slow(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) > 4:
            time.sleep(max(deadline + 0.5 - time.time(), 0.0))
        os.fsync(descriptor)

    monkeypatch.setattr(salvage_copy, "os", _Os(fsync=slow))
    found = save(place, *(f"f{number:02}" for number in range(40)), seconds=deadline - time.time())
    assert len(synced) <= 4 + salvage_copy.THREADS, "nothing was begun when the time was up"
    assert 0 < len(found.files) < 40
    assert len(found.files) + len(found.unsaved) == 40
    assert all("the time was up" in text for text in found.unsaved)
    assert_only_whole_copies(found.directory)


class Quota:
    """A file system that takes so many bytes more, and says so only when they are written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, code: int) -> None:
        self.room, self._code, self._write = room, code, os.write
        monkeypatch.setattr(salvage_copy, "os", _Os(write=self.write))

    def write(self, descriptor: int, data: Any) -> int:
        if len(data) > self.room:
            raise OSError(self._code, os.strerror(self._code))
        self.room -= len(data)
        return self._write(descriptor, data)


class _Os:
    """The module, but for what is given."""

    def __init__(self, **replaced: Callable[..., Any]) -> None:
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_file_system_keeps_what_fits_and_names_both(
    place: Place, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    for name, size in (("small", 10_000), ("large", 900_000), ("tiny", 100)):
        (place.node / name).write_bytes(os.urandom(size))
    Quota(monkeypatch, 300_000, code)
    with pytest.raises(HomeFull, match=r"2 files .* saved in .*Not saved: \S*large: no space") as caught:
        save(place, "large", "small", "tiny")
    (directory,) = saved_dirs(place)
    assert caught.value.next == f"nodexfer resume {os.path.basename(directory)}"
    assert_only_whole_copies(directory)
    assert {os.path.basename(copy.source) for copy in journal.read(directory)} == {"small", "tiny"}
    record = salvage_record.read(directory)
    assert record is not None
    assert (record.state, len(record.unsaved)) == ("saved", 1)


def test_a_file_that_is_written_to_meanwhile_is_not_taken_for_saved(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.node / "f").write_bytes(b"x" * 1000)
    (place.node / "g").write_bytes(b"y")
    real = os.fsync

    def meddle(descriptor: int) -> None:
        with open(place.node / "f", "ab") as file:
            file.write(b"more")
        real(descriptor)

    os.utime(place.node / "f", (1, 1))
    monkeypatch.setattr(salvage_copy, "os", _Os(fsync=meddle))
    found = save(place, "f")
    assert found.files == ()
    assert found.unsaved == (f"{place.node}/f: it was written to while it was copied",)


def test_a_copy_that_reads_differently_is_not_taken_for_saved(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.node / "f").write_bytes(b"x" * 1000)

    def damage(descriptor: int, *_: int) -> None:
        os.pwrite(descriptor, b"?", 500)

    monkeypatch.setattr(salvage_copy, "os", _Os(posix_fadvise=damage))
    assert save(place, "f").unsaved == (f"{place.node}/f: its copy is not what was written",)


def assert_only_whole_copies(directory: str) -> None:
    """After what a next reader does: every file there is in the journal, and is its source."""
    copies = journal.read(directory)
    journal.settle(directory, copies)
    there = {os.path.join(where, name) for where, _, names in os.walk(f"{directory}/data") for name in names}
    assert there == {copy.place(directory) for copy in copies}
    assert not any(names for _, _, names in os.walk(f"{directory}/part"))
    for copy in copies:
        assert Path(copy.place(directory)).read_bytes() == Path(copy.source).read_bytes()


@pytest.mark.slow
def test_whenever_it_dies_the_journal_knows_what_is_whole(place: Place) -> None:
    tree(place.node / "d")
    (place.node / "f").write_bytes(b"f" * 600_000)
    points, counts = 0, []
    while not survives(lambda: save(place, "d", "f"), points + 1):
        points += 1
        for directory in saved_dirs(place):
            assert_only_whole_copies(directory)
            counts.append(len(journal.read(directory)))
            salvage_record.remove(directory)
    assert points > 30
    assert {0, 5} <= set(counts)


def test_a_torn_line_is_none(place: Place) -> None:
    (place.node / "a").write_bytes(b"a")
    (place.node / "b").write_bytes(b"b")
    found = save(place, "a", "b")
    path = Path(found.directory) / "journal"
    whole = path.read_bytes()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        assert len(journal.read(found.directory)) == whole[:cut].count(b"\n")
    assert json.loads(whole.splitlines()[0])["size"] == 1


def test_the_destinations_are_kept(place: Place) -> None:
    (place.node / "a").write_bytes(b"a")
    sends = intents.exact_sends(
        [(f"{place.node}/a", "site:/x"), (f"{place.node}/a", "other:/y")], place.config, base="/"
    )
    found = salvage.save(place.client(), sends, deadline=time.time() + 9, overwrite=True)
    record = salvage_record.read(found.directory)
    assert record is not None
    assert record.overwrite
    assert [(item.collection, item.path) for item in record.items] == [(SITE, "/x"), (OTHER, "/deep/y")]


def test_a_clock_that_is_set_meanwhile_costs_no_file(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (place.node / name).write_text(name)
    ahead, now, fsync = [0.0], time.time, os.fsync

    def set_clock(descriptor: int) -> None:
        ahead[0] = 86400.0
        fsync(descriptor)

    monkeypatch.setattr(time, "time", lambda: now() + ahead[0])
    monkeypatch.setattr(os, "fsync", set_clock)
    found = save(place, "a", "b", "c", seconds=60.0)
    assert ahead[0] > 0
    assert not os.path.exists(f"{found.directory}/reserve"), "the room for the last words is given back"
    assert (len(found.files), found.unsaved) == (3, ())


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.ESTALE])
@pytest.mark.parametrize("times", [1, 99])
def test_a_journal_that_was_not_taken_is_written_anew_or_said(
    place: Place, monkeypatch: pytest.MonkeyPatch, times: int, number: int
) -> None:
    """A network's file system tells of it at a flush, once; and what the journal does not list, a resume removes."""
    monkeypatch.setattr(journal, "_GROUP", 2)
    names = [f"f{count}" for count in range(7)]
    for name in names:
        (place.node / name).write_text(name)
    fsync, lost = os.fsync, list[str]()

    def flush(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if "/journal" in path and len(lost) < times:
            lost.append(path)
            os.ftruncate(descriptor, 0)
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    if times > 1 and number == errno.ENOSPC:
        with pytest.raises(HomeFull, match="journal"):
            save(place, *names)
        return
    found = save(place, *names)
    assert lost
    assert {Path(file.source).name for file in found.files} == set(names)
    if times == 1:
        assert sorted(copy.order for copy in journal.read(found.directory)) == list(range(7))
        assert found.unsaved == ()
    else:
        (said,) = found.unsaved
        assert said.startswith(f"{found.directory}/journal: {os.strerror(number)}")
