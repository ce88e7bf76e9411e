"""Time: one deadline type, so that no wait is without an end."""

from __future__ import annotations

import time


class Deadline:
    """A moment on the monotonic clock by which something must be over.

    A deadline never moves when somebody sets the wall clock. ``at`` gives the wall-clock time that it stands for now,
    in seconds since the epoch: for records that other processes read.
    """

    __slots__ = ("_end",)

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @classmethod
    def from_epoch(cls, epoch: float) -> Deadline:
        return cls(epoch - time.time())

    @property
    def at(self) -> float:
        return time.time() + self.left

    @property
    def left(self) -> float:
        """Seconds that are left, never below 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        return self.left <= 0.0

    def sooner(self, seconds: float) -> Deadline:
        """The earlier of this deadline and ``seconds`` from now."""
        return Deadline(min(self.left, seconds))


def utc(epoch: float | None = None) -> str:
    """ISO 8601 in UTC, to the second: ``2026-11-20T22:00:00+00:00``, the form that Globus takes for deadlines."""
    moment = time.time() if epoch is None else epoch
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(moment))
