"""What the emulator knows: endpoints, functions, tasks, task groups. Values only."""

from __future__ import annotations

from typing import Any

import msgspec

#: What a task's function and arguments, and its result, may have at most (Globus Compute, "Limits"): 10 MiB.
LIMIT_BYTES = 10 * 1024 * 1024

SUCCESS, FAILED = "success", "failed"
#: Until an endpoint says more.
WAITING = "waiting-for-ep"


class Endpoint(msgspec.Struct):
    """A core endpoint; or, with a ``parent``, a user endpoint: one for each (parent, identity, configuration)."""

    id: str
    owner: str
    name: str
    created: float
    parent: str | None = None
    #: The document that it registered with; of a user endpoint, what the submitter configured.
    document: dict[str, Any] = {}
    #: What the command that starts a user endpoint says of its submitter.
    submitter: dict[str, Any] = {}
    locked_until: float = 0.0
    #: When it last said something, and what. (Seconds since the epoch; 0: never.)
    heard: float = 0.0
    state: dict[str, Any] = {}

    @property
    def multi_user(self) -> bool:
        return bool(self.document.get("multi_user"))

    @property
    def public(self) -> bool:
        return bool(self.document.get("public"))

    def online(self, now: float, misses: float) -> bool:
        """Whether its last report is younger than ``misses`` of its own periods. A period of 0 says that it ends."""
        period = float(self.state.get("heartbeat_period") or 0)
        return bool(self.state.get("active", True)) and now - self.heard < misses * period


class Function(msgspec.Struct):
    id: str
    owner: str
    created: float
    document: dict[str, Any]

    @property
    def code(self) -> str:
        return str(self.document.get("function_code", ""))


class Task(msgspec.Struct):
    """One call. ``data`` is its serialised result, or the text of its error."""

    id: str
    owner: str
    function: str
    endpoint: str
    group: str
    created: float
    status: str = WAITING
    completed: float | None = None
    data: str | None = None
    details: dict[str, Any] | None = None

    @property
    def over(self) -> bool:
        return self.completed is not None


class Group(msgspec.Struct):
    """Tasks of one submitter, whose results arrive in one queue."""

    id: str
    owner: str
    created: float
    queue: bool = False
    tasks: list[str] = []
