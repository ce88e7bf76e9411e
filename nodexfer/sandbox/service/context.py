"""What every route has at hand: the sandbox's parts, and who is asking."""

from __future__ import annotations

from typing import cast

from flask import current_app, g, request

from nodexfer.sandbox.accounts import Accounts
from nodexfer.sandbox.catalog import Catalog
from nodexfer.sandbox.engine.engine import Engine
from nodexfer.sandbox.faults import Faults
from nodexfer.sandbox.model import Endpoint, Task
from nodexfer.sandbox.service.errors import ApiError, bad_request
from nodexfer.sandbox.world import World


def world() -> World:
    return cast(World, current_app.extensions["sandbox"])


def accounts() -> Accounts:
    return world().accounts


def catalog() -> Catalog:
    return world().catalog


def engine() -> Engine:
    return world().engine


def faults() -> Faults:
    return world().faults


def caller() -> str:
    """The identity that the request's token stands for."""
    return cast(str, g.identity)


def body(what: str = "") -> dict[str, object]:
    """The JSON object of the request. :raises ApiError: 400."""
    try:
        found = request.get_json(force=True, silent=True)
    except RecursionError:  # brackets in brackets, thousands deep
        found = None
    if not isinstance(found, dict):
        raise bad_request("Could not parse JSON: a JSON object is expected")
    if what and found.get("DATA_TYPE", what) != what:
        raise bad_request(f"DATA_TYPE must be '{what}'")
    return found


def endpoint(id: str, *, owned: bool = False) -> Endpoint:
    """:raises ApiError: 404, or 403 where the caller is not its owner and has to be."""
    found = catalog().find(id)
    if found is None:
        raise ApiError(404, "EndpointNotFound", f"No such endpoint '{id}'")
    if owned and found.owner != caller():
        raise ApiError(403, "PermissionDenied", f"You do not have a role on endpoint '{id}' that allows this.")
    return found


def usable(id: str) -> Endpoint:
    """An endpoint whose files the caller may use: any site collection, and one's own GCP."""
    found = endpoint(id)
    if found.kind == "gcp" and found.owner != caller():
        raise ApiError(403, "PermissionDenied", f"Not authorized to use endpoint '{id}': you are not its owner.")
    return found


def task(id: str) -> Task:
    """:raises ApiError: 404: there is none of that id that is the caller's."""
    found = engine().find(id)
    if found is None or found.owner != caller():
        raise ApiError(404, "ClientError.NotFound", f"No task found with id '{id}'")
    return found
