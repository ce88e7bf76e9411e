"""The routes of the Compute API, versions 2 and 3, that the SDK and the endpoint use."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, cast

from flask import Blueprint, Response, current_app, g, jsonify, request

from nodexfer.sandbox.accounts import Accounts
from nodexfer.sandbox.compute.errors import Refused, malformed
from nodexfer.sandbox.compute.model import FAILED, Endpoint, Task
from nodexfer.sandbox.compute.work import QUEUE_PREFIX, Service
from nodexfer.sandbox.service.context import accounts

routes = Blueprint("compute", __name__)

API_VERSION = "1.23.0"
#: The oldest clients that this emulator is tested with.
MINIMUM_VERSION = "4.0.0"


def service() -> Service:
    return cast(Service, current_app.extensions["compute"])


def caller() -> str:
    return cast(str, g.identity)


def _body() -> dict[str, Any]:
    found = request.get_json(force=True, silent=True)
    if not isinstance(found, dict):
        raise malformed("A JSON object is expected")
    return found


def _uuid(id: str) -> str:
    try:
        return str(uuid.UUID(id))
    except ValueError:
        raise malformed(f"'{id}' is not a valid UUID") from None


# the service itself -----------------------------------------------------------------------------------------------


@routes.get("/v2/version")
def version() -> Response:
    if request.args.get("service") != "all":
        return jsonify(API_VERSION)
    return jsonify(
        {
            "api": API_VERSION,
            "min_sdk_version": MINIMUM_VERSION,
            "min_ep_version": MINIMUM_VERSION,
            "min_endpoint_version": MINIMUM_VERSION,
            "git_sha": "",
        }
    )


@routes.get("/v2/get_amqp_result_connection_url")
def result_queue() -> Response:
    return jsonify({"queue_prefix": QUEUE_PREFIX, "connection_url": service().broker_url})


# endpoints --------------------------------------------------------------------------------------------------------


@routes.post("/v3/endpoints")
def register_endpoint() -> Response:
    return _register(None)


@routes.put("/v3/endpoints/<id>")
def update_endpoint(id: str) -> Response:
    return _register(_uuid(id))


def _register(id: str | None) -> Response:
    fields = _body()
    with service().lock:
        made = service().registry.register(caller(), fields, id)
        return jsonify({**service().registry.credentials(made), "warnings": []})


@routes.get("/v2/endpoints")
def list_endpoints() -> Response:
    with service().lock:
        found = service().registry.listed(caller(), request.args.get("role", "owner"))
    return jsonify([{**_short(endpoint), "owner": endpoint.owner} for endpoint in found])


@routes.get("/v2/endpoints/<id>")
def get_endpoint(id: str) -> Response:
    with service().lock:
        found = service().registry.visible(_uuid(id), caller())
    return jsonify(_long(found))


@routes.get("/v2/endpoints/<id>/status")
def endpoint_status(id: str) -> Response:
    with service().lock:
        found = service().registry.visible(_uuid(id), caller())
        online = service().registry.online(found)
    return jsonify({"status": "online" if online else "offline", "details": found.state})


@routes.delete("/v2/endpoints/<id>")
def delete_endpoint(id: str) -> Response:
    with service().lock:
        service().registry.delete(service().registry.owned(_uuid(id), caller()))
    return jsonify({"result": 302})


@routes.post("/v2/endpoints/<id>/lock")
@routes.post("/v3/endpoints/<id>/lock")
def lock_endpoint(id: str) -> Response:
    with service().lock:
        found = service().registry.owned(_uuid(id), caller())
        service().registry.lock(found)
    return jsonify({"endpoint_id": found.id, "lock_expiration_timestamp": _iso(found.locked_until)})


@routes.get("/v3/endpoints/<id>/allowed_functions")
def allowed_functions(id: str) -> Response:
    with service().lock:
        found = service().registry.visible(_uuid(id), caller())
    allowed = found.document.get("allowed_functions") or []
    return jsonify({"endpoint_id": found.id, "restricted": bool(allowed), "functions": allowed})


# functions --------------------------------------------------------------------------------------------------------


@routes.post("/v2/functions")
@routes.post("/v3/functions")
def register_function() -> Response:
    with service().lock:
        made = service().registry.add_function(caller(), _body())
    return jsonify({"function_uuid": made.id})


@routes.get("/v2/functions/<id>")
def get_function(id: str) -> Response:
    with service().lock:
        found = service().registry.function(_uuid(id), caller())
    document = found.document
    return jsonify(
        {
            "function_uuid": found.id,
            "function_name": document["function_name"],
            "function_code": document["function_code"],
            "description": document.get("description"),
            "metadata": document.get("meta"),
        }
    )


@routes.delete("/v2/functions/<id>")
def delete_function(id: str) -> Response:
    with service().lock:
        service().registry.forget_function(_uuid(id), caller())
    return jsonify({"result": 302})


# tasks ------------------------------------------------------------------------------------------------------------


@routes.post("/v3/endpoints/<id>/submit")
def submit(id: str) -> Response:
    return jsonify(service().submit(_submitter(accounts()), _uuid(id), _body()))


@routes.get("/v2/tasks/<id>")
def get_task(id: str) -> Response:
    with service().lock:
        return jsonify(_status(service().task(_uuid(id), caller())))


@routes.post("/v2/batch_status")
def batch_status() -> Response:
    """Of many at once; one that is not the caller's has failed, for a reason that says no more."""
    wanted = _body().get("task_ids")
    if not isinstance(wanted, list) or not all(isinstance(task, str) for task in wanted):
        raise malformed("Missing field 'task_ids'")
    with service().lock:
        return jsonify({"response": "batch", "results": {task: _found(task) for task in wanted}})


@routes.get("/v2/taskgroup/<id>")
def task_group(id: str) -> Response:
    with service().lock:
        group, tasks = service().group(_uuid(id), caller())
    rows = [{"id": task.id, "created_at": _iso(task.created)} for task in tasks]
    return jsonify({"taskgroup_id": group.id, "create_websockets_queue": group.queue, "tasks": rows})


# documents --------------------------------------------------------------------------------------------------------


def _submitter(known: Accounts) -> dict[str, Any]:
    """As a command names whoever it is for: a core endpoint compares it with whoever runs it."""
    found = known.identity(caller())
    username = found.username if found else caller()
    identity = {"sub": caller(), "username": username}
    return {
        "globus_effective_identity": caller(),
        "globus_identity_set": [identity],
        "globus_username": username,
    }


def _short(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "uuid": endpoint.id,
        "name": endpoint.name,
        "display_name": endpoint.document.get("display_name") or endpoint.name,
    }


def _long(endpoint: Endpoint) -> dict[str, Any]:
    told = endpoint.document.get("metadata") or {}
    return {
        **_short(endpoint),
        "multi_user": endpoint.multi_user,
        "public": endpoint.public,
        "endpoint_config": told.get("endpoint_config", ""),
        "user_config_template": told.get("user_config_template", ""),
        "user_config_schema": told.get("user_config_schema", {}),
        "description": endpoint.document.get("description", ""),
        "hostname": told.get("hostname"),
        "local_user": told.get("local_user"),
        "ip_address": "127.0.0.1",
        "endpoint_version": told.get("endpoint_version"),
        "sdk_version": told.get("endpoint_version"),
        "subscription_uuid": endpoint.document.get("subscription_uuid"),
        "owner": endpoint.owner,
    }


def _status(task: Task) -> dict[str, Any]:
    document: dict[str, Any] = {"task_id": task.id, "status": task.status}
    if task.completed is not None:
        document["completion_t"] = str(task.completed)
        document["exception" if task.status == FAILED else "result"] = task.data
        document["details"] = task.details
    return document


def _found(id: str) -> dict[str, Any]:
    try:
        return _status(service().task(id, caller()))
    except Refused:
        return {"task_id": id, "status": FAILED, "reason": "unknown task id"}


def _iso(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
