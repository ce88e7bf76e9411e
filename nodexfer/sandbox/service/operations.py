"""Transfer routes: synchronous operations on a collection (ls, stat, mkdir, rename)."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from nodexfer.sandbox.model import Endpoint
from nodexfer.sandbox.service import documents, filters
from nodexfer.sandbox.service.context import body, catalog, usable
from nodexfer.sandbox.service.endpoints import result
from nodexfer.sandbox.service.errors import bad_request, from_storage
from nodexfer.sandbox.storage import Storage, StorageError

routes = Blueprint("operations", __name__, url_prefix="/v0.10/operation/endpoint/<id>")

LS_LIMIT = 100_000


@routes.get("/ls")
def ls(id: str) -> Response:
    found = usable(id)
    path = request.args.get("path") or found.default_directory or "/~/"
    storage = _open(found, "ls")
    try:
        entries = storage.ls(path)
    except StorageError as error:
        raise from_storage(error, "ls", found) from error
    rows = [documents.file(entry) for entry in entries]
    if request.args.get("show_hidden") in ("0", "false"):
        rows = [row for row in rows if not row["name"].startswith(".")]
    rows = filters.select(rows, request.args.getlist("filter"))
    rows = filters.order(rows, request.args.get("orderby") or "type,name")
    limit = filters.number(request.args.get("limit"), LS_LIMIT, LS_LIMIT)
    offset = filters.number(request.args.get("offset"), 0, LS_LIMIT)
    page = rows[offset : offset + limit]
    shown = path if path.endswith("/") else path + "/"
    return jsonify(
        {
            "DATA_TYPE": "file_list",
            "endpoint": found.id,
            "path": shown,
            "absolute_path": shown if shown.startswith("/") and not shown.startswith("/~") else None,
            "rename_supported": True,
            "symlink_supported": False,
            "length": len(page),
            "total": len(rows),
            "limit": limit,
            "offset": offset,
            "DATA": page,
        }
    )


@routes.get("/stat")
def stat(id: str) -> Response:
    found = usable(id)
    path = _path(request.args.get("path"), "path")
    storage = _open(found, "stat")
    try:
        return jsonify(documents.file(storage.stat(path)))
    except StorageError as error:
        raise from_storage(error, "stat", found) from error


@routes.post("/mkdir")
def mkdir(id: str) -> Response:
    found = usable(id)
    path = _path(body("mkdir").get("path"), "path")
    storage = _open(found, "mkdir")
    try:
        storage.mkdir(path)
    except StorageError as error:
        raise from_storage(error, "mkdir", found) from error
    response = result("DirectoryCreated", "The directory was created successfully", "mkdir_result")
    response.status_code = 202
    return response


@routes.post("/rename")
def rename(id: str) -> Response:
    found = usable(id)
    fields = body("rename")
    old, new = _path(fields.get("old_path"), "old_path"), _path(fields.get("new_path"), "new_path")
    storage = _open(found, "rename")
    try:
        storage.rename(old, new)
    except StorageError as error:
        raise from_storage(error, "rename", found) from error
    return result("FileRenamed", "File or directory renamed successfully")


def _open(found: Endpoint, operation: str) -> Storage:
    try:
        return catalog().storage(found)
    except StorageError as error:
        raise from_storage(error, operation, found) from error


def _path(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise bad_request(f"Missing required field '{name}'", "ClientError.BadRequest")
    return value
