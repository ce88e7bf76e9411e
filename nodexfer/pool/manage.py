"""Look at the endpoints of a pool, and take them away: from the service and from the shared file system."""

from __future__ import annotations

import os
import secrets
from typing import Any, Protocol

from nodexfer import identity, records
from nodexfer.clock import utc
from nodexfer.config import Config
from nodexfer.errors import (
    CollectionUnknown,
    EndpointHeld,
    EndpointNotOurs,
    NodexferError,
    PermissionRefused,
    PoolEntryBroken,
    PoolMissing,
)
from nodexfer.gcp import configdir
from nodexfer.globus.protocol import Collection, NewEndpoint
from nodexfer.pool import lease as leases
from nodexfer.pool.entries import FORMAT, PoolEntry, read_pool
from nodexfer.pool.lease import Me

#: The place of a lease that :func:`remove` takes, so that nobody else takes one; another removal may go on with it.
REMOVAL = "removal"
_GONE = ".removed-"


class Endpoints(Protocol):
    """The part of the service that a pool needs (:class:`nodexfer.globus.sdk.SdkGlobus`)."""

    def identity(self) -> str: ...
    def create_endpoint(self, name: str) -> NewEndpoint: ...
    def delete_endpoint(self, endpoint: str) -> None: ...
    def own_endpoint(self, name: str) -> str | None: ...
    def collection(self, collection: str) -> Collection: ...


def describe(entry: PoolEntry) -> dict[str, Any]:
    """An entry and who has it: for ``pool list``. Asks nobody."""
    found: dict[str, Any] = {
        "name": entry.name,
        "endpoint_id": entry.endpoint_id,
        "owner": entry.owner,
        "created": entry.created,
        "state": "free",
        "broken": entry.broken,
        "lease": None,
        "trouble": entry.unread.message if entry.unread else "",
    }
    try:
        top = leases.top(entry.directory)
    except OSError as error:
        top, found["trouble"] = None, records.unusable(error, error.filename or entry.directory).message
    if top is not None:
        found["lease"] = {
            "number": top.number,
            "host": top.host,
            "job": top.job,
            "released": top.released,
            "taken": utc(top.taken),
            "renewed": utc(top.renewed_ns / 1e9),
            "trouble": top.trouble,
        }
        if not top.released:
            found["state"] = "held"
    if entry.broken:
        found["state"] = "broken"
    elif found["trouble"]:
        found["state"] = "unreadable"
    return found


def show(config: Config, globus: Endpoints, name: str) -> dict[str, Any]:
    """An entry as the pool and as the service know it.

    :raises PoolMissing: there is none of this name.
    :raises EndpointNotOurs: it belongs to another identity than the token's.
    """
    entry = find(config, name)
    found = {**describe(entry), "directory": entry.directory, "display_name": None, "connected": None}
    if entry.endpoint_id:
        there = _ours(globus, entry)
        if there is None:
            found["state"] = "broken"
            found["broken"] = entry.broken or "the service does not know its endpoint any more"
        else:
            found["display_name"], found["connected"] = there.name, there.connected
    return found


def find(config: Config, name: str) -> PoolEntry:
    """:raises PoolMissing: there is no entry of this name; the sentence lists those that are there.

    :raises NodexferError: nobody knows what it is, as long as its file system has something against it.
    """
    entries = read_pool(config.home_paths, config.pool)
    for entry in entries:
        if entry.name == name and entry.unread is not None:
            raise entry.unread
        if entry.name == name:
            return entry
    known = ", ".join(entry.name for entry in entries)
    raise PoolMissing(f"The pool {config.pool} has no endpoint {name!r}; it has {known}.", "nodexfer pool list")


def _ours(globus: Endpoints, entry: PoolEntry) -> Collection | None:
    """What the service has of it; None when it knows no such endpoint.

    :raises EndpointNotOurs: it is another identity's.
    """
    try:
        found = globus.collection(entry.endpoint_id)
    except CollectionUnknown:
        return None
    except PermissionRefused as error:  # endpoints of a pool are private: others may not even look
        raise _not_ours(globus, entry) from error
    if found.owner_id != globus.identity():
        raise _not_ours(globus, entry)
    return found


def _not_ours(globus: Endpoints, entry: PoolEntry) -> EndpointNotOurs:
    return EndpointNotOurs(
        f"The endpoint {entry.name} ({entry.endpoint_id}) belongs to the identity {entry.owner or 'of somebody else'}, "
        f"and your token is of {globus.identity()}.",
        f"nodexfer pool remove --forget {entry.name}",
    )


def remove(config: Config, globus: Endpoints | None, name: str) -> None:
    """Take an entry away, at the service first. Without ``globus``: forget it here, and leave the service alone.

    Nobody can take a lease meanwhile, since we take the next one ourselves. A crash leaves a broken entry, or an
    endpoint that the service does not have any more; either is removed by doing it again.

    :raises PoolMissing: there is none of this name.
    :raises EndpointHeld: a place has a lease on it.
    :raises EndpointNotOurs: it belongs to another identity than the token's.
    """
    entry = find(config, name)
    endpoint = entry.endpoint_id or _id_in_config(entry)
    if globus is not None:
        if endpoint:
            there = _ours(globus, entry._replace(endpoint_id=endpoint))
            endpoint = "" if there is None else there.id
        else:
            endpoint = globus.own_endpoint(_display_name(entry)) or ""
    _seize(config, entry)
    if globus is not None and endpoint:
        globus.delete_endpoint(endpoint)
    gone = f"{os.path.dirname(entry.directory)}/{_GONE}{secrets.token_hex(4)}"
    os.rename(entry.directory, gone)
    for left in os.listdir(os.path.dirname(gone)):
        if left.startswith(_GONE):
            configdir.remove(f"{os.path.dirname(gone)}/{left}")


def _seize(config: Config, entry: PoolEntry) -> None:
    """Take the next lease, for the removal. :raises EndpointHeld: somebody has one."""
    top = leases.top(entry.directory)
    held = top is not None and not top.released and top.place != REMOVAL
    me = Me("local", "", identity.host(), identity.boot_id(), REMOVAL, "", f"pool remove {os.getpid()}", 0)
    number = 1 if top is None else top.number + 1
    if held or leases.take(entry.directory, number, me, entry.endpoint_id, config.lease) is None:
        top = leases.top(entry.directory)
        who = top.holder if top else "somebody"
        raise EndpointHeld(f"The endpoint {entry.name} is held by {who}; it can be removed when it is given back.")


def _id_in_config(entry: PoolEntry) -> str:
    try:
        return configdir.endpoint_id(f"{entry.directory}/config")
    except PoolEntryBroken:
        return ""


def _display_name(entry: PoolEntry) -> str:
    """What the record says that the endpoint was to be called: a crash may have come before its id was known."""
    try:
        record = records.read(f"{entry.directory}/record.json", FORMAT)
    except NodexferError:
        record = None
    return str(record.get("display_name") or entry.name) if record else entry.name
