"""A task of the route via, watched: what it met, and whether it stands still. Decisions only.

At ``direct`` a task that stands still is tried once more through a restarted endpoint, and goes on from where it was.
Here is no endpoint of ours to restart. What may help is another task, which Globus may give to another server of the
collection; it begins anew. So it is tried once, and not where that can not help: while the task waits for its turn, was
paused, or has all its bytes and is being compared. After that it is only told, until the deadline.
"""

from __future__ import annotations

from collections.abc import Sequence

from nodexfer.globus.protocol import Event, Task
from nodexfer.staging import outcome, stall
from nodexfer.staging.outcome import Going


class Watch:
    """Of one request, whatever its tasks. Times are monotonic seconds.

    :param stall: seconds without a byte after which a task stands still.
    """

    def __init__(self, stall: float, now: float) -> None:
        self._stall = stall
        #: What its tasks met, each code once; and how often, in all of them.
        self.troubles: list[str] = []
        self.retried = False
        self._faults_before = 0
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._pulse = stall.Pulse(now)
        #: Whether the present task is being ended for that.
        self.called_off = False
        self._total: int | None = None
        self._seen: Task | None = None

    def begin(self, total: int | None, now: float) -> None:
        """Another task is looked at from now on, of ``total`` bytes, as far as that is known."""
        self._faults_before = self.faults
        self._begin(now)
        self._total = total

    @property
    def faults(self) -> int:
        return self._faults_before + self.faults_seen

    @property
    def faults_seen(self) -> int:
        """Of the present task."""
        return 0 if self._seen is None else self._seen.faults

    def see(self, task: Task, events: Sequence[Event], now: float) -> None:
        self._seen = task
        self._pulse.see(task, now)
        self.troubles += outcome.troubles(events, self.troubles)

    def is_stalled(self, now: float) -> bool:
        return now - self._pulse.at >= self._stall

    def ends(self, now: float) -> bool:
        """Whether the task is to be ended, so that another one is tried."""
        if self.is_stalled(now) and not self.retried and not self._only_compares:
            self.retried = self.called_off = True
        return self.called_off

    @property
    def _only_compares(self) -> bool:
        return bool(self._total) and self._seen is not None and self._seen.bytes_transferred >= (self._total or 0)

    def judge(self, going: Going, now: float) -> Going:
        """What is told of a task under way, and kept of it. A code of Globus says more than ours, and stays."""
        if not self.is_stalled(now):
            return going
        if stall.CODE not in self.troubles:
            self.troubles.append(stall.CODE)
        after = f" after {going.trouble}" if going.trouble else ""
        since = ", also not in another task" if self.retried else ""
        return Going(f"no bytes for {self._stall:g} s{after}{since}", going.trouble or stall.CODE)
