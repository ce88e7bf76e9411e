"""Errors as the Compute service says them: a code in words, a reason, the HTTP status."""

from __future__ import annotations

import uuid

from flask import Response, jsonify


class Refused(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, code: str, reason: str, *arguments: str) -> None:
        super().__init__(code, reason)
        self.status = status
        self.code = code
        self.reason = reason
        self.arguments = arguments


def malformed(reason: str) -> Refused:
    return Refused(400, "REQUEST_MALFORMED", reason)


def not_found(kind: str, id: str) -> Refused:
    """``kind`` as in the code: ENDPOINT, FUNCTION, TASK, TASK_GROUP."""
    name = kind.replace("_", " ").capitalize()
    return Refused(404, f"{kind}_NOT_FOUND", f"{name} {id} could not be resolved", id)


def forbidden(kind: str, id: str) -> Refused:
    name = kind.replace("_", " ").lower()
    return Refused(403, f"{kind}_ACCESS_FORBIDDEN", f"Unauthorized access to {name} {id}", id)


def render(error: Refused, headers: dict[str, str] | None = None) -> Response:
    response = jsonify(
        {
            "status": "Failed",
            "code": error.code,
            "reason": error.reason,
            "message": error.reason,
            "error_args": list(error.arguments),
            "http_status_code": error.status,
            "request_id": str(uuid.uuid4()),
        }
    )
    response.status_code = error.status
    response.headers.update(headers or {})
    return response
