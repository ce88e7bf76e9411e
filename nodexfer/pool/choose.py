"""Take one endpoint of the pool, or wait for one: this place's own first, the oldest waiter first among places.

An endpoint on which a task of an earlier lease could not be ended is passed over. Who found that remembers it
(:class:`PassedOver`), and says it in the lease that it gives back: there others read it, and leave the endpoint alone
for a while as long as there is another one to take or to wait for. Who takes it all the same tries again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import NodexferError, PoolEntryBroken, PoolExhausted, PoolMissing
from nodexfer.pool import lease as leases
from nodexfer.pool.ask import Ask, Inquiry
from nodexfer.pool.entries import PoolEntry, read_pool
from nodexfer.pool.lease import Lease, Me, Observer, Verdict
from nodexfer.pool.neighbour import Neighbour
from nodexfer.pool.waiting import Queue
from nodexfer.records import unusable

#: Between two looks at the shared file system: at first, and at most.
FIRST_PAUSE, LAST_PAUSE = 0.1, 3.0
#: Seconds for which an endpoint that was passed over is left alone, by a waiter's own monotonic clock. Whoever tries it
#: gives it back anew, and all begin to count again: however many wait, it is tried once in that time.
REST_SECONDS = 120.0


class PassedOver:
    """The endpoints that one leader has passed over, and why. In its memory alone.

    All are forgotten some time after the last: their tasks may have ended while another endpoint was waited for.
    """

    def __init__(self) -> None:
        self._errors: dict[str, NodexferError] = {}
        self._last = 0.0

    def add(self, directory: str, error: NodexferError) -> None:
        if not self:
            self._errors.clear()
        self._errors[directory], self._last = error, time.monotonic()

    def __bool__(self) -> bool:
        return bool(self._errors) and time.monotonic() - self._last < REST_SECONDS

    def why(self, entry: PoolEntry) -> NodexferError | None:
        return self._errors.get(entry.directory) if self else None


def acquire(
    config: Config,
    me: Me,
    deadline: Deadline,
    on_wait: Callable[[str], None],
    ask: Ask | None = None,
    sleep: Callable[[float], object] = time.sleep,
    passed: PassedOver | None = None,
) -> Lease:
    """A lease of this place on one endpoint of ``config.pool``, and on none that is in ``passed``.

    An unfinished lease of this place is continued under its number where that is safe, else under the next one.
    ``on_wait`` is told before each pause (0.1 s, growing to 3 s, spent in ``sleep``) who holds what; what either
    raises ends the wait.

    :raises PoolMissing: the pool is empty.
    :raises PoolEntryBroken: it has only broken entries.
    :raises PoolExhausted: none came free before ``deadline``; one look is made in any case.
    :raises HomeFull: the shared file system takes no more.
    :raises NodexferError: all of its endpoints are in ``passed``: why the last one is.
    """
    chooser = _Chooser(config, me, Inquiry(me, ask or Ask.everybody(config)), passed)
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


def has_another(config: Config, lease: Lease, passed: PassedOver) -> bool:
    """Whether the pool has an endpoint that can be taken, or waited for, instead of the one of ``lease``."""
    try:
        entries = read_pool(config.home_paths, config.pool)
    except (PoolMissing, OSError):
        return False
    return any(entry.usable and entry.directory != lease.directory and passed.why(entry) is None for entry in entries)


class _Candidate(NamedTuple):
    entry: PoolEntry
    top: Lease | None
    verdict: Verdict
    #: The verdict rests on the free locks of another place of this node: to be taken under them only.
    neighbour: bool = False
    #: What the file system has against it.
    unread: str = ""


class _Chooser:
    """One waiter: what it saw, and when, of each lease."""

    def __init__(self, config: Config, me: Me, inquiry: Inquiry, passed: PassedOver | None = None) -> None:
        self._config = config
        self._me = me
        self._inquiry = inquiry
        self._passed = PassedOver() if passed is None else passed
        self._observer = Observer()
        self._seen: list[_Candidate] = []
        #: Why the pool could not be read at the last look.
        self._unread = ""

    def look(self, queue: Queue) -> Lease | None:
        """One pass over the pool. Ours is nobody else's; of the others, as many are left as wait longer than we.

        What can not be read now is waited for: it may be well at the next look.
        """
        try:
            entries, self._unread = read_pool(self._config.home_paths, self._config.pool), ""
        except OSError as error:
            self._seen, self._unread = [], unusable(error, self._config.home_paths.pool(self._config.pool)).message
            return None
        usable = [entry for entry in entries if entry.broken is None]
        if not usable:
            raise entries[0].error()
        errors = [error for error in map(self._passed.why, usable) if error is not None]
        if len(errors) == len(usable):
            raise errors[-1]
        self._seen = [self._judge(entry) for entry in usable]
        for candidate in self._open(Verdict.OURS):
            found = self._continue(candidate)
            if found is not None:
                self._give_back_others(found)
                return found
        open_ones = sorted(self._open(Verdict.FREE, Verdict.DEAD), key=self._preference)
        if len(open_ones) > queue.ahead():
            for candidate in open_ones:
                found = self._take(candidate)
                if found is not None:
                    return found
        return next(filter(None, map(self._take_silent, self._open(Verdict.SUSPECT))), None)

    def holders(self) -> str:
        """Who has what, in words."""
        held = [
            f"{one.entry.name} is held by {one.top.holder}" for one in self._seen if one.top and not one.top.released
        ]
        unread = [self._unread.rstrip(".")] if self._unread else []
        unread += [
            f"what is said of {one.entry.name} can not be read{f': {why}' if (why := one.unread.rstrip('.')) else ''}"
            for one in self._seen
            if one.top is None and one.verdict is Verdict.HELD
        ]
        passed = [
            f"{one.entry.name} was passed over: {why.rstrip('.')}" for one in self._seen if (why := self._why(one))
        ]
        return ", ".join([*held, *unread, *passed]) or "others wait longer"

    def _of(self, *verdicts: Verdict) -> list[_Candidate]:
        return [candidate for candidate in self._seen if candidate.verdict in verdicts]

    def _open(self, *verdicts: Verdict) -> list[_Candidate]:
        """Those of them that we would have. What others have passed over rests, where there is anything else."""
        wanted = [one for one in self._seen if self._passed.why(one.entry) is None]
        rested = [one for one in wanted if not self._rests(one)]
        return [one for one in rested or wanted if one.verdict in verdicts]

    def _rests(self, candidate: _Candidate) -> bool:
        top = candidate.top
        return top is not None and top.trouble != "" and self._observer.unchanged(top) < REST_SECONDS

    def _why(self, candidate: _Candidate) -> str:
        """Why it was passed over, by us or by who had it last; '' where it was not."""
        error = self._passed.why(candidate.entry)
        return error.message if error else candidate.top.trouble if candidate.top else ""

    def _judge(self, entry: PoolEntry) -> _Candidate:
        if entry.unread is not None:
            return _Candidate(entry, None, Verdict.HELD, unread=entry.unread.message)
        try:
            top = leases.top(entry.directory)
        except PoolEntryBroken:  # removed since we listed the pool
            return _Candidate(entry, None, Verdict.HELD)
        except OSError as error:  # a file system that is not well now
            unread = unusable(error, error.filename or entry.directory).message
            return _Candidate(entry, None, Verdict.HELD, unread=unread)
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

    def _preference(self, candidate: _Candidate) -> tuple[bool, bool, int]:
        """The one that this place had last; else each place starts at another one, so that they do not race.

        One that was passed over comes last.
        """
        top = candidate.top
        mine = top is not None and top.place == self._me.place
        return top is not None and top.trouble != "", not mine, hash((self._me.place, candidate.entry.name))

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
