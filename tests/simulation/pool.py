"""The shared file system of a simulation: leases and the queue of waiters, with the product's decisions above it."""

from __future__ import annotations

from typing import Any

from nodexfer.pool import lease as real
from nodexfer.pool.entries import PoolEntry
from nodexfer.pool.lease import Lease, Me
from nodexfer.pool.waiting import Queue
from tests.simulation.clock import Clock
from tests.simulation.promises import Promises


class Leases:
    """In the place of :mod:`nodexfer.pool.lease`: the same rules on a dictionary; the pure ones are its own."""

    def __init__(self, clock: Clock, promises: Promises, entries: int) -> None:
        self._clock = clock
        self._promises = promises
        self._tops: dict[str, Lease] = {}
        self.entries = [PoolEntry(f"p-{n}", f"pool/p-{n}", f"endpoint-{n}", "me", None) for n in range(entries)]

    def __getattr__(self, name: str) -> Any:
        return getattr(real, name)

    @property
    def free(self) -> int:
        """How many nobody has."""
        return sum((top := self._tops.get(entry.directory)) is None or top.released for entry in self.entries)

    def top(self, directory: str) -> Lease | None:
        return self._tops.get(directory)

    def take(self, directory: str, number: int, me: Me, endpoint_id: str, duration: float) -> Lease | None:
        """link(2) fails where the number is there; a number below the highest is given up again."""
        top = self._tops.get(directory)
        if top is not None and number <= top.number:
            return None
        entry = directory.rpartition("/")[2]
        stamp = self._stamp()
        lease = Lease(number, endpoint_id, entry, directory, *me, duration, self._clock.now, False, stamp)
        self._promises.taken(top, lease)
        self._tops[directory] = lease
        return lease

    def resume(self, lease: Lease, me: Me) -> Lease | None:
        top = self._tops[lease.directory]
        if top.number != lease.number or (self._stamp() - top.renewed_ns) / 1e9 >= lease.duration * real.RESUME:
            return None
        renewed = top._replace(**me._asdict(), renewed_ns=self._stamp())
        self._tops[lease.directory] = renewed
        return renewed

    def renew(self, lease: Lease) -> bool:
        """False: it is lost."""
        top = self._tops[lease.directory]
        if top.number != lease.number:
            return False
        self._tops[lease.directory] = top._replace(renewed_ns=self._stamp())
        return True

    def give_back(self, lease: Lease) -> None:
        """A rename of one's own number: a higher one is not touched."""
        top = self._tops[lease.directory]
        if top.number == lease.number:
            self._tops[lease.directory] = top._replace(released=True, trouble=lease.trouble, renewed_ns=self._stamp())

    def _stamp(self) -> int:
        return int(self._clock.now * 1e9)


class Line(Queue):
    """The product's queue without files: who waits since when, and when each was seen last."""

    def __init__(self, stamps: dict[str, float], clock: Clock, me: Me) -> None:
        super().__init__("", me)
        self._me = me
        self._all = stamps
        self._clock = clock

    def join(self) -> None:
        if not self._name:
            self._name = f"{self._clock.now * 1000:015.0f}-{self._me.host}-{self._me.place}"
        self._all[self._name] = self._clock.now

    def _now(self, stamps: dict[str, float]) -> float:
        return self._clock.now

    @property
    def name(self) -> str:
        return self._name

    def leave(self) -> None:
        self._all.pop(self._name, None)
        self._name = ""
