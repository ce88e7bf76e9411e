"""One sandbox in memory: its parts, put together in the order in which they need each other."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nodexfer.sandbox.accounts import Accounts
from nodexfer.sandbox.catalog import Catalog
from nodexfer.sandbox.engine.engine import Engine
from nodexfer.sandbox.faults import Faults
from nodexfer.sandbox.limits import Counter, RateLimiter
from nodexfer.sandbox.model import Endpoint, Identity
from nodexfer.sandbox.relay import Relay
from nodexfer.sandbox.site import SiteStorage
from nodexfer.sandbox.store import Store

if TYPE_CHECKING:
    from nodexfer.sandbox.compute.start import Compute

PERSON = "researcher@sandbox.example"
SITE_OWNER = "site-admin@sandbox.example"


class World:
    """The service without its HTTP. Starting it binds the relay's port and goes on with the tasks on disk.

    :param client: id and secret of the client that exists from the first moment on.
    :param switches: what they are at the start and after a reset.
    :raises OSError: the relay's port is taken.
    """

    def __init__(
        self,
        id: str,
        state: str,
        client: tuple[str, str],
        admin_token: str,
        switches: Mapping[str, Any],
        *,
        relay_port: int,
        relay_unix: str | None,
    ) -> None:
        self.id = id
        self.client = client
        self.admin_token = admin_token
        #: Everybody's one subscription.
        self.subscription = self._own_id("subscription")
        self.limiter = RateLimiter()
        self.requests = Counter()
        self._switches = dict(switches)
        self.stop_requested = threading.Event()
        #: Globus Compute, where the sandbox was started with it.
        self.compute: Compute | None = None
        #: Called after every change of faults and switches.
        self.after_change: Callable[[], object] = lambda: None
        self._store = Store(state)
        self._relay = Relay(self._authenticate, port=relay_port, unix=relay_unix)
        self._sites: dict[str, str] = {}
        self._resetting = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self.faults = Faults(self._store)
        if self._switches:
            self.faults.switch(self._switches)
        self.accounts = Accounts(self._store, self.faults)
        self.accounts.clean()
        self.catalog = Catalog(self._store, self.faults, self._relay, SiteStorage)
        self.engine = Engine(self._store, self.catalog, self.faults)
        self.faults.listeners.append(self._cut)
        if self.accounts.identity(self.client[0]) is None:
            self.accounts.add_client("nodexfer sandbox client", *self.client)
        self.person = self._somebody(PERSON, "A. Researcher")
        self.site_owner = self._somebody(SITE_OWNER, "Site Administrator")
        self.engine.start()

    @property
    def relay(self) -> Relay:
        return self._relay

    def serve_sites(self, sites: Mapping[str, str]) -> None:
        """Make sure that there is a site collection of each name, serving its directory."""
        self._sites.update(sites)
        for name, root in sites.items():
            self.catalog.create_site(self._own_id(f"site:{name}"), self.site_owner.id, name, root)

    def site_ids(self) -> dict[str, str]:
        return {e.display_name: e.id for e in self.catalog.all() if e.kind == "site"}

    def reset(self) -> None:
        """As on the first day, with the same client and sites: every task is stopped first. One at a time."""
        with self._resetting:
            self.engine.close("reset")
            for endpoint in self.catalog.all():
                if endpoint.kind == "gcp":
                    self._relay.disconnect(endpoint.id)
            if self.compute is not None:
                self.compute.reset()
            self._store.clear()
            self._begin()
            self.serve_sites(dict(self._sites))
            self.after_change()

    def close(self) -> None:
        """Stop what runs; it goes on with the next start. Worst case 5 s for tasks, 10 s for the relay."""
        self.engine.close("shutdown")
        self._relay.close()
        self._store.close()

    def _somebody(self, username: str, name: str) -> Identity:
        found = self.accounts.find(usernames=[username])
        return found[0] if found else self.accounts.add_person(username, name, self._own_id(username))

    def _own_id(self, name: str) -> str:
        """An id that outlives a reset."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"nodexfer-sandbox:{self.id}:{name}"))

    def _authenticate(self, secret: str) -> str | None:
        return self.catalog.authenticate(secret)

    def _cut(self) -> None:
        """A fault that disconnects cuts what is connected; the catalog keeps it out until the fault is cleared."""
        self.after_change()
        for endpoint in self.catalog.all():
            if endpoint.kind == "gcp" and self.faults.find("disconnect", endpoint.id):
                self._relay.disconnect(endpoint.id)


def describe(endpoint: Endpoint, world: World) -> dict[str, Any]:
    """One line of ``nodexfer sandbox status``."""
    return {
        "id": endpoint.id,
        "name": endpoint.display_name,
        "kind": endpoint.kind,
        "owner": endpoint.owner,
        "connected": world.catalog.connected(endpoint),
        "root": endpoint.root,
    }
