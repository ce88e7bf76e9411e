"""``--verify checksum``: what lies on this node is read once more, and whoever changes it meanwhile is found out."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from nodexfer.errors import ChangedMeanwhile, DeadlinePassed, TransferUnproven
from nodexfer.globus.protocol import Submission
from nodexfer.staging import checksum, copying, intents, publish
from nodexfer.staging.bring import bring
from nodexfer.staging.receipt import Receipt
from nodexfer.staging.send import send
from tests.support.place import OTHER, Place


def sum_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def later() -> float:
    return time.time() + 60


def stage_in(place: Place, *arguments: str) -> Receipt:
    wanted = intents.fetches(list(arguments[:-1]), arguments[-1], place.config, base=str(place.node))
    return bring(place.client(), wanted, verify="checksum")


def stage_out(place: Place, *arguments: str) -> Receipt:
    wanted = intents.sends(list(arguments[:-1]), arguments[-1], place.config, base=str(place.node))
    return send(place.client(), wanted, verify="checksum")


def test_it_is_that_of_sha256sum(tmp_path: Path) -> None:
    for data in (b"", b"abc", b"x" * 3_000_001):
        (tmp_path / "a").write_bytes(data)
        assert checksum.of_file(str(tmp_path / "a"), later()) == sum_of(data)


def test_what_can_not_be_read_again_is_not_proven(tmp_path: Path) -> None:
    with pytest.raises(TransferUnproven, match="can not be read again"):
        checksum.of_file(str(tmp_path / "gone"), later())


def test_there_is_an_end_to_reading(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(DeadlinePassed):
        checksum.of_file(str(tmp_path / "a"), time.time() - 1)


def test_a_copy_that_differs_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below/file").write_text("same")
    checksum.refuse_other(str(tmp_path / "a"), str(tmp_path / "b"), later())
    (tmp_path / "c/below/file").write_text("sane")
    for below in ("", "/below/file"):
        with pytest.raises(TransferUnproven, match="is not what it was copied from"):
            checksum.refuse_other(f"{tmp_path}/a{below}", f"{tmp_path}/c{below}", later())


def test_the_receipt_of_a_stage_in_has_the_checksums_of_what_lies_here(place: Place) -> None:
    (place.site / "one").write_bytes(b"1" * 1000)
    (place.site / "set/below").mkdir(parents=True)
    (place.site / "set/below/two").write_bytes(b"2")
    with place.desk():
        receipt = stage_in(place, "site:/one", "site:/set", "here/")
    assert receipt.verify == "checksum"
    assert {file.destination.rpartition("/")[2]: file.checksum for file in receipt.files} == {
        "one": sum_of(b"1" * 1000),
        "two": sum_of(b"2"),
    }


def test_the_receipt_of_a_stage_out_has_the_checksums_of_what_was_sent(place: Place) -> None:
    (place.node / "one").write_bytes(b"1" * 1000)
    (place.node / "set/below").mkdir(parents=True)
    (place.node / "set/below/two").write_bytes(b"2")
    with place.desk():
        receipt = stage_out(place, "one", "set", "site:/out/")
    assert {file.source.rpartition("/")[2]: file.checksum for file in receipt.files} == {
        "one": sum_of(b"1" * 1000),
        "two": sum_of(b"2"),
    }
    assert place.leftovers() == []


def test_without_it_nothing_is_read_and_no_checksum_is_claimed(place: Place) -> None:
    (place.site / "one").write_bytes(b"1")
    with place.desk():
        receipt = bring(place.client(), intents.fetches("site:/one", "x", place.config, base=str(place.node)))
    assert (receipt.verify, receipt.files[0].checksum) == ("size", None)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_an_output_that_changes_behind_its_time_stamp_is_found_and_sent_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """As a memory-mapped file does, whose time stamp comes with the writing back."""
    path = place.node / "out"
    path.write_bytes(b"state 0")
    stamp = path.stat().st_mtime_ns
    submit = place.globus.submit
    submitted: list[Submission] = []

    def submit_and_change(submission: Submission) -> str:
        submitted.append(submission)
        if len(submitted) <= times:
            path.write_bytes(f"state {len(submitted)}".encode())
            os.utime(path, ns=(stamp, stamp))
        return submit(submission)

    monkeypatch.setattr(place.globus, "submit", submit_and_change)
    with place.desk():
        if times < 3:
            assert stage_out(place, "out", "site:/out").attempts == times + 1
            assert (place.site / "out").read_bytes() == path.read_bytes() == f"state {times}".encode()
        else:
            with pytest.raises(ChangedMeanwhile, match=r"written to while it was being sent.*each of 3 times"):
                stage_out(place, "out", "site:/out")
            assert list(place.site.iterdir()) == []
    assert place.leftovers() == []


def test_a_copy_that_is_damaged_on_its_way_to_its_name_is_not_published(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.site / "a").write_bytes(b"data")
    copy_tree = copying.copy_tree

    def damage(source: str, target: str) -> None:
        copy_tree(source, target)
        Path(target).write_bytes(b"dama")

    lstat = os.lstat

    class OfAnotherDisk:
        st_dev = -1

    monkeypatch.setattr(copying, "copy_tree", damage)
    monkeypatch.setattr(
        "nodexfer.staging.publish.os.lstat", lambda path: OfAnotherDisk() if "/exchange/" in path else lstat(path)
    )
    original, near = place.top / "exchange/a", place.node / "near"
    original.parent.mkdir()
    original.write_bytes(b"data")
    item = publish.Publication(str(original), str(place.node / "a"), str(near))
    with pytest.raises(TransferUnproven):
        publish.publish([item], check=lambda one, two: checksum.refuse_other(one, two, later()))
    assert not (place.node / "a").exists()
    assert not near.exists()


def test_a_source_that_grows_while_it_is_brought_is_brought_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.site / "log").write_text("one line\n")
    submit = place.globus.submit
    grown: list[str] = []

    def submit_and_grow(submission: Submission) -> str:
        if not grown:
            grown.append("another line\n")
            with (place.site / "log").open("a") as file:
                file.write(grown[0])
        return submit(submission)

    monkeypatch.setattr(place.globus, "submit", submit_and_grow)
    with place.desk():
        receipt = stage_in(place, "site:/log", "log")
    assert (place.node / "log").read_text() == "one line\nanother line\n"
    assert (receipt.attempts, receipt.bytes) == (2, (place.node / "log").stat().st_size)
    assert place.leftovers() == []


def test_what_goes_to_two_collections_is_not_sent_twice(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them may have its files by then."""
    for name in ("a", "b"):
        (place.node / name).write_text("before")
    submit = place.globus.submit

    def submit_and_change(submission: Submission) -> str:
        if submission.destination_endpoint == OTHER:
            (place.node / "b").write_text("behind it")
        return submit(submission)

    monkeypatch.setattr(place.globus, "submit", submit_and_change)
    sources = {"a": "site:/a", "b": "other:/b"}
    wanted = intents.sends(sources, None, place.config, base=str(place.node))
    with place.desk(), pytest.raises(ChangedMeanwhile, match="written to"):
        send(place.client(), wanted)
    assert not (place.top / "other/deep/b").exists()
