"""Transfer routes: submission ids, transfers, deletes."""

from __future__ import annotations

import time
import uuid
from typing import Any, Literal

from flask import Blueprint, Response, jsonify

from nodexfer.sandbox.catalog import NOT_CONNECTED
from nodexfer.sandbox.engine.entry import Closed
from nodexfer.sandbox.model import Endpoint, Task
from nodexfer.sandbox.service import checks
from nodexfer.sandbox.service.context import body, caller, catalog, engine, faults, usable
from nodexfer.sandbox.service.endpoints import result
from nodexfer.sandbox.service.errors import ApiError, bad_request
from nodexfer.sandbox.service.filters import parse_time

routes = Blueprint("submit", __name__, url_prefix="/v0.10")

#: Deadline of a task that was given none (Transfer API, task_behavior).
DEADLINE_SECONDS = 24 * 3600.0
NO_SUBSCRIPTION = (
    "Transfers between two Globus Connect Personal endpoints require that one of them be managed under a subscription."
)
_WORDS = {"TRANSFER": "transfer", "DELETE": "delete"}


@routes.get("/submission_id")
def submission_id() -> Response:
    return jsonify({"DATA_TYPE": "submission_id", "value": str(uuid.uuid4())})


@routes.post("/transfer")
def transfer() -> Response:
    fields = body("transfer")
    if known := _known(fields):
        return _answer(known, duplicate=True)
    items = checks.items(fields, "transfer_item", ("source_path", "destination_path"))
    checks.transfer_options(fields)
    source = usable(checks.text(fields, "source_endpoint"))
    destination = usable(checks.text(fields, "destination_endpoint"))
    checks.no_file_onto_itself(source, destination, items)
    _check_two_personal(source, destination)
    _check_online(source, destination)
    return _submit("TRANSFER", fields, items, source.id, destination.id)


@routes.post("/delete")
def delete() -> Response:
    fields = body("delete")
    if known := _known(fields):
        return _answer(known, duplicate=True)
    items = checks.items(fields, "delete_item", ("path",))
    checks.flags(fields, checks.DELETE_FLAGS)
    found = usable(checks.text(fields, "endpoint"))
    _check_online(found)
    return _submit("DELETE", fields, items, found.id, None)


def _submit(
    type: Literal["TRANSFER", "DELETE"],
    fields: dict[str, Any],
    items: list[dict[str, Any]],
    source: str,
    destination: str | None,
) -> Response:
    pending = sum(not task.over for task in engine().tasks(caller()))
    if pending >= faults().switches.pending_tasks:
        message = f"You have {pending} tasks that are not complete, and may not have more."
        raise ApiError(409, "ClientError.Conflict.TooManyPendingJobs", message)
    now = time.time()
    deadline = fields.get("deadline")
    task = Task(
        str(uuid.uuid4()),
        type,
        caller(),
        str(fields["submission_id"]),
        source,
        destination,
        options={name: value for name, value in fields.items() if name not in ("DATA", "DATA_TYPE")},
        items=items,
        requested=now,
        deadline=parse_time(str(deadline)) if deadline else now + DEADLINE_SECONDS,
        deadline_given=bool(deadline),
        label=checks.label(fields.get("label")),
    )
    try:
        found = engine().submit(task)
    except Closed as error:
        raise ApiError(503, "ServiceUnavailable", "Server Under Maintenance") from error
    return _answer(found, duplicate=found is not task)


def _answer(task: Task, *, duplicate: bool) -> Response:
    word = _WORDS[task.type]
    if duplicate:
        code, message = "Duplicate", f"This submission id was used for an earlier {word}; its task is this one"
    else:
        code = "Accepted"
        message = f"The {word} has been accepted and a task has been created and queued for execution"
    link = {
        "DATA_TYPE": "link",
        "href": f"/v0.10/task/{task.id}?format=json",
        "rel": "related",
        "resource": "task",
        "title": "related task",
    }
    response = result(
        code, message, f"{word}_result", submission_id=task.submission_id, task_id=task.id, task_link=link
    )
    response.status_code = 200 if duplicate else faults().switches.submit_status
    return response


# what is checked before a task exists -----------------------------------------------------------------------------


def _known(fields: dict[str, Any]) -> Task | None:
    """The task that this submission id stands for already. :raises ApiError: 400: it is no UUID."""
    given = checks.text(fields, "submission_id")
    try:
        uuid.UUID(given)
    except ValueError:
        raise bad_request(f"Invalid submission_id '{given}'", "ClientError.BadRequest") from None
    return engine().submitted(caller(), given)


def _check_two_personal(source: Endpoint, destination: Endpoint) -> None:
    """:raises ApiError: 403: both are GCP, none has a subscription, and the switch does not allow it."""
    personal = all(found.kind == "gcp" for found in (source, destination))
    managed = any(found.subscription_id for found in (source, destination))
    if personal and not managed and not faults().switches.p2p_without_subscription:
        raise ApiError(403, "PermissionDenied", NO_SUBSCRIPTION)


def _check_online(*ends: Endpoint) -> None:
    if faults().find("refuse_offline", "all") is None:
        return
    if not all(catalog().connected(found) for found in ends):
        raise ApiError(409, "ClientError.Conflict", NOT_CONNECTED)
