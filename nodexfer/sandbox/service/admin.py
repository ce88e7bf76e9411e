"""The sandbox's own routes: faults, switches, registration of stand-ins, the end."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, jsonify

from nodexfer.sandbox.faults import KINDS, OF_CONNECTIONS, Fault
from nodexfer.sandbox.service.context import accounts, body, catalog, engine, faults, world
from nodexfer.sandbox.service.errors import ApiError, bad_request
from nodexfer.sandbox.service.guard import need_admin
from nodexfer.sandbox.world import describe

routes = Blueprint("admin", __name__, url_prefix="/sandbox")


@routes.post("/register")
def register() -> Response:
    """What ``-setup`` asks with its one-time key, which is all that it needs to show."""
    key = str(body().get("setup_key", ""))
    found = catalog().register(key)
    if found is None:
        raise ApiError(404, "NotFound", f"Setup Code {key} not found")
    owner = accounts().identity(found.owner)
    host, port = world().relay.address
    return jsonify(
        {
            "endpoint_id": found.id,
            "relay_host": host,
            "relay_port": port,
            "relay_secret": found.secret,
            "owner": found.owner,
            "owner_name": owner.username if owner else found.owner,
            "display_name": found.display_name,
        }
    )


@routes.get("/status")
def status() -> Response:
    need_admin()
    here = world()
    tasks = engine().all()
    return jsonify(
        {
            "id": here.id,
            "endpoints": [describe(found, here) for found in catalog().all()],
            "sites": here.site_ids(),
            "tasks": {
                state: sum(task.status == state for task in tasks) for state in ("ACTIVE", "SUCCEEDED", "FAILED")
            },
            "faults": [_document(fault) for fault in faults().list()],
            "switches": msgspec.to_builtins(faults().switches),
            "person": here.person.username,
            "compute": None if here.compute is None else here.compute.status(),
            "subscription_id": here.subscription,
            "gcp": {
                "live": here.relay.live_count(),
                "live_max": here.relay.live_max(),
                "user_live_max": here.relay.user_live_max(),
                "started": here.relay.started(),
                "history": [visit._asdict() for visit in here.relay.history()],
            },
        }
    )


@routes.get("/requests")
def requests() -> Response:
    need_admin()
    return jsonify({"count": world().requests.count})


@routes.get("/fault")
def list_faults() -> Response:
    need_admin()
    return jsonify({"faults": [_document(fault) for fault in faults().list()], "kinds": sorted(KINDS)})


@routes.post("/fault")
def set_fault() -> Response:
    """``{"kind": ..., fields...}``; ``switch`` sets switches. The endpoint may be given by its name."""
    need_admin()
    fields = body()
    kind = str(fields.pop("kind", ""))
    try:
        if kind == "switch":
            return jsonify({"id": None, "kind": kind, **msgspec.to_builtins(faults().switch(fields))})
        if "endpoint" in fields:
            fields["endpoint"] = _endpoint_id(str(fields["endpoint"]), gcp=kind in OF_CONNECTIONS)
        fault = faults().set(kind, fields)
    except ValueError as error:
        raise bad_request(str(error)) from error
    if kind == "expire_tokens":
        accounts().expire_access_tokens()
        if not fault.fields.get("refuse"):  # it has done its work
            faults().clear(fault.id)
    return jsonify(_document(fault))


@routes.delete("/fault")
@routes.delete("/fault/<id>")
def clear_fault(id: str | None = None) -> Response:
    need_admin()
    cleared = faults().clear(id)
    if id is not None and not cleared:
        raise ApiError(404, "NotFound", f"There is no fault {id}")
    return jsonify({"cleared": cleared})


@routes.post("/client")
def add_client() -> Response:
    """One more client identity, to be somebody else with."""
    need_admin()
    made = accounts().add_client(str(body().get("name", "another client")))
    return jsonify({"id": made.id, "secret": made.secret, "username": made.username})


@routes.post("/site")
def add_site() -> Response:
    """``{"name":..., "root":...}``: one more site collection, or another directory for an existing one."""
    need_admin()
    fields = body()
    name, root = fields.get("name"), fields.get("root")
    if not isinstance(name, str) or not isinstance(root, str):
        raise bad_request("A site needs a name and a root")
    world().serve_sites({name: root})
    return jsonify({"id": world().site_ids()[name]})


@routes.post("/reset")
def reset() -> Response:
    need_admin()
    world().reset()
    return jsonify({"reset": True})


@routes.post("/stop")
def stop() -> Response:
    """The server ends by itself once this has been answered."""
    need_admin()
    world().stop_requested.set()
    return jsonify({"stopping": True})


def _endpoint_id(wanted: str, *, gcp: bool) -> str:
    if wanted == "all":
        return wanted
    found = [endpoint for endpoint in catalog().all() if wanted in (endpoint.id, endpoint.display_name)]
    if len(found) != 1:
        raise ValueError(f"There {'is no endpoint' if not found else 'are several endpoints'} '{wanted}'.")
    if gcp and found[0].kind != "gcp":
        raise ValueError(f"'{wanted}' is a site: it has no connection that can be lost. 'wedge' makes it unreachable.")
    return found[0].id


def _document(fault: Fault) -> dict[str, object]:
    return {"id": fault.id, "kind": fault.kind, **fault.fields}
