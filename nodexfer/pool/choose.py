"""Take one endpoint of the pool, or wait for one: this place's own first, the oldest waiter first among places."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import PoolEntryBroken, PoolExhausted
from nodexfer.pool import lease as leases
from nodexfer.pool.ask import Ask, Inquiry
from nodexfer.pool.entries import PoolEntry, read_pool
from nodexfer.pool.lease import Lease, Me, Observer, Verdict
from nodexfer.pool.neighbour import Neighbour
from nodexfer.pool.waiting import Queue

#: Between two looks at the shared file system: at first, and at most.
FIRST_PAUSE, LAST_PAUSE = 0.1, 3.0


def acquire(
    config: Config,
    me: Me,
    deadline: Deadline,
    on_wait: Callable[[str], None],
    ask: Ask | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Lease:
    """A lease of this place on one endpoint of ``config.pool``.

    An unfinished lease of this place is continued under its number where that is safe, else under the next one.
    ``on_wait`` is told before each pause (0.1 s, growing to 3 s, spent in ``sleep``) who holds what; what either
    raises ends the wait.

    :raises PoolMissing: the pool is empty.
    :raises PoolEntryBroken: it has only broken entries.
    :raises PoolExhausted: none came free before ``deadline``; one look is made in any case.
    :raises HomeFull: the shared file system takes no more.
    """
    chooser = _Chooser(config, me, Inquiry(me, ask or Ask.everybody(config)))
    pause = FIRST_PAUSE
    with Queue(config.home_paths.pool(config.pool), me) as queue:
        while True:
            found = chooser.look(queue)
            if found is not None:
                return found
            if deadline.passed:
                raise PoolExhausted(f"No endpoint of the pool {config.pool} came free: {chooser.holders()}.")
            queue.join()
            on_wait(f"waiting for an endpoint of the pool {config.pool}: {chooser.holders()}")
            sleep(min(pause, deadline.left))
            pause = min(LAST_PAUSE, pause * 1.5)


class _Candidate(NamedTuple):
    entry: PoolEntry
    top: Lease | None
    verdict: Verdict
    #: The verdict rests on the free locks of another place of this node: to be taken under them only.
    neighbour: bool = False


class _Chooser:
    """One waiter: what it saw, and when, of each lease."""

    def __init__(self, config: Config, me: Me, inquiry: Inquiry) -> None:
        self._config = config
        self._me = me
        self._inquiry = inquiry
        self._observer = Observer()
        self._seen: list[_Candidate] = []

    def look(self, queue: Queue) -> Lease | None:
        """One pass over the pool. Ours is nobody else's; of the others, as many are left as wait longer than we."""
        entries = read_pool(self._config.home_paths, self._config.pool)
        usable = [entry for entry in entries if entry.broken is None]
        if not usable:
            raise entries[0].error()
        self._seen = [self._judge(entry) for entry in usable]
        for candidate in self._of(Verdict.OURS):
            found = self._continue(candidate)
            if found is not None:
                self._give_back_others(found)
                return found
        open_ones = sorted(self._of(Verdict.FREE, Verdict.DEAD), key=self._preference)
        if len(open_ones) > queue.ahead():
            for candidate in open_ones:
                found = self._take(candidate)
                if found is not None:
                    return found
        return next(filter(None, map(self._take_silent, self._of(Verdict.SUSPECT))), None)

    def holders(self) -> str:
        """Who has what, in words."""
        held = [
            f"{one.entry.name} is held by {one.top.holder}" for one in self._seen if one.top and not one.top.released
        ]
        unread = [
            f"what is said of {one.entry.name} can not be read"
            for one in self._seen
            if one.top is None and one.verdict is Verdict.HELD
        ]
        return ", ".join([*held, *unread]) or "others wait longer"

    def _of(self, *verdicts: Verdict) -> list[_Candidate]:
        return [candidate for candidate in self._seen if candidate.verdict in verdicts]

    def _judge(self, entry: PoolEntry) -> _Candidate:
        try:
            top = leases.top(entry.directory)
        except (PoolEntryBroken, OSError):  # removed since we listed the pool; a file system that is not well now
            return _Candidate(entry, None, Verdict.HELD)
        if top is None or top.released:
            return _Candidate(entry, top, Verdict.FREE)
        unchanged = self._observer.unchanged(top)
        run_over = self._inquiry.run_over(top, unchanged)
        if run_over:
            # The owner's place may have gone on under another job while the scheduler was asked.
            run_over = leases.top(entry.directory) == top
        with Neighbour(top, self._me) as neighbour:
            place_dead = neighbour.dead
        verdict = leases.verdict(top, self._me, unchanged, run_over=run_over, place_dead=place_dead)
        return _Candidate(entry, top, verdict, place_dead is True)

    def _preference(self, candidate: _Candidate) -> tuple[bool, int]:
        """The one that this place had last; else each place starts at another one, so that they do not race."""
        mine = candidate.top is not None and candidate.top.place == self._me.place
        return not mine, hash((self._me.place, candidate.entry.name))

    def _take(self, candidate: _Candidate) -> Lease | None:
        entry, top = candidate.entry, candidate.top
        number = 1 if top is None else top.number + 1
        if top is not None and candidate.neighbour:
            # Under its locks, so that nobody begins to lead at the dead place while we take what it had.
            with Neighbour(top, self._me) as neighbour:
                return self._link(entry, number) if neighbour.dead else None
        return self._link(entry, number)

    def _link(self, entry: PoolEntry, number: int) -> Lease | None:
        return leases.take(entry.directory, number, self._me, entry.endpoint_id, self._config.lease)

    def _continue(self, candidate: _Candidate) -> Lease | None:
        assert candidate.top is not None
        return leases.resume(candidate.top, self._me) or self._take(candidate)

    def _give_back_others(self, kept: Lease) -> None:
        """A place has one endpoint: a second lease of ours is what a death between two steps left."""
        for candidate in self._of(Verdict.OURS):
            if candidate.top is not None and candidate.top.directory != kept.directory:
                leases.give_back(candidate.top)

    def _take_silent(self, candidate: _Candidate) -> Lease | None:
        """After the whole duration without a renewal, and a minute of "not connected" by the service."""
        assert candidate.top is not None
        if not self._inquiry.disconnected(candidate.top) or leases.top(candidate.entry.directory) != candidate.top:
            return None  # the owner's file system may have come back while the service was asked
        return self._take(candidate)
