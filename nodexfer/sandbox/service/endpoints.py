"""Transfer routes: endpoints (create, get, update, delete, subscription, search)."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Blueprint, Response, jsonify, request

from nodexfer.sandbox.catalog import WRITABLE, Conflict
from nodexfer.sandbox.model import Endpoint
from nodexfer.sandbox.service import checks, documents, filters
from nodexfer.sandbox.service.context import body, caller, catalog, endpoint, world
from nodexfer.sandbox.service.errors import ApiError, bad_request, request_id

#: Fields that are looked at before they are kept, and in what order a client is told of them.
CHECKED = sorted({*WRITABLE, "default_directory"})

routes = Blueprint("endpoints", __name__, url_prefix="/v0.10")


def result(code: str, message: str, kind: str = "result", **more: object) -> Response:
    return jsonify(
        {
            "DATA_TYPE": kind,
            "code": code,
            "message": message,
            "request_id": request_id(),
            "resource": request.path,
            **more,
        }
    )


@routes.post("/endpoint")
def create() -> Response:
    fields = body("endpoint")
    name = checks.text(fields, "display_name")
    checks.endpoint_fields(fields, CHECKED)
    if not fields.get("is_globus_connect"):
        raise bad_request("The sandbox creates Globus Connect Personal endpoints only: is_globus_connect must be true")
    try:
        found = catalog().create_gcp(caller(), name, fields)
    except Conflict as error:
        raise ApiError(409, "ClientError.Conflict", str(error)) from error
    if fields.get("subscription_id"):
        found.subscription_id = _subscription(fields["subscription_id"])
        catalog().update(found, {})
    response = result(
        "Created",
        "Endpoint created",
        "endpoint_create_result",
        id=found.id,
        display_name=found.display_name,
        globus_connect_setup_key=found.setup_key,
    )
    response.status_code = 201
    return response


@routes.get("/endpoint/<id>")
def show(id: str) -> Response:
    return jsonify(filters.fields(documents.endpoint(_visible(id), world(), caller()), request.args.get("fields")))


@routes.put("/endpoint/<id>")
def update(id: str) -> Response:
    found = endpoint(id, owned=True)
    fields = body("endpoint")
    checks.endpoint_fields(fields, CHECKED)
    try:
        catalog().update(found, fields)
    except Conflict as error:
        raise ApiError(409, "ClientError.Conflict", str(error)) from error
    return result("Updated", "Endpoint updated successfully")


@routes.delete("/endpoint/<id>")
def delete(id: str) -> Response:
    found = endpoint(id, owned=True)
    catalog().delete(found.id)
    if found.kind == "gcp":
        world().relay.disconnect(found.id)
    return result("Deleted", "Endpoint deleted successfully")


@routes.put("/endpoint/<id>/subscription")
def set_subscription(id: str) -> Response:
    found = endpoint(id, owned=True)
    wanted = body().get("subscription_id")
    found.subscription_id = None if wanted is None else _subscription(wanted)
    catalog().update(found, {})
    return result("Updated", "Endpoint updated successfully")


@routes.put("/endpoint/<id>/subscription_admin_verified")
def set_subscription_admin_verified(id: str) -> Response:
    found = endpoint(id, owned=True)
    wanted = body().get("subscription_admin_verified")
    if not isinstance(wanted, bool):
        raise bad_request("Could not parse JSON: subscription_admin_verified must be a boolean")
    if found.subscription_id is None:
        raise bad_request("The collection must be associated with a subscription to set subscription_admin_verified")
    found.details["subscription_admin_verified"] = wanted
    catalog().update(found, {})
    return result("Updated", "Endpoint updated successfully")


@routes.get("/endpoint/<id>/server_list")
def servers(id: str) -> Response:
    found = documents.endpoint(_visible(id), world(), caller())["DATA"]
    return jsonify({"DATA_TYPE": "endpoint_server_list", "endpoint": id, "DATA": found})


def _visible(id: str) -> Endpoint:
    """A private endpoint is there for its owner only."""
    found = endpoint(id)
    if not found.public and found.owner != caller():
        raise ApiError(403, "PermissionDenied", f"You do not have permission to see endpoint '{id}'.")
    return found


def _subscription(wanted: object) -> str:
    """DEFAULT, or the id itself: in the sandbox everybody has the one subscription of the sandbox."""
    if wanted == "DEFAULT":
        return world().subscription
    try:
        return str(uuid.UUID(str(wanted)))
    except ValueError:
        raise bad_request(f"Invalid subscription_id '{wanted}'") from None


# search ---------------------------------------------------------------------------------------------------------

_TEXT_FIELDS = ("display_name", "description", "organization", "department", "keywords", "owner_string")
_MINE = frozenset({"my-endpoints", "my-gcp-endpoints", "administered-by-me"})
_SCOPES = _MINE | {"all", "recently-used", "in-use", "shared-by-me", "shared-with-me"}


@routes.get("/endpoint_search")
def search() -> Response:
    wanted = request.args
    scope = wanted.get("filter_scope", "all")
    if scope not in _SCOPES:
        raise bad_request(f"Invalid filter_scope '{scope}'")
    if scope == "all" and not wanted.get("filter_fulltext") and not wanted.get("filter_owner_id"):
        raise bad_request("filter_fulltext is required with filter_scope 'all'")
    known = [found for found in catalog().all() if _in_scope(found, scope)]
    rows = [documents.endpoint(found, world(), caller()) for found in known]
    rows = [row for row in rows if _matches(row, wanted)]
    rows.sort(key=lambda row: (row["display_name"].lower(), row["id"]))
    limit = filters.number(wanted.get("limit"), 25, 100)
    offset = filters.number(wanted.get("offset"), 0, 1000)
    page = rows[offset : offset + limit]
    return jsonify(
        {
            "DATA_TYPE": "endpoint_list",
            "limit": limit,
            "offset": offset,
            "has_next_page": offset + len(page) < min(len(rows), 1000),
            "DATA": [filters.fields(row, wanted.get("fields")) for row in page],
        }
    )


def _in_scope(found: Endpoint, scope: str) -> bool:
    mine = found.owner == caller()
    if scope == "all":
        return found.public or mine
    if scope in ("recently-used", "in-use"):
        states = ("ACTIVE",) if scope == "in-use" else ("ACTIVE", "SUCCEEDED", "FAILED")
        tasks = world().engine.tasks(caller())
        return any(found.id in (task.source, task.destination) for task in tasks if task.status in states)
    return mine and scope in _MINE and (scope != "my-gcp-endpoints" or found.kind == "gcp")


def _matches(row: dict[str, Any], wanted: dict[str, str]) -> bool:
    if wanted.get("filter_owner_id", row["owner_id"]) != row["owner_id"]:
        return False
    if wanted.get("filter_entity_type", row["entity_type"]) != row["entity_type"]:
        return False
    if wanted.get("filter_non_functional", "0") not in ("0", "false") or wanted.get("filter_host_endpoint"):
        return False  # the sandbox has neither broken endpoints nor guest collections
    text = " ".join(str(row[field]) for field in _TEXT_FIELDS if row[field]).lower()
    return all(word in text for word in wanted.get("filter_fulltext", "").lower().split()) or (
        wanted.get("filter_fulltext") == row["id"]
    )
