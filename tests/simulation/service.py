"""Globus in virtual time: which endpoints it sees, and three tasks at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from nodexfer.errors import ServiceRefused
from nodexfer.globus.protocol import Collection, Task
from nodexfer.staging.batches import ACTIVE_LIMIT
from tests.simulation.clock import Clock
from tests.simulation.promises import Promises

if TYPE_CHECKING:
    from tests.simulation.node import Node

#: Seconds after which it knows that an endpoint has gone.
NOTICE_SECONDS = 15.0


class Running(NamedTuple):
    since: float
    serial: int


class VirtualTask:
    def __init__(self, number: int, endpoint: str, lease: int, label: str, seconds: float) -> None:
        self.id = f"task-{number}"
        self.number = number
        self.endpoint = endpoint
        self.lease = lease
        self.label = label
        self.left = seconds
        self.status: Literal["ACTIVE", "SUCCEEDED", "FAILED"] = "ACTIVE"
        self.running: Running | None = None
        self.ended: Callable[[VirtualTask], None] = lambda task: None

    def document(self) -> Task:
        """As the Transfer API gives it."""
        calm = "OK" if self.running else "Queued"
        sides = self.endpoint, "site"
        counts = (0, 0, 0, 0, 0, 0, 0)
        return Task(self.id, self.status, self.label, *sides, *counts, calm, None, None, None)


class Service:
    """The part of :class:`nodexfer.globus.protocol.Globus` that the fence needs, and the tasks."""

    def __init__(self, clock: Clock, promises: Promises) -> None:
        self._clock = clock
        self._promises = promises
        self._hosts: dict[str, Node] = {}
        self._gone: dict[str, float] = {}
        self._unfinished: dict[str, VirtualTask] = {}
        self._serial = 0
        self.tasks = 0
        self._refused_until: dict[str, float] = {}
        self.refusals = 0

    # -- endpoints ---------------------------------------------------------------------------------------------------

    def connect(self, endpoint: str, node: Node) -> None:
        self._hosts[endpoint] = node
        self.look()

    def disconnect(self, endpoint: str, node: Node) -> None:
        if self._hosts.get(endpoint) is node:
            del self._hosts[endpoint]
            self._gone[endpoint] = self._clock.now
        self.look()

    def reaches(self, endpoint: str) -> bool:
        node = self._hosts.get(endpoint)
        return node is not None and node.is_reachable

    def connected(self, endpoint: str) -> bool:
        """What it says: a while behind what is."""
        if self.reaches(endpoint):
            return True
        node = self._hosts.get(endpoint)
        gone = node.unreachable_since if node is not None else self._gone.get(endpoint, float("-inf"))
        return self._clock.now - gone < NOTICE_SECONDS

    # -- what the fence asks -----------------------------------------------------------------------------------------

    def identity(self) -> str:
        return "me"

    def collection(self, endpoint: str) -> Collection:
        return Collection(endpoint, endpoint, "me", True, False)

    def unfinished_tasks(self, endpoint: str) -> Sequence[Task]:
        return [task.document() for task in self._unfinished.values() if task.endpoint == endpoint]

    def cancel(self, name: str) -> None:
        task = self._unfinished.get(name)
        if task is not None and self._clock.now < self._refused_until.get(task.endpoint, 0.0):
            self.refusals += 1
            raise ServiceRefused(f"{name} is not cancelled.", "")
        if task is not None:
            self._end(task, "FAILED")

    def refuse(self, endpoint: str, seconds: float) -> None:
        """Cancel no task of this endpoint for a while."""
        self._refused_until[endpoint] = self._clock.now + seconds

    # -- tasks -------------------------------------------------------------------------------------------------------

    def submit(self, endpoint: str, lease: int, label: str, seconds: float) -> VirtualTask:
        self.tasks += 1
        task = VirtualTask(self.tasks, endpoint, lease, label, seconds)
        self._unfinished[task.id] = task
        self.look()
        return task

    def foreign(self, endpoint: str, lease: int) -> int:
        """Tasks that name the endpoint and are of another lease."""
        return sum(task.endpoint == endpoint and task.lease != lease for task in self._unfinished.values())

    def look(self) -> None:
        """Who runs now: the first three whose endpoint is reached. One that backs off has no slot."""
        able = [task for task in self._unfinished.values() if self.reaches(task.endpoint)]
        able.sort(key=lambda task: (task.running is None, task.number))
        chosen = able[:ACTIVE_LIMIT]
        for task in self._unfinished.values():
            if task.running and task not in chosen:
                task.left -= self._clock.now - task.running.since
                task.running = None
        for task in chosen:
            if task.running is None:
                self._run(task)
        self._promises.active(sum(task.running is not None for task in self._unfinished.values()))

    def _run(self, task: VirtualTask) -> None:
        self._serial += 1
        serial = self._serial
        task.running = Running(self._clock.now, serial)

        def done() -> None:
            if task.running is not None and task.running.serial == serial:
                self._end(task, "SUCCEEDED")

        self._clock.after(max(task.left, 0.0), done)

    def _end(self, task: VirtualTask, status: Literal["SUCCEEDED", "FAILED"]) -> None:
        del self._unfinished[task.id]
        task.status, task.running = status, None
        task.ended(task)
        self.look()
