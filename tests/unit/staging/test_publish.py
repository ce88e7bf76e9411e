"""publish, arrival, copying, receipt: what arrived is compared, gets its name in one step, and is told."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nodexfer import records
from nodexfer.errors import (
    DestinationExists,
    DiskFull,
    HomeFull,
    Interrupted,
    NodexferError,
    PermissionRefused,
    TransferUnproven,
)
from nodexfer.paths import HomePaths
from nodexfer.staging import copying, ground, publish, receipt
from nodexfer.staging.arrival import Arrived, check
from nodexfer.staging.publish import Publication, near
from nodexfer.staging.receipt import Receipt
from nodexfer.staging.request import MovedFile, MovedItem, Result


@pytest.fixture(params=["same file system", "another file system"])
def arrivals(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where things have arrived."""
    if request.param.startswith("same"):
        (tmp_path / "exchange").mkdir()
        yield tmp_path / "exchange"
        return
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


def item(arrivals: Path, destination: Path, number: int = 0) -> Publication:
    return Publication(str(arrivals / str(number)), str(destination), near(str(destination), "r", number))


def contents(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}


def test_a_file_and_a_directory_get_their_names(arrivals: Path, tmp_path: Path) -> None:
    (arrivals / "0").write_text("file")
    (arrivals / "1/deep").mkdir(parents=True)
    (arrivals / "1/deep/x").write_text("x")
    publish.publish([item(arrivals, tmp_path / "new/a"), item(arrivals, tmp_path / "new/b", 1)])
    assert contents(tmp_path / "new") == {"a": "file", "b/deep/x": "x"}


def test_what_is_published_has_the_modes_of_the_jobs_own_files(arrivals: Path, tmp_path: Path) -> None:
    (arrivals / "0").mkdir(mode=0o700)
    (arrivals / "0/x").write_text("x")
    (arrivals / "0/x").chmod(0o600)
    before = os.umask(0o027)
    try:
        publish.publish([item(arrivals, tmp_path / "a")])
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "a/x").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("old", ["file", "directory", "link"])
@pytest.mark.parametrize("new", ["file", "directory"])
def test_overwrite_replaces_whatever_is_there(arrivals: Path, tmp_path: Path, old: str, new: str) -> None:
    target = tmp_path / "target"
    (tmp_path / "elsewhere").write_text("elsewhere")
    if old == "file":
        target.write_text("old")
    elif old == "directory":
        (target / "sub").mkdir(parents=True)
    else:
        target.symlink_to("elsewhere")
    if new == "file":
        (arrivals / "0").write_text("new")
    else:
        (arrivals / "0").mkdir()
        (arrivals / "0/x").write_text("new")
    with pytest.raises(DestinationExists):
        publish.publish([item(arrivals, target)])
    publish.publish([item(arrivals, target)], overwrite=True)
    assert (target.read_text() == "new") if new == "file" else (contents(target) == {"x": "new"})
    assert (tmp_path / "elsewhere").read_text() == "elsewhere"
    assert sorted(path.name for path in tmp_path.iterdir() if path != arrivals) == ["elsewhere", "target"]


def test_where_names_can_not_be_swapped_the_old_directory_steps_aside(
    arrivals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "exchange", lambda one, other: False)
    test_overwrite_replaces_whatever_is_there(arrivals, tmp_path, "directory", "directory")


def test_merge_replaces_files_of_the_same_name_and_keeps_the_rest(arrivals: Path, tmp_path: Path) -> None:
    for name in ("both", "sub/new"):
        (arrivals / "0" / name).parent.mkdir(parents=True, exist_ok=True)
        (arrivals / "0" / name).write_text("new")
    for name in ("both", "sub/old"):
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_text("old")
    publish.publish([item(arrivals, tmp_path / "t")], merge=True)
    assert contents(tmp_path / "t") == {"both": "new", "sub/new": "new", "sub/old": "old"}


def test_a_conflict_deep_inside_is_found_before_anything_is_published(arrivals: Path, tmp_path: Path) -> None:
    (arrivals / "0/sub").mkdir(parents=True)
    (arrivals / "0/a").write_text("new")
    (arrivals / "0/sub/x").write_text("new")
    (tmp_path / "t/sub/x").mkdir(parents=True)
    with pytest.raises(DestinationExists, match="sub/x"):
        publish.publish([item(arrivals, tmp_path / "t")], merge=True)
    assert not (tmp_path / "t/a").exists()


def test_a_merge_follows_no_link_out_of_its_directory(arrivals: Path, tmp_path: Path) -> None:
    (arrivals / "0/sub").mkdir(parents=True)
    (arrivals / "0/sub/x").write_text("new")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "t").mkdir()
    (tmp_path / "t/sub").symlink_to("../elsewhere")
    with pytest.raises(DestinationExists, match="t/sub"):
        publish.publish([item(arrivals, tmp_path / "t")], merge=True)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["t", "n" * 255])
def test_an_old_directory_that_steps_aside_is_never_lost(
    arrivals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Where names can not be swapped: nothing of the user's is in its way, and a failure brings it back."""
    monkeypatch.setattr(copying, "exchange", lambda one, other: False)
    (arrivals / "0").mkdir()
    (arrivals / "0/x").write_text("new")
    (tmp_path / name).mkdir()
    (tmp_path / name / "x").write_text("old")
    (tmp_path / "t.before-nodexfer").mkdir()
    (tmp_path / "t.before-nodexfer/mine").write_text("mine")
    rename = os.rename

    def refuse(old: str, new: str) -> None:
        if new == str(tmp_path / name) and os.path.exists(f"{old}/x") and Path(old, "x").read_text() == "new":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), new)
        rename(old, new)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(PermissionRefused):
        publish.publish([item(arrivals, tmp_path / name)], overwrite=True)
    assert contents(tmp_path / name) == {"x": "old"}
    monkeypatch.setattr(os, "rename", rename)
    publish.publish([item(arrivals, tmp_path / name)], overwrite=True)
    assert contents(tmp_path / name) == {"x": "new"}
    assert contents(tmp_path / "t.before-nodexfer") == {"mine": "mine"}
    left = {path.name for path in tmp_path.iterdir() if path != arrivals}
    assert left == {name, "t.before-nodexfer"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Interrupted("Stopped by SIGTERM.")])
def test_an_interrupt_in_between_names_what_was_published(
    arrivals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    for number in "012":
        (arrivals / number).write_text(number)
    real = copying.rename_new

    def interrupted(old: str, new: str) -> None:
        if new.endswith("b"):
            raise stop
        real(old, new)

    monkeypatch.setattr(copying, "rename_new", interrupted)
    with pytest.raises(Interrupted, match=r"published before: .*/a"):
        publish.publish([item(arrivals, tmp_path / name, number) for number, name in enumerate("abc")])


def test_a_merge_that_fails_in_the_middle_does_not_say_that_nothing_was_done(
    arrivals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (arrivals / "0").mkdir()
    (arrivals / "0/a").write_text("new")
    (tmp_path / "t").mkdir()

    def refuse(old: str, new: str) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), new)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionRefused, match="in part"):
        publish.publish([item(arrivals, tmp_path / "t")], merge=True)


def test_a_disk_that_fills_up_while_copying_publishes_nothing(
    arrivals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if arrivals.parent == tmp_path:
        pytest.skip("nothing is copied here")

    def full(source: str, destination: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), destination)

    (arrivals / "0").write_text("a")
    (arrivals / "1").write_text("b")
    real = copying.copy_tree
    monkeypatch.setattr(copying, "copy_tree", lambda s, d: full(s, d) if s.endswith("1") else real(s, d))
    with pytest.raises(DiskFull, match="nothing was published"):
        publish.publish([item(arrivals, tmp_path / "a"), item(arrivals, tmp_path / "b", 1)])
    assert list(tmp_path.iterdir()) == []


def test_what_can_not_fit_is_refused_before_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(NamedTuple):
        f_bavail: int = 10
        f_frsize: int = 10

    monkeypatch.setattr(os, "statvfs", lambda _: Full())
    ground.refuse_full(str(tmp_path), 100)
    with pytest.raises(DiskFull, match="101 are needed for a and 1 more"):
        ground.refuse_full(str(tmp_path / "not/yet"), 101, ["a", "b"])


def result(top: Path, **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "items": (MovedItem(0, False, f"{top}/0", "/a", 4), MovedItem(1, True, f"{top}/1", "/set")),
        "files": (MovedFile(0, "", 4), MovedFile(1, "x"), MovedFile(1, "sub/y")),
    }
    return Result(**{**fields, **changes})


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    (tmp_path / "1/sub/empty").mkdir(parents=True)
    for name in ("0", "1/x", "1/sub/y"):
        (tmp_path / name).write_text("data")
    return tmp_path


def test_what_arrived_whole_is_proven(whole: Path) -> None:
    assert check(result(whole), [0, 1]) == [Arrived(0, "", 4), Arrived(1, "sub/y", 4), Arrived(1, "x", 4)]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda top: (top / "0").unlink(), "has not arrived"),
        (lambda top: (top / "0").write_text("dat"), "3 bytes here and 4"),
        (lambda top: (top / "1/x").unlink(), "/set/x is missing"),
        (lambda top: (top / "1/z").write_text("z"), "/set/z is here"),
        (lambda top: (top / "1/x").unlink() or (top / "1/x").symlink_to("y"), "no plain file"),
        (lambda top: (top / "0").unlink() or (top / "0").mkdir(), "not of the kind"),
        (lambda top: (top / "1/dirlink").symlink_to("sub"), "/set/dirlink is no plain file"),
    ],
)
def test_whatever_differs_is_not_proven(whole: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(whole)
    with pytest.raises(TransferUnproven, match=words):
        check(result(whole), [0, 1])


def test_an_answer_without_an_item_is_not_proven(whole: Path) -> None:
    with pytest.raises(TransferUnproven):
        check(result(whole), [0, 1, 2])


ASKED = Receipt(id="r1", direction="in", job="j", host="h", created=0.0)


def test_a_receipt_is_asked_and_then_done(tmp_path: Path) -> None:
    paths = HomePaths(str(tmp_path / "home"))
    written = receipt.write(paths, ASKED)
    assert written.path == f"{tmp_path}/home/receipts/1970-01/r1.json"
    assert receipt.read(written.path) == written
    done = receipt.write(paths, receipt.finished(ASKED, [Result(tasks=("t",)), Result(tasks=("t", "u"))], []))
    assert (done.state, done.tasks, done.path) == ("done", ("t", "u"), written.path)
    receipt.forget(paths, done)
    assert receipt.read(written.path) is None


def test_a_full_home_is_named_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EDQUOT, "quota")

    monkeypatch.setattr(records, "write", full)
    with pytest.raises(HomeFull):
        receipt.write(HomePaths(str(tmp_path)), ASKED)


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES])
def test_a_receipt_that_can_not_be_written_at_the_end_hides_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(records, "write", broken)
    with pytest.raises(NodexferError, match="in place and proven"):
        receipt.complete(HomePaths(str(tmp_path)), ASKED, [Result()], [], "The data are in place and proven")
