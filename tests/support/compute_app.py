"""The routes of the sandbox's Globus Compute without server and broker: what would be published is kept in a list."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from nodexfer.errors import ServiceUnreachable
from nodexfer.sandbox.compute import wire
from nodexfer.sandbox.compute.app import make
from nodexfer.sandbox.compute.link import HEARTBEATS, RESULTS
from nodexfer.sandbox.compute.work import Service
from nodexfer.sandbox.store import Store
from nodexfer.sandbox.world import World

SCOPE = "https://auth.globus.org/scopes/facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all"
ENDPOINT = {
    "endpoint_name": "tep",
    "display_name": "An endpoint",
    "metadata": {"endpoint_version": "4.19.0", "hostname": "here", "user_config_template": "engine: {}"},
}
FUNCTION = {
    "function_name": "f",
    "function_code": "410\n10\n04\n:code",
    "description": "What it does.",
    "serialized": True,
    "meta": {"python_version": "3.11.7", "sdk_version": "4.19.0"},
}


class Message(NamedTuple):
    queue: str
    body: bytes
    properties: Mapping[str, Any]

    @property
    def json(self) -> Any:
        return json.loads(self.body.lstrip(wire.PROTOCOL))


class KeptQueues:
    """A broker that delivers nothing."""

    url = "amqp://user:secret@127.0.0.1:5672/%2F"

    def __init__(self) -> None:
        self.queues: set[str] = set()
        self.messages: list[Message] = []
        #: Whether it has gone.
        self.gone = False

    def declare(self, queue: str) -> None:
        self.queues.add(queue)

    def delete(self, queue: str) -> None:
        self.queues.discard(queue)

    def publish(self, queue: str, body: bytes, properties: Mapping[str, Any]) -> None:
        if self.gone:
            raise ServiceUnreachable("The sandbox's broker does not answer.", "")
        self.messages.append(Message(queue, body, properties))

    def take(self, ending: str) -> list[Message]:
        """What was published to queues of that ending since the last time."""
        found = [message for message in self.messages if message.queue.endswith(ending)]
        self.messages = [message for message in self.messages if message not in found]
        return found


class Answer(NamedTuple):
    status: int
    json: Any


class App:
    """Ask it as the sandbox's client, or as another with :meth:`another`."""

    def __init__(self, directory: Path) -> None:
        self.world = World(
            "test", f"{directory}/world.db", ("client", "secret"), "key", {}, relay_port=0, relay_unix=None
        )
        self.queues = KeptQueues()
        self._store = Store(f"{directory}/compute.db")
        #: What the service takes for the time.
        self.now = time.time()
        self.again()
        self.token = self.token_of("client")

    def again(self) -> None:
        """As after a restart: what was kept is read."""
        self.service = Service(self._store, self.queues, lambda: self.now)
        self._client = make(self.world, self.service).test_client()

    def token_of(self, identity: str, scope: str = SCOPE) -> str:
        return self.world.accounts.grant(identity, identity, scope, offline=False)[0].value

    def another(self) -> str:
        """The token of somebody else."""
        return self.token_of(self.world.accounts.add_client("another").id)

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> Answer:
        """:param token: '' for none."""
        given = self.token if token is None else token
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        answer = self._client.open(path, method=method, json=body, headers=headers)
        return Answer(answer.status_code, answer.get_json())

    def endpoint(self, **more: Any) -> str:
        return str(self.ask("POST", "/v3/endpoints", {**ENDPOINT, **more}).json["endpoint_id"])

    def function(self, **more: Any) -> str:
        return str(self.ask("POST", "/v3/functions", {**FUNCTION, **more}).json["function_uuid"])

    def submit(self, endpoint: str, function: str, *payloads: str, token: str | None = None, **more: Any) -> Answer:
        body = {"tasks": {function: list(payloads)}, "create_queue": True, "user_runtime": {}, **more}
        return self.ask("POST", f"/v3/endpoints/{endpoint}/submit", body, token)

    def report(self, endpoint: str, **state: Any) -> None:
        """A heartbeat."""
        data = {"endpoint_id": endpoint, "global_state": {"heartbeat_period": 30, **state}, "task_statuses": {}}
        self.service.hear(HEARTBEATS, wire.pack("ep_status_report", data))

    def result(self, task: str, data: str, **more: Any) -> bytes:
        """What a user endpoint publishes when a task is over."""
        body = wire.pack("result", {"task_id": task, "data": data, "details": {"os": "Linux"}, **more})
        self.service.hear(RESULTS, body)
        return body

    def close(self) -> None:
        self._store.close()
        self.world.close()


@contextmanager
def app_in(directory: Path) -> Iterator[App]:
    app = App(directory)
    try:
        yield app
    finally:
        app.close()
