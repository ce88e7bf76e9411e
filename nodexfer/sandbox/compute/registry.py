"""Endpoints and functions: who owns them, who may use them, which of them can be heard."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from nodexfer.sandbox.compute.errors import Refused, forbidden, malformed, not_found
from nodexfer.sandbox.compute.link import HEARTBEATS, RESULTS, Queues
from nodexfer.sandbox.compute.model import Endpoint, Function
from nodexfer.sandbox.store import Store

#: An endpoint is offline when so many of its reports are missing.
MISSES = 3.0
#: ``globus-compute-endpoint stop --remote``: nobody registers it again for so long. (Not documented.)
LOCK_SECONDS = 30.0


class Registry:
    """Callers hold the service's lock."""

    def __init__(self, store: Store, queues: Queues, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._store = store
        self._queues = queues
        self._endpoints = store.load("compute endpoint", Endpoint)
        self._functions = store.load("compute function", Function)
        for endpoint in self._endpoints.values():  # until it is heard again
            endpoint.heard = 0.0

    # endpoints --------------------------------------------------------------------------------------------------

    def register(self, owner: str, document: Mapping[str, Any], id: str | None = None) -> Endpoint:
        """A new one, or one of before that starts again.

        :raises Refused: it has no name, is somebody else's, or has just been stopped from afar.
        """
        name = document.get("endpoint_name")
        known = self._endpoints.get(id or "")
        if not isinstance(name, str) or not name:
            if known is None:
                raise malformed("Missing field 'endpoint_name'")
            name = known.name
        if known is not None and known.owner != owner:
            raise forbidden("ENDPOINT", known.id)
        if known is not None and known.locked_until > self._clock():
            raise Refused(423, "ENDPOINT_LOCKED", f"Endpoint {known.id} is locked", known.id)
        found = known or Endpoint(id or str(uuid.uuid4()), owner, name, self._clock())
        found.name, found.document = name, dict(document)
        self._queues.declare(command_queue(found.id))
        return self._keep(found)

    def endpoint(self, id: str) -> Endpoint:
        """:raises Refused: there is none."""
        try:
            return self._endpoints[id]
        except KeyError:
            raise not_found("ENDPOINT", id) from None

    def visible(self, id: str, caller: str) -> Endpoint:
        """:raises Refused: there is none, or the caller may not look at it."""
        found = self.endpoint(id)
        if found.owner != caller and not found.public and not found.multi_user:
            raise forbidden("ENDPOINT", id)
        return found

    def owned(self, id: str, caller: str) -> Endpoint:
        """:raises Refused: there is none, or it is another's."""
        found = self.endpoint(id)
        if found.owner != caller:
            raise forbidden("ENDPOINT", id)
        return found

    def listed(self, caller: str, role: str) -> list[Endpoint]:
        """Core endpoints: one's own, or with role ``any`` also those that are for everybody."""
        return [found for found in self.all() if found.owner == caller or (role == "any" and found.public)]

    def all(self) -> list[Endpoint]:
        return [found for found in self._endpoints.values() if found.parent is None]

    def lock(self, endpoint: Endpoint) -> None:
        """Stop it from afar: its queue goes, which ends its connection, and it can not come back at once."""
        endpoint.locked_until = self._clock() + LOCK_SECONDS
        self._keep(endpoint)
        self._queues.delete(command_queue(endpoint.id))

    def delete(self, endpoint: Endpoint) -> None:
        """With its user endpoints, and what waits in their queues."""
        for found in (endpoint, *self.children(endpoint.id)):
            self._queues.delete(command_queue(found.id) if found.parent is None else task_queue(found.id))
            del self._endpoints[found.id]
            self._store.forget("compute endpoint", found.id)

    def child(self, parent: Endpoint, submitter: Mapping[str, Any], options: Mapping[str, Any]) -> Endpoint:
        """The user endpoint of this submitter with this configuration; the same one each time."""
        key = json.dumps([submitter["globus_effective_identity"], options], sort_keys=True)
        own = str(uuid.uuid5(uuid.UUID(parent.id), hashlib.sha256(key.encode()).hexdigest()))
        found = self._endpoints.get(own)
        if found is None:
            owner = str(submitter["globus_effective_identity"])
            found = Endpoint(own, owner, parent.name, self._clock(), parent.id, {"user_endpoint_config": dict(options)})
            self._queues.declare(task_queue(own))
        found.submitter = dict(submitter)
        return self._keep(found)

    def children(self, id: str) -> list[Endpoint]:
        return [found for found in self._endpoints.values() if found.parent == id]

    def hear(self, id: str, state: Mapping[str, Any]) -> tuple[Endpoint | None, bool]:
        """What an endpoint reports of itself; and whether it was offline until now."""
        found = self._endpoints.get(id)
        if found is None:
            return None, False
        was = self.online(found)
        found.heard, found.state = self._clock(), dict(state)
        return found, not was and self.online(found)

    def online(self, endpoint: Endpoint) -> bool:
        return endpoint.online(self._clock(), MISSES)

    def clear(self) -> None:
        for found in self.all():
            self.delete(found)
        self._functions.clear()

    def credentials(self, endpoint: Endpoint) -> dict[str, Any]:
        """Where it listens, and where it publishes what it has to say."""
        said = {"endpoint_id": endpoint.id, "result_queue_info": self._publish(endpoint.id, RESULTS)}
        said["heartbeat_queue_info"] = self._publish(endpoint.id, HEARTBEATS)
        url = self._queues.url
        said["task_queue_info"] = {"connection_url": url, "exchange": "tasks", "queue": task_queue(endpoint.id)}
        if endpoint.parent is None:
            said["command_queue_info"] = {"connection_url": url, "queue": command_queue(endpoint.id)}
        return said

    def _publish(self, id: str, exchange: str) -> dict[str, Any]:
        properties = {"delivery_mode": 2, "app_id": "nodexfer sandbox", "content_type": "application/octet-stream"}
        keywords = {
            "exchange": exchange,
            "routing_key": f"{id}.{exchange}",
            "mandatory": True,
            "properties": properties,
        }
        url = self._queues.url
        return {"connection_url": url, "exchange": exchange, "queue": exchange, "queue_publish_kwargs": keywords}

    def _keep(self, endpoint: Endpoint) -> Endpoint:
        self._endpoints[endpoint.id] = endpoint
        self._store.save("compute endpoint", endpoint.id, endpoint)
        return endpoint

    # functions --------------------------------------------------------------------------------------------------

    def add_function(self, owner: str, document: Mapping[str, Any]) -> Function:
        """:raises Refused: it has no code or no name."""
        for name in ("function_name", "function_code"):
            if not isinstance(document.get(name), str):
                raise malformed(f"Missing field '{name}'")
        made = Function(str(uuid.uuid4()), owner, self._clock(), dict(document))
        self._functions[made.id] = made
        self._store.save("compute function", made.id, made)
        return made

    def function(self, id: str, caller: str) -> Function:
        """:raises Refused: there is none, or it is another's and not public."""
        found = self._functions.get(id)
        if found is None:
            raise not_found("FUNCTION", id)
        if found.owner != caller and not found.document.get("public"):
            raise forbidden("FUNCTION", id)
        return found

    def forget_function(self, id: str, caller: str) -> None:
        """:raises Refused: there is none, or it is another's."""
        if self.function(id, caller).owner != caller:
            raise forbidden("FUNCTION", id)
        del self._functions[id]
        self._store.forget("compute function", id)


def command_queue(id: str) -> str:
    return f"{id}.commands"


def task_queue(id: str) -> str:
    return f"{id}.tasks"
