"""Who was ever connected at the same time: what the promise "never two" is measured by."""

from __future__ import annotations

import time
from collections import deque
from typing import NamedTuple

from nodexfer.sandbox.peer import Hello, Peer


class Visit(NamedTuple):
    """One connection of a stand-in; times in seconds since the epoch. ``end`` is why it ended, or ''."""

    endpoint: str
    process: str
    user: str
    pid: int
    since: float
    until: float | None
    end: str


class Census:
    """Not thread-safe: the relay calls it under its own lock."""

    def __init__(self) -> None:
        self.endpoint_max: dict[str, int] = {}
        self.user_max: dict[str, int] = {}
        self.processes: set[str] = set()
        self._over: deque[Visit] = deque(maxlen=10_000)
        self._now: dict[Peer, Visit] = {}

    def joined(self, peer: Peer) -> None:
        """Count the new one and every other that is alive. A process that comes again is the same one."""
        hello = peer.hello
        self._now[peer] = Visit(hello.endpoint, hello.process, hello.user, hello.pid, time.time(), None, "")
        self.processes.add(hello.process)
        alive = self.alive()
        endpoints = {other.process for other in alive if other.endpoint == hello.endpoint}
        users = {other.process for other in alive if other.user == hello.user}
        self.endpoint_max[hello.endpoint] = max(self.endpoint_max.get(hello.endpoint, 0), len(endpoints))
        self.user_max[hello.user] = max(self.user_max.get(hello.user, 0), len(users))

    def left(self, peer: Peer, end: str) -> None:
        """Nothing if it had left already."""
        visit = self._now.pop(peer, None)
        if visit:
            self._over.append(visit._replace(until=time.time(), end=end))

    def alive(self) -> list[Hello]:
        """Everyone whose connection the kernel still holds, also those that were replaced and have not noticed."""
        return [peer.hello for peer in self._now if peer.alive]

    def history(self) -> list[Visit]:
        """Oldest first, those that are connected last."""
        return [*self._over, *self._now.values()]
