"""What must hold at every step, whatever happens. A promise that is broken ends the simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodexfer.pool.lease import Lease
from nodexfer.pool.waiting import SILENT_SECONDS
from nodexfer.staging.batches import ACTIVE_LIMIT
from tests.simulation.clock import Clock

if TYPE_CHECKING:
    from tests.simulation.node import Node

#: Seconds after waking in which the guard of a suspended node may not have looked yet.
WAKING_SECONDS = 5.0
#: How many may be served before one that waits longer: that an owner is dead is known to some waiters before others,
#: and who has asked the service about it for a minute need not be the oldest.
OVERTAKEN = 5


class BrokenPromise(AssertionError):
    """Told with the seed that shows it again."""


class Promises:
    """The nodes and the service tell what they do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._live: dict[str, set[Node]] = {}
        self._waiters: dict[str, int] = {}
        self.checks = 0
        #: The most waiters that came later and were served before one that waited.
        self.overtaken = 0
        #: For how long two nodes had one endpoint, since one of them had just woken (s).
        self.overlaps = 0

    def require(self, so: bool, words: str) -> None:
        self.checks += 1
        if not so:
            raise BrokenPromise(f"at {self._clock.now:.2f}: {words}")

    # -- leases ------------------------------------------------------------------------------------------------------

    def taken(self, before: Lease | None, lease: Lease) -> None:
        number = 0 if before is None else before.number
        self.require(lease.number == number + 1, f"{lease.entry}: the lease went from {number} to {lease.number}")

    # -- endpoints ---------------------------------------------------------------------------------------------------

    def goes_live(self, endpoint: str, node: Node) -> None:
        nodes = self._live.setdefault(endpoint, set())
        nodes.add(node)
        self.see_one(endpoint)

    def goes_away(self, endpoint: str, node: Node) -> None:
        self._live.get(endpoint, set()).discard(node)

    def woke(self, node: Node) -> None:
        """Its GCP, if it has one, runs again before its guard has looked."""
        for endpoint, nodes in self._live.items():
            if node in nodes:
                self.overlaps += len(nodes) > 1
                self.see_one(endpoint)
                self._clock.after(WAKING_SECONDS + 0.001, lambda name=endpoint: self.see_one(name))  # type: ignore[misc]

    def see_one(self, endpoint: str) -> None:
        now = self._clock.now
        awake = [
            node for node in self._live.get(endpoint, ()) if not node.is_frozen and now - node.woke > WAKING_SECONDS
        ]
        self.require(len(awake) <= 1, f"{endpoint} is live on {', '.join(map(str, awake))}")

    # -- waiters -----------------------------------------------------------------------------------------------------

    def served(self, name: str, stamps: dict[str, float], free: int) -> None:
        """``name`` got an endpoint, and ``free`` are left. Of those in ``stamps``, the oldest have them for sure."""
        now = self._clock.now
        self._waiters.pop(name, None)
        older = sorted(other for other, seen in stamps.items() if other < name and now - seen <= SILENT_SECONDS)
        for other in older[free:]:
            times = self._waiters[other] = self._waiters.get(other, 0) + 1
            self.overtaken = max(self.overtaken, times)
            self.require(times <= OVERTAKEN, f"{times} were served before {other}, which had waited longer")

    # -- tasks -------------------------------------------------------------------------------------------------------

    def active(self, count: int) -> None:
        self.require(count <= ACTIVE_LIMIT, f"{count} tasks are active")

    def submits(self, node: Node, moving: int) -> None:
        self.require(moving <= ACTIVE_LIMIT, f"the desk of {node} has {moving} tasks under way")
