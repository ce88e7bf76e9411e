"""The collections: what they are, whose, where their bytes are, and whether the service sees them now."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from nodexfer.sandbox.faults import Faults
from nodexfer.sandbox.faulty import FaultyStorage, Pace
from nodexfer.sandbox.model import Endpoint
from nodexfer.sandbox.storage import Storage, StorageError
from nodexfer.sandbox.store import Store

NOT_CONNECTED = "The GCP endpoint is not currently connected to Globus"


class Connections(Protocol):
    """What the relay knows (see :mod:`nodexfer.sandbox.relay`)."""

    def connected_since(self, endpoint: str) -> float | None:
        """When its connection began, by ``time.monotonic()``; None when there is none."""

    def paused(self, endpoint: str) -> bool: ...

    def storage(self, endpoint: str) -> Storage: ...


class Conflict(Exception):
    """The catalog has something in the way; the text says what."""


class Catalog:
    """Any thread may call. ``open_site`` makes the storage of a directory."""

    def __init__(
        self, store: Store, faults: Faults, connections: Connections, open_site: Callable[[str], Storage]
    ) -> None:
        self._store = store
        self._faults = faults
        self._connections = connections
        self._open_site = open_site
        self._lock = threading.RLock()
        self._endpoints = store.load("endpoint", Endpoint)
        self._sites: dict[str, Storage] = {}
        self._paces: dict[str, Pace] = {}
        #: When each GCP was last seen connected, by time.monotonic().
        self._seen: dict[str, float] = {}

    # what there is ----------------------------------------------------------------------------------------------

    def create_gcp(self, owner: str, name: str, fields: dict[str, Any]) -> Endpoint:
        """:raises Conflict: the owner has one of this name, or has as many endpoints as one may own."""
        with self._lock:
            self._check_name(owner, name)
            owned = sum(endpoint.owner == owner for endpoint in self._endpoints.values())
            if owned >= self._faults.switches.owned_endpoints:
                raise Conflict(f"You may not own more than {owned} endpoints.")
            endpoint = Endpoint(str(uuid.uuid4()), "gcp", name, owner, time.time(), setup_key=str(uuid.uuid4()))
            apply(endpoint, fields)
            self._keep(endpoint)
        return endpoint

    def create_site(self, id: str, owner: str, name: str, root: str) -> Endpoint:
        """A site collection; the existing one of this id now serves ``root``."""
        with self._lock:
            endpoint = self._endpoints.get(id) or Endpoint(id, "site", name, owner, time.time())
            endpoint.root = root
            self._sites.pop(id, None)
            self._keep(endpoint)
        return endpoint

    def find(self, id: str) -> Endpoint | None:
        return self._endpoints.get(id)

    def all(self) -> list[Endpoint]:
        with self._lock:
            return list(self._endpoints.values())

    def update(self, endpoint: Endpoint, fields: dict[str, Any]) -> None:
        """:raises Conflict: another endpoint of the owner has the new name."""
        with self._lock:
            name = fields.get("display_name", endpoint.display_name)
            if name != endpoint.display_name:
                self._check_name(endpoint.owner, name)
                endpoint.display_name = name
            apply(endpoint, fields)
            self._keep(endpoint)

    def delete(self, id: str) -> None:
        with self._lock:
            self._endpoints.pop(id, None)
            self._sites.pop(id, None)
            self._store.forget("endpoint", id)

    def register(self, setup_key: str) -> Endpoint | None:
        """What ``globusconnectpersonal -setup`` does with its one-time key; None for an unknown, used or old one."""
        seconds = self._faults.switches.key_seconds
        with self._lock:
            for endpoint in self._endpoints.values():
                old = seconds and time.time() - endpoint.created > seconds
                if endpoint.setup_key == setup_key and not endpoint.set_up and not old:
                    endpoint.set_up = True
                    endpoint.secret = uuid.uuid4().hex + uuid.uuid4().hex
                    self._keep(endpoint)
                    return endpoint
        return None

    def authenticate(self, secret: str) -> str | None:
        """The endpoint that a stand-in proves to be, for the relay. A fault that disconnects it keeps it out."""
        with self._lock:
            for endpoint in self._endpoints.values():
                if endpoint.secret is not None and endpoint.secret == secret:
                    return None if self._faults.find("disconnect", endpoint.id) else endpoint.id
        return None

    def _check_name(self, owner: str, name: str) -> None:
        if any(e.owner == owner and e.display_name == name for e in self._endpoints.values()):
            raise Conflict(f"You already have an endpoint with the display name '{name}'.")

    def _keep(self, endpoint: Endpoint) -> None:
        self._endpoints[endpoint.id] = endpoint
        self._store.save("endpoint", endpoint.id, endpoint)

    # what the service sees --------------------------------------------------------------------------------------

    def said_connected(self, endpoint: Endpoint) -> bool:
        """``gcp_connected`` of its document: true when wedged, and for a while after the connection was lost."""
        if self.connected(endpoint):
            return True
        last = self._seen.get(endpoint.id)
        return last is not None and time.monotonic() - last < self._faults.switches.offline_lag_seconds

    def connected(self, endpoint: Endpoint) -> bool:
        """Whether there is a connection that the service takes for one."""
        if endpoint.kind == "site":
            return True
        since = self._connections.connected_since(endpoint.id)
        if since is None or self._faults.find("disconnect", endpoint.id):
            return False
        self._seen[endpoint.id] = time.monotonic()
        delay = self._faults.find("delay_ready", endpoint.id)
        return delay is None or time.monotonic() - since >= float(delay.fields["seconds"])

    def check(self, endpoint: Endpoint) -> None:
        """:raises StorageError: GC_NOT_CONNECTED, the service can not use the endpoint now."""
        if endpoint.id not in self._endpoints:
            raise StorageError("ENDPOINT_ERROR", f"The endpoint {endpoint.id} has been deleted.")
        wedged = self._faults.find("wedge", endpoint.id)
        if wedged or not self.connected(endpoint):
            raise StorageError("GC_NOT_CONNECTED" if endpoint.kind == "gcp" else "CONNECT_FAILED", NOT_CONNECTED)
        if endpoint.kind == "gcp" and self._connections.paused(endpoint.id):
            raise StorageError("GC_PAUSED", "The GCP endpoint is currently paused")

    def storage(self, endpoint: Endpoint) -> Storage:
        """Its bytes, as the faults let them be seen. :raises StorageError: see :meth:`check`."""
        self.check(endpoint)
        return FaultyStorage(
            self._inner(endpoint), endpoint.id, self._faults, lambda: self.check(endpoint), self._pace(endpoint.id)
        )

    def _inner(self, endpoint: Endpoint) -> Storage:
        if endpoint.kind == "gcp":
            return self._connections.storage(endpoint.id)
        with self._lock:
            storage = self._sites.get(endpoint.id)
            if storage is None:
                storage = self._sites[endpoint.id] = self._open_site(str(endpoint.root))
            return storage

    def _pace(self, id: str) -> Pace:
        with self._lock:
            return self._paces.setdefault(id, Pace(id, self._faults))


#: Fields of the endpoint document that its owner may write (Transfer API, endpoint).
WRITABLE = frozenset(
    {
        "contact_email",
        "contact_info",
        "department",
        "description",
        "disable_anonymous_writes",
        "disable_verify",
        "force_encryption",
        "force_verify",
        "info_link",
        "keywords",
        "location",
        "network_use",
        "organization",
        "user_message",
        "user_message_link",
    }
)


def apply(endpoint: Endpoint, fields: dict[str, Any]) -> None:
    """Take over what ``fields`` says and an owner may say."""
    if "public" in fields:
        endpoint.public = bool(fields["public"])
    if "default_directory" in fields:
        endpoint.default_directory = fields["default_directory"]
    endpoint.details.update((name, fields[name]) for name in WRITABLE & set(fields))
