"""Documents of the Transfer API about tasks, field for field as the SDK's recorded answers have them."""

from __future__ import annotations

import time
from typing import Any

from nodexfer.clock import utc
from nodexfer.sandbox.engine.journal import describe
from nodexfer.sandbox.model import Event, FileJob, SkippedError, Task
from nodexfer.sandbox.world import World

Document = dict[str, Any]


def task(found: Task, world: World) -> Document:
    """The task document (Transfer API, task)."""
    options = found.options
    source, destination = world.catalog.find(found.source), world.catalog.find(str(found.destination))
    transfer = found.type == "TRANSFER"
    end = found.completed or time.time()
    return {
        "DATA_TYPE": "task",
        "task_id": found.id,
        "type": found.type,
        "status": found.status,
        "label": found.label,
        "command": "API 0.10",
        "username": _username(found, world),
        "owner_id": found.owner,
        "request_time": utc(found.requested),
        "completion_time": utc(found.completed) if found.completed else None,
        "deadline": utc(found.deadline),
        "source_endpoint": found.source,
        "source_endpoint_id": found.source,
        "source_endpoint_display_name": source.display_name if source else None,
        "source_local_user": None,
        "source_local_user_status": "NO_PERMISSION",
        "source_host_endpoint": None,
        "source_host_endpoint_id": None,
        "source_host_path": None,
        "destination_endpoint": found.destination,
        "destination_endpoint_id": found.destination,
        "destination_endpoint_display_name": destination.display_name if destination else None,
        "destination_local_user": None,
        "destination_local_user_status": "NO_PERMISSION" if transfer else None,
        "destination_host_endpoint": None,
        "destination_host_endpoint_id": None,
        "destination_host_path": None,
        "sync_level": options.get("sync_level"),
        "encrypt_data": bool(options.get("encrypt_data", False)),
        "verify_checksum": bool(options.get("verify_checksum", False)),
        "preserve_timestamp": bool(options.get("preserve_timestamp", False)),
        "delete_destination_extra": bool(options.get("delete_destination_extra", False)),
        "skip_source_errors": bool(options.get("skip_source_errors", False)),
        "fail_on_quota_errors": bool(options.get("fail_on_quota_errors", False)),
        "recursive_symlinks": options.get("recursive_symlinks", "ignore"),
        "filter_rules": options.get("filter_rules"),
        "files": found.files,
        "files_skipped": found.files_skipped,
        "files_transferred": found.files_transferred if transfer else None,
        "directories": found.directories,
        "symlinks": 0,
        "bytes_transferred": found.bytes_transferred,
        "bytes_checksummed": found.bytes_checksummed,
        "effective_bytes_per_second": int(found.bytes_transferred / max(end - found.requested, 1e-3)),
        "faults": found.faults,
        **_subtasks(found),
        **_standing(found),
        "is_paused": False,
        "canceled_by_admin": None,
        "canceled_by_admin_message": None,
        "history_deleted": False,
    }


def _username(found: Task, world: World) -> str:
    identity = world.accounts.identity(found.owner)
    return identity.username if identity else found.owner


def _standing(found: Task) -> Document:
    """``is_ok`` and ``nice_status*`` are null once the task is over."""
    fatal = {"code": found.fatal_code, "description": found.fatal_description} if found.fatal_code else None
    nice = None if found.over else found.nice
    return {
        "fatal_error": fatal,
        "is_ok": None if nice is None else nice in ("OK", "Queued"),
        "nice_status": nice,
        "nice_status_short_description": nice if nice in (None, "OK", "Queued") else describe(nice),
        "nice_status_details": None if nice is None else found.nice_details,
        "nice_status_expires_in": None if nice is None else -1,
    }


def _subtasks(found: Task) -> Document:
    """One for each item's walk and one for each file."""
    total = len(found.items) + (found.files if found.type == "TRANSFER" else 0)
    walked = len(found.items) - len(found.unexpanded)
    skipped = sum(not error.is_directory for error in found.skipped)
    done = found.files_transferred + found.files_skipped if found.type == "TRANSFER" else 0
    left = total - walked - done - skipped
    expired, canceled = found.fatal_code == "EXPIRED", found.fatal_code == "CANCELED"
    failed = found.status == "FAILED" and not expired and not canceled
    retrying = 0 if found.over else min(found.retrying, left)
    return {
        "subtasks_total": total,
        "subtasks_succeeded": walked + done,
        "subtasks_pending": 0 if found.over else left - retrying,
        "subtasks_retrying": retrying,
        "subtasks_expired": left if expired else 0,
        "subtasks_canceled": left if canceled else 0,
        "subtasks_failed": left if failed else 0,
        "subtasks_skipped_errors": len(found.skipped),
    }


def event(found: Event) -> Document:
    return {
        "DATA_TYPE": "event",
        "code": found.code,
        "description": found.description,
        "details": found.details,
        "is_error": found.is_error,
        "time": utc(found.time),
    }


def successful_transfer(job: FileJob) -> Document:
    return {
        "DATA_TYPE": "successful_transfer",
        "source_path": job.source,
        "destination_path": job.destination,
        "size": job.size,
        "checksum": job.checksum,
        "checksum_algorithm": job.algorithm if job.checksum else None,
        "dynamic": False,
    }


def skipped_error(error: SkippedError) -> Document:
    return {
        "DATA_TYPE": "skipped_error",
        "checksum_algorithm": None,
        "destination_path": error.destination_path,
        "error_code": error.error_code,
        "error_details": error.error_details,
        "error_time": utc(error.error_time),
        "external_checksum": None,
        "is_delete_destination_extra": False,
        "is_directory": error.is_directory,
        "is_symlink": False,
        "source_path": error.source_path,
    }
