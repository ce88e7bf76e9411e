"""Errors as the Transfer API says them: a code, a message, a request id, the HTTP status."""

from __future__ import annotations

import secrets

from flask import Response, jsonify, request

from nodexfer.sandbox.catalog import NOT_CONNECTED
from nodexfer.sandbox.model import Endpoint
from nodexfer.sandbox.storage import StorageError


def request_id() -> str:
    return secrets.token_urlsafe(6)


class ApiError(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(code, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def bad_request(message: str, code: str = "BadRequest") -> ApiError:
    return ApiError(400, code, message)


def render(error: ApiError) -> Response:
    body = {"code": error.code, "message": error.message, "request_id": request_id(), "resource": request.path}
    response = jsonify(body)
    response.status_code = error.status
    response.headers.update(error.headers)
    return response


#: Event code -> (HTTP status, code, first words of the message) of a synchronous operation. ``{}`` is DirListingFailed,
#: MkdirFailed, ... by the operation. Globus documents 404 NotFound, 403 EndpointPermissionDenied and the 502 of a GCP
#: that is not connected; the others follow their pattern.
_CODES = {
    "FILE_NOT_FOUND": (404, "{not_found}", "Path not found"),
    "PERMISSION_DENIED": (403, "EndpointPermissionDenied", "Denied by endpoint"),
    "EXISTS": (502, "ExternalError.{failed}.Exists", "Path already exists"),
    "NOT_A_DIRECTORY": (502, "ExternalError.{failed}.NotDirectory", "Not a directory"),
    "TIMEOUT": (504, "ExternalError.{failed}.Timeout", "The endpoint did not answer in time"),
    "CONNECT_FAILED": (502, "ExternalError.{failed}.ConnectFailed", "The endpoint can not be reached"),
    "INVALID_PATH_NAME": (400, "ClientError.BadRequest", "The path is not valid"),
}

#: Operation -> (its name in ExternalError codes, its word in messages, its code for a path that is not there).
_OPERATIONS = {
    "ls": ("DirListingFailed", "list", "ClientError.NotFound"),
    "stat": ("DirListingFailed", "list", "NotFound"),
    "mkdir": ("MkdirFailed", "mkdir", "ClientError.NotFound"),
    "rename": ("RenameFailed", "rename", "ClientError.NotFound"),
}


def from_storage(error: StorageError, operation: str, endpoint: Endpoint) -> ApiError:
    """What a synchronous operation answers when the collection refuses it."""
    failed, word, not_found = _OPERATIONS[operation]
    if error.code == "GC_NOT_CONNECTED":
        # The code says DirListingFailed for every operation: clients match on the whole of it.
        return ApiError(502, "ExternalError.DirListingFailed.GCDisconnected", NOT_CONNECTED)
    status, code, words = _CODES.get(error.code, (502, "EndpointError", "The endpoint gave an error"))
    message = f"{words}, Error ({word})\nEndpoint: {endpoint.display_name} ({endpoint.id})\nMessage: {error.details}\n"
    return ApiError(status, code.format(failed=failed, not_found=not_found), message)
