"""A desk that lives and does nothing: noticed by its leader, which asks it now and then while there is work.

The answer comes from the loop that does the work: calls of the service have threads of their own, so that it turns
twice a second whatever Globus does. A loop that has used processor time since it was asked is at work (removing a large
directory takes minutes); one in state D waits for a disk, and could not be ended. An idle desk is asked nothing.
"""

from __future__ import annotations

from nodexfer.node import threads

#: Between an answer and the next question, and from a question to the end of the desk.
ASK_SECONDS, SILENT_SECONDS = 5.0, 30.0
#: The leader looks every second: what it sees after a sleep of its own (its job was suspended) is nobody's silence.
LOOK_SECONDS = 2.0


class Pulse:
    """Of one desk. ``now``: monotonic seconds."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._asked = False
        self._next = self._last = self._silent = 0.0
        self._ran = 0

    def look(self, now: float) -> None:
        """Count how long it has not answered."""
        if self._asked:
            self._silent += min(now - self._last, LOOK_SECONDS)
        self._last = now

    def asks(self, now: float) -> bool:
        """Is it to be asked now? Then it counts as asked."""
        if self._asked or now < self._next:
            return False
        self._begin()
        return True

    def heard(self, now: float) -> None:
        """It has said something."""
        self._asked, self._next, self._silent = False, now + ASK_SECONDS, 0.0

    def is_lost(self) -> bool:
        """Was it silent for too long, and neither at work nor at the mercy of a disk?"""
        if self._silent < SILENT_SECONDS:
            return False
        if threads.main_ran(self._pid) != self._ran or "D" in threads.states(self._pid):
            self._begin()
            return False
        return True

    def _begin(self) -> None:
        self._asked, self._silent, self._ran = True, 0.0, threads.main_ran(self._pid)
