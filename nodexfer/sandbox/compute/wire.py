"""The messages between the service and its endpoints: one byte, the protocol's number, and a JSON document."""

from __future__ import annotations

import json
from typing import Any

PROTOCOL = b"\x01"


class NoMessage(ValueError):
    """Bytes that are none."""


def pack(kind: str, data: dict[str, Any]) -> bytes:
    return PROTOCOL + json.dumps({"message_type": kind, "data": data}, separators=(",", ":")).encode()


def unpack(body: bytes) -> tuple[str, dict[str, Any]]:
    """Kind and data. :raises NoMessage:"""
    if body[:1] != PROTOCOL:
        raise NoMessage(f"a message of protocol {body[:1]!r}")
    try:
        found = json.loads(body[1:])
        kind, data = found["message_type"], found["data"]
    except (ValueError, TypeError, KeyError) as error:
        raise NoMessage(f"no message: {error!r}") from error
    if not isinstance(kind, str) or not isinstance(data, dict):
        raise NoMessage("no message: not of its types")
    return kind, data


def task(id: str, function_code: str, payload: str) -> bytes:
    """What a worker is to do. Both buffers say their own length, so they are put one behind the other."""
    document = {"task_id": id, "container_id": None, "container": None, "task_buffer": function_code + payload}
    return pack("task", document)


def failure(id: str, code: str, message: str) -> bytes:
    """The result of a task that the service itself gives up."""
    error = {"code": code, "user_message": message}
    return pack(
        "result", {"task_id": id, "data": message, "details": None, "error_details": error, "task_statuses": []}
    )
