"""The documents of the Transfer API, field for field as the SDK's recorded answers have them."""

from __future__ import annotations

import time
from typing import Any

from nodexfer.clock import utc
from nodexfer.sandbox.engine.journal import describe
from nodexfer.sandbox.model import Endpoint, Event, FileJob, SkippedError, Task
from nodexfer.sandbox.storage import Stat
from nodexfer.sandbox.world import World

Document = dict[str, Any]

#: Fields of the endpoint document that mean nothing in the sandbox, as a collection has them that does not use them.
_UNUSED: Document = {
    "acl_available": False,
    "acl_editable": False,
    "activated": True,
    "authentication_policy_id": None,
    "authentication_timeout_mins": None,
    "contact_email": None,
    "contact_info": None,
    "department": None,
    "description": None,
    "disable_anonymous_writes": False,
    "disable_verify": False,
    "expire_time": None,
    "expires_in": -1,
    "force_encryption": False,
    "force_verify": False,
    "french_english_bilingual": False,
    "gcs_manager_url": None,
    "gcs_version": None,
    "globus_connect_setup_key": None,
    "high_assurance": False,
    "host_endpoint": None,
    "host_endpoint_display_name": None,
    "host_endpoint_id": None,
    "host_path": None,
    "https_server": None,
    "in_use": False,
    "info_link": None,
    "is_go_storage": False,
    "keywords": None,
    "last_accessed_time": None,
    "local_user_info_available": None,
    "location": None,
    "mapped_collection_display_name": None,
    "mapped_collection_id": None,
    "max_concurrency": None,
    "max_parallelism": None,
    "mfa_required": False,
    "myproxy_dn": None,
    "myproxy_server": None,
    "network_use": None,
    "non_functional": False,
    "non_functional_endpoint_display_name": None,
    "non_functional_endpoint_id": None,
    "oauth_server": None,
    "organization": None,
    "preferred_concurrency": None,
    "preferred_parallelism": None,
    "requester_pays": False,
    "s3_owner_activated": False,
    "s3_url": None,
    "shareable": True,
    "sharing_target_endpoint": None,
    "sharing_target_root_path": None,
    "storage_type": None,
    "subscription_admin_verified": None,
    "tlsftp_server": None,
    "user_message": None,
    "user_message_link": None,
}


def endpoint(found: Endpoint, world: World, caller: str) -> Document:
    """The endpoint document (Transfer API, endpoint)."""
    gcp = found.kind == "gcp"
    owner = world.accounts.identity(found.owner)
    connected = world.catalog.connected(found) if gcp else None
    return {
        **_UNUSED,
        **found.details,
        "DATA_TYPE": "endpoint",
        "id": found.id,
        "name": f"{owner.username if owner else found.owner}#{found.id}",
        "canonical_name": f"{owner.username if owner else found.owner}#{found.id}",
        "display_name": found.display_name,
        "owner_id": found.owner,
        "owner_string": owner.username if owner else found.owner,
        "username": owner.username if owner else found.owner,
        "entity_type": "GCP_mapped_collection" if gcp else "GCSv5_mapped_collection",
        "public": found.public,
        "is_globus_connect": gcp,
        "gcp_connected": connected,
        "gcp_paused": world.relay.paused(found.id) if gcp else None,
        "globus_connect_setup_key": _shown_key(found, world, caller),
        "subscription_id": found.subscription_id,
        "default_directory": found.default_directory,
        "my_effective_roles": ["administrator"] if found.owner == caller else [],
        "DATA": [_server(found, connected)],
    }


def _shown_key(found: Endpoint, world: World, caller: str) -> str | None:
    shown = found.owner == caller and (not found.set_up or world.faults.switches.show_used_key)
    return found.setup_key if shown else None


def _server(found: Endpoint, connected: bool | None) -> Document:
    """The one server of an endpoint."""
    gcp = found.kind == "gcp"
    return {
        "DATA_TYPE": "server",
        "hostname": None if gcp else "127.0.0.1",
        "id": 1,
        "incoming_data_port_end": None,
        "incoming_data_port_start": None,
        "is_connected": True if connected is None else connected,
        "is_paused": False,
        "outgoing_data_port_end": None,
        "outgoing_data_port_start": None,
        "port": None if gcp else 443,
        "scheme": None if gcp else "gsiftp",
        "subject": f"/C=US/O=Globus Consortium/OU=Globus Connect Service/CN={found.id}" if gcp else None,
        "uri": None if gcp else "gsiftp://127.0.0.1:443",
    }


def file(found: Stat) -> Document:
    """One file of a listing, or the answer of stat. What a link points to is what is described."""
    link = found.link_target is not None
    modified = time.strftime("%Y-%m-%d %H:%M:%S+00:00", time.gmtime(found.modified))
    return {
        "DATA_TYPE": "file",
        "name": found.name,
        "type": found.type,
        "size": found.size,
        "last_modified": modified,
        "permissions": f"{found.mode & 0o7777:04o}",
        "user": found.user,
        "group": found.group,
        "link_target": found.link_target,
        "link_user": found.user if link else None,
        "link_group": found.group if link else None,
        "link_last_modified": modified if link else None,
        "link_size": len(found.link_target or "") if link else None,
    }


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
