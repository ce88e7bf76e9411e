"""From the documents of the Transfer API to the values of :mod:`nodexfer.globus.protocol`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from nodexfer.globus.protocol import Entry, Task

_KINDS: Mapping[str, Literal["file", "dir", "link", "other"]] = {
    "file": "file",
    "dir": "dir",
    "invalid_symlink": "link",
}


def entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        name=str(row.get("name") or ""),
        type=_KINDS.get(str(row.get("type")), "other"),
        size=int(row.get("size") or 0),
        modified=str(row.get("last_modified") or ""),
    )


def task(row: Mapping[str, Any]) -> Task:
    fatal = row.get("fatal_error") or {}
    destination = row.get("destination_endpoint_id")
    return Task(
        id=str(row["task_id"]),
        status=row["status"],
        label=str(row.get("label") or ""),
        source_endpoint=str(row.get("source_endpoint_id") or ""),
        destination_endpoint=str(destination) if destination else None,
        bytes_transferred=int(row.get("bytes_transferred") or 0),
        files=int(row.get("files") or 0),
        files_transferred=int(row.get("files_transferred") or 0),
        files_skipped=int(row.get("files_skipped") or 0),
        directories=int(row.get("directories") or 0),
        faults=int(row.get("faults") or 0),
        skipped_errors=int(row.get("subtasks_skipped_errors") or 0),
        nice_status=row.get("nice_status"),
        nice_details=row.get("nice_status_details"),
        fatal_code=fatal.get("code"),
        fatal_description=fatal.get("description"),
        bytes_checksummed=int(row.get("bytes_checksummed") or 0),
    )
