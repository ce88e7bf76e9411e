"""documents: what the service says is read as it was said; and lists are read to their end."""

from __future__ import annotations

from typing import Any

from nodexfer.globus.protocol import Moved
from nodexfer.globus.sdk import SdkGlobus, documents

TASK: dict[str, Any] = {
    "task_id": "t",
    "status": "SUCCEEDED",
    "label": "l",
    "source_endpoint_id": "a",
    "destination_endpoint_id": "b",
    "bytes_transferred": 1,
    "files": 2,
    "files_transferred": 3,
    "files_skipped": 4,
    "directories": 5,
    "faults": 6,
    "subtasks_skipped_errors": 7,
    "nice_status": None,
    "nice_status_details": None,
    "fatal_error": None,
}


def test_what_a_task_left_out_is_not_overlooked() -> None:
    found = documents.task(TASK)
    assert (found.files_skipped, found.skipped_errors, found.faults) == (4, 7, 6)
    failed = documents.task({**TASK, "status": "FAILED", "fatal_error": {"code": "C", "description": "d"}})
    assert (failed.fatal_code, failed.fatal_description) == ("C", "d")


def test_an_entry_of_an_unknown_type_is_no_file() -> None:
    kinds = [
        documents.entry({"name": "n", "type": kind}).type for kind in ("file", "dir", "invalid_symlink", "chr", None)
    ]
    assert kinds == ["file", "dir", "link", "other", "other"]


class Paged(SdkGlobus):
    """What was moved, in two pages."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def _get(self, asked: object, where: str, /, **query: Any) -> dict[str, Any]:
        self.asked.append(query)
        row = {"source_path": f"/s{len(self.asked)}", "destination_path": f"/d{len(self.asked)}"}
        return {"DATA": [row], "next_marker": "more" if len(self.asked) == 1 else None}


def test_the_list_of_what_was_moved_is_read_to_its_end() -> None:
    globus = Paged()
    assert list(globus.moved("t")) == [Moved("/s1", "/d1"), Moved("/s2", "/d2")]
    assert globus.asked == [{}, {"marker": "more"}]
