"""Transfer routes: tasks, their events and their files."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from nodexfer.sandbox.service import checks, filters
from nodexfer.sandbox.service import task_documents as documents
from nodexfer.sandbox.service.context import body, caller, engine, task, world
from nodexfer.sandbox.service.endpoints import result
from nodexfer.sandbox.service.errors import ApiError, bad_request
from nodexfer.sandbox.service.filters import parse_time

routes = Blueprint("tasks", __name__, url_prefix="/v0.10")

#: Without ``limit`` a list has ten rows, with it at most a thousand (Transfer API, paging).
DEFAULT_LIMIT = 10
MOST = 1000
#: Rows of one page that is asked for by a marker.
MARKER_PAGE = 1000

_CANCELED = {
    "Canceled": "The task has been cancelled successfully.",
    "CancelAccepted": "The task is being cancelled; it has not ended yet.",
    "TaskComplete": "The task completed before the cancel request was processed.",
}


@routes.get("/task_list")
def task_list() -> Response:
    rows = [documents.task(found, world()) for found in engine().tasks(caller())]
    rows = filters.select(rows, request.args.getlist("filter"))
    rows = filters.order(rows, request.args.get("orderby") or "")
    return _page("task_list", rows)


@routes.get("/task/<id>")
def show(id: str) -> Response:
    return jsonify(filters.fields(documents.task(task(id), world()), request.args.get("fields")))


@routes.put("/task/<id>")
def update(id: str) -> Response:
    found = task(id)
    fields = body("task")
    changes: dict[str, object] = {}
    if "label" in fields:
        changes["label"] = checks.label(fields["label"])
    if fields.get("deadline"):
        changes["deadline"] = parse_time(str(fields["deadline"]))
    if found.over:
        raise ApiError(409, "ClientError.Conflict.TaskComplete", "The task is complete and can not be changed")
    engine().update(id, changes)
    return result("Updated", "Task updated successfully")


@routes.post("/task/<id>/cancel")
def cancel(id: str) -> Response:
    code = engine().cancel(task(id).id)
    return result(code, _CANCELED[code])


@routes.get("/task/<id>/event_list")
def event_list(id: str) -> Response:
    """Newest first."""
    rows = [documents.event(found) for found in reversed(list(task(id).events))]
    filtered = [{**row, "is_error": int(row["is_error"])} for row in rows]
    chosen = filters.select(filtered, request.args.getlist("filter"))
    if request.args.get("filter_is_error"):
        chosen = [row for row in chosen if row["is_error"]]
    return _page("event_list", [{**row, "is_error": bool(row["is_error"])} for row in chosen])


@routes.get("/task/<id>/successful_transfers")
def successful_transfers(id: str) -> Response:
    """Files only, only those that were moved, and only once the task is over."""
    found = task(id)
    if found.type != "TRANSFER":
        raise bad_request("Only a transfer has successful transfers")
    if not found.over:
        raise ApiError(409, "ClientError.Conflict", "The successful transfers are known once the task is complete")
    moved = [job for job in engine().files(id) if job.state == "moved"]
    marker = filters.number(request.args.get("marker"), 0, len(moved))
    page = moved[marker : marker + MARKER_PAGE]
    return _marked("successful_transfers", [documents.successful_transfer(job) for job in page], marker, len(moved))


@routes.get("/task/<id>/skipped_errors")
def skipped_errors(id: str) -> Response:
    skipped = list(task(id).skipped)
    marker = filters.number(request.args.get("marker"), 0, len(skipped))
    page = skipped[marker : marker + MARKER_PAGE]
    return _marked("skipped_errors", [documents.skipped_error(error) for error in page], marker, len(skipped))


@routes.get("/task/<id>/pause_info")
def pause_info(id: str) -> Response:
    """Nobody pauses anything in the sandbox."""
    task(id)
    return jsonify(
        {
            "DATA_TYPE": "pause_info_limited",
            "pause_rules": [],
            "source_pause_message": None,
            "source_pause_message_share": None,
            "destination_pause_message": None,
            "destination_pause_message_share": None,
        }
    )


def _page(kind: str, rows: list[filters.Row]) -> Response:
    limit = filters.number(request.args.get("limit"), DEFAULT_LIMIT, MOST)
    offset = filters.number(request.args.get("offset"), 0, 10**9)
    page = [filters.fields(row, request.args.get("fields")) for row in rows[offset : offset + limit]]
    return jsonify(
        {"DATA_TYPE": kind, "length": len(page), "limit": limit, "offset": offset, "total": len(rows), "DATA": page}
    )


def _marked(kind: str, page: list[filters.Row], marker: int, total: int) -> Response:
    after = marker + len(page)
    return jsonify({"DATA_TYPE": kind, "marker": marker, "next_marker": after if after < total else None, "DATA": page})
