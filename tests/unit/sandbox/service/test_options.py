"""What a transfer can be told: sync levels, filter rules, errors to skip, links, checksums."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from globus_sdk import TransferAPIError, TransferData

from tests.support.waiting import eventually
from tests.unit.sandbox.service.support import Tasks


def write(root: Path, name: str, text: str, modified: float | None = None) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if modified is not None:
        os.utime(path, (modified, modified))
    return path


@pytest.mark.parametrize(
    ("level", "there", "moved"),
    [
        pytest.param("exists", "other text", False, id="exists: anything there is enough"),
        pytest.param("size", "1234", False, id="size: the same"),
        pytest.param("size", "12345", True, id="size: another"),
        pytest.param("checksum", "1234", True, id="checksum: another"),
        pytest.param("checksum", "abcd", False, id="checksum: the same"),
    ],
)
def test_sync_levels(tasks: Tasks, level: str, there: str, moved: bool) -> None:
    write(tasks.box.site, "f", "abcd")
    write(tasks.box.other, "f", there)
    document = tasks.over(tasks.submit(("/f", "/f"), sync_level=level))
    assert (document["files_transferred"], document["files_skipped"]) == ((1, 0) if moved else (0, 1))
    assert (tasks.box.other / "f").read_text() == ("abcd" if moved else there)


@pytest.mark.parametrize(("source_time", "moved"), [(2000.0, True), (1000.0, False)])
def test_sync_by_time(tasks: Tasks, source_time: float, moved: bool) -> None:
    write(tasks.box.site, "f", "abcd", source_time)
    write(tasks.box.other, "f", "1234", 1500.0)
    document = tasks.over(tasks.submit(("/f", "/f"), sync_level="mtime", preserve_timestamp=True))
    assert document["files_transferred"] == int(moved)
    assert (tasks.box.other / "f").stat().st_mtime == (source_time if moved else 1500.0)


def test_the_first_filter_rule_that_matches_decides(tasks: Tasks) -> None:
    for name in ("t/keep.txt", "t/drop.txt", "t/x.dat", "t/skipped/keep.txt", "t/d/keep.txt"):
        write(tasks.box.site, name, "")
    data = TransferData(tasks.box.site_id, tasks.box.other_id)
    data.add_item("/t", "/t", recursive=True)
    data.add_filter_rule("keep*", method="include", type="file")
    data.add_filter_rule("*.txt", method="exclude", type="file")
    data.add_filter_rule("skipped", method="exclude", type="dir")
    data.add_filter_rule("x.dat", method="exclude", type="dir")
    data.add_filter_rule("d", method="exclude", type="file")
    tasks.over(tasks.client.submit_transfer(data)["task_id"])
    found = {str(path.relative_to(tasks.box.other)) for path in tasks.box.other.rglob("*") if path.is_file()}
    assert found == {"t/keep.txt", "t/x.dat", "t/d/keep.txt"}


def test_errors_at_the_source_can_be_skipped(tasks: Tasks) -> None:
    write(tasks.box.site, "f", "x")
    task = tasks.submit(("/f", "/f"), ("/missing", "/m"), skip_source_errors=True)
    document = tasks.over(task)
    assert document["subtasks_skipped_errors"] == 1
    assert tasks.codes(task)[-2:] == ["SKIPPED_ERRORS", "SUCCEEDED"]
    [skipped] = tasks.client.task_skipped_errors(task)
    assert (skipped["error_code"], skipped["source_path"]) == ("FILE_NOT_FOUND", "/missing")
    assert [row["source_path"] for row in tasks.client.task_successful_transfers(task)] == ["/f"]


def test_errors_at_the_destination_are_not_skipped(tasks: Tasks) -> None:
    """ "Skip source errors": what can not be written is no reason to call the task done."""
    write(tasks.box.site, "f", "x")
    tasks.box.sandbox.fault("fail_path", endpoint="other", path="/f", code="PERMISSION_DENIED")
    task = tasks.submit(("/f", "/f"), skip_source_errors=True)
    tasks.nice(task, "PERMISSION_DENIED")
    assert tasks.client.cancel_task(task)["code"] == "Canceled"


def test_one_file_that_fails_keeps_no_other_back(tasks: Tasks) -> None:
    write(tasks.box.site, "f", "x")
    task = tasks.submit(("/missing", "/m"), ("/f", "/f"))
    tasks.nice(task, "FILE_NOT_FOUND")
    copied = tasks.box.other / "f"
    eventually(lambda: copied.exists() and copied.read_text() == "x")
    assert tasks.client.cancel_task(task)["code"] == "Canceled"


def test_a_directory_that_is_not_to_be_walked_is_fatal(tasks: Tasks) -> None:
    (tasks.box.site / "d").mkdir()
    document = tasks.over(tasks.submit(("/d", "/d"), recursive=False), "FAILED")
    assert document["fatal_error"]["code"] == "IS_A_DIRECTORY"
    assert tasks.over(tasks.submit(("/d", "/d")))["directories"] == 1
    assert (tasks.box.other / "d").is_dir()


def test_links_below_a_directory_are_left_out_unless_copied(tasks: Tasks) -> None:
    write(tasks.box.site, "t/real", "x")
    (tasks.box.site / "t" / "link").symlink_to("real")
    tasks.over(tasks.submit(("/t", "/without"), recursive=True))
    copied = {"recursive_symlinks": "copy"}
    tasks.over(tasks.submit(("/t", "/with"), recursive=True, additional_fields=copied))
    assert os.listdir(tasks.box.other / "without") == ["real"]
    assert sorted(os.listdir(tasks.box.other / "with")) == ["link", "real"]
    tasks.over(tasks.submit(("/t/link", "/followed")))
    assert (tasks.box.other / "followed").read_text() == "x"


def test_what_the_source_does_not_have_is_deleted_when_asked(tasks: Tasks) -> None:
    write(tasks.box.site, "t/a", "new")
    write(tasks.box.other, "t/a", "old")
    write(tasks.box.other, "t/extra/file", "old")
    tasks.over(tasks.submit(("/t", "/t"), recursive=True, delete_destination_extra=True))
    assert os.listdir(tasks.box.other / "t") == ["a"]


def test_what_the_source_does_not_have_stays_unless_asked(tasks: Tasks) -> None:
    write(tasks.box.site, "t/a", "new")
    write(tasks.box.other, "t/extra", "old")
    tasks.over(tasks.submit(("/t", "/t"), recursive=True))
    assert sorted(os.listdir(tasks.box.other / "t")) == ["a", "extra"]


def test_nothing_is_deleted_where_errors_were_skipped(tasks: Tasks) -> None:
    """The source was not seen whole: what looks extra may be a copy of what could not be read."""
    write(tasks.box.site, "t/a", "new")
    write(tasks.box.site, "t/sub/kept", "can not be listed")
    write(tasks.box.other, "t/sub/kept", "the only copy that can be read")
    tasks.box.sandbox.fault("fail_path", endpoint="site", path="/t/sub", code="PERMISSION_DENIED")
    task = tasks.submit(("/t", "/t"), recursive=True, skip_source_errors=True, delete_destination_extra=True)
    tasks.over(task)
    assert (tasks.box.other / "t" / "sub" / "kept").exists()
    assert "DELETE_DESTINATION_EXTRA_SKIPPED" in tasks.codes(task)


@pytest.mark.parametrize("keep", [True, False])
def test_the_source_s_time_is_kept_when_asked(tasks: Tasks, keep: bool) -> None:
    write(tasks.box.site, "f", "x", 1000.0)
    tasks.over(tasks.submit(("/f", "/f"), preserve_timestamp=keep))
    assert ((tasks.box.other / "f").stat().st_mtime == 1000.0) is keep


def test_a_checksum_that_was_given_is_compared(tasks: Tasks) -> None:
    write(tasks.box.site, "f", "x")
    right = hashlib.sha256(b"x").hexdigest()
    task = tasks.submit(("/f", "/f"), external_checksum=right, checksum_algorithm="SHA256")
    tasks.over(task)
    [moved] = tasks.client.task_successful_transfers(task)
    assert (moved["checksum"], moved["checksum_algorithm"]) == (right, "SHA256")
    wrong = tasks.submit(("/f", "/f"), external_checksum="0" * 64, checksum_algorithm="SHA256")
    assert tasks.over(wrong, "FAILED")["fatal_error"]["code"] == "EXTERNAL_CHECKSUM_MISMATCH"


@pytest.mark.parametrize("label", ["x" * 129, " blank", "two\nlines"])
def test_a_label_must_be_one_tidy_line(tasks: Tasks, label: str) -> None:
    with pytest.raises(TransferAPIError, match="Invalid label"):
        tasks.submit(("/f", "/f"), label=label)
