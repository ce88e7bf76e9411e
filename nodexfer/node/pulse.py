"""A desk that lives and does nothing: noticed by its leader, which asks it now and then while there is work.

The answer comes from the loop that does the work: calls of the service have threads of their own, so that it turns
twice a second whatever Globus does. A loop that has used processor time since it was asked is at work (removing a large
directory takes minutes), but not for ever: the next one goes on with what it was at, so that little is lost where that
was work. One in state D waits for a disk, and could not be ended. An idle desk is asked nothing.
"""

from __future__ import annotations

from nodexfer.node import threads

#: Between an answer and the next question, and from a question to the end of the desk.
ASK_SECONDS, SILENT_SECONDS = 5.0, 30.0
#: From a question to the end of a desk that uses processor time meanwhile, and does not answer.
SPIN_SECONDS = 600.0
#: The leader looks every second: what it sees after a sleep of its own (its job was suspended) is nobody's silence.
LOOK_SECONDS = 2.0


class Pulse:
    """Of one desk. ``now``: monotonic seconds."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._asked = False
        self._next = self._last = 0.0
        #: Seconds since it was asked, or was seen at work after that; and since it was asked.
        self._silent = self._unanswered = 0.0
        self._ran = 0

    def look(self, now: float) -> None:
        """Count how long it has not answered."""
        if self._asked:
            passed = min(now - self._last, LOOK_SECONDS)
            self._silent, self._unanswered = self._silent + passed, self._unanswered + passed
        self._last = now

    def asks(self, now: float) -> bool:
        """Is it to be asked now? Then it counts as asked."""
        if self._asked or now < self._next:
            return False
        self._unanswered = 0.0
        self._begin()
        return True

    def heard(self, now: float) -> None:
        """It has said something."""
        self._asked, self._next, self._silent = False, now + ASK_SECONDS, 0.0

    def is_lost(self) -> bool:
        """Was it silent for too long, and neither at work nor at the mercy of a disk?"""
        if self._silent < SILENT_SECONDS:
            return False
        at_work = threads.main_ran(self._pid) != self._ran and self._unanswered < SPIN_SECONDS
        if at_work or "D" in threads.states(self._pid):
            self._begin()
            return False
        return True

    def _begin(self) -> None:
        self._asked, self._silent, self._ran = True, 0.0, threads.main_ran(self._pid)
