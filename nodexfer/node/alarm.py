"""What wakes a keeper: its bell, the end of a process that a hold lives by, and another thread or a signal."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable

from nodexfer import pidfds
from nodexfer.clock import Deadline
from nodexfer.identity import ProcessId
from nodexfer.node.bell import HOLD, Bell

#: Holds often come and go in crowds; what they are for is not the keeper's business.
HOLD_SECONDS = 0.05


class Alarm:
    """The main thread sleeps in :meth:`sleep`; :meth:`wake` is for everybody else."""

    def __init__(self) -> None:
        #: Something was heard that the registry's stamp need not show: it is to be read, whatever its stamp.
        self.news = True
        self._bell: Bell | None = None
        self._watched: dict[ProcessId, int] = {}
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def hang(self, path: str) -> None:
        """Have a bell at ``path``. For who holds the lock that goes with it.

        :raises OSError: it can not be made; FileNotFoundError where the directory is gone.
        """
        self._bell = Bell(path)

    def take_down(self) -> None:
        """Take the bell down, and its name with it."""
        if self._bell is not None:
            self._bell.close()
            self._bell = None

    def wake(self) -> None:
        """From any thread, or from a signal: look now."""
        try:
            os.write(self._waker, b".")
        except BlockingIOError:
            pass

    def watch(self, processes: Iterable[ProcessId]) -> None:
        """Have a pidfd on each of these processes, and on no other. That one has ended already is news."""
        wanted = set(processes)
        for process in set(self._watched) - wanted:
            os.close(self._watched.pop(process))
        for process in wanted - set(self._watched):
            try:
                descriptor = pidfds.watch(process)
            except ValueError:  # it can not be watched: at each look, see whether it lives
                self.news = True
                continue
            if descriptor is not None:
                self._watched[process] = descriptor
            else:
                self.news = True

    def sleep(self, seconds: float) -> None:
        """Until there is something to look at. New holds are looked at together, 50 ms after the first."""
        deadline = Deadline(seconds)
        while not deadline.passed:
            words = self._wait(deadline.left)
            if words is None:
                return
            deadline = deadline.sooner(HOLD_SECONDS) if words == {HOLD} else Deadline(0.0)

    def _wait(self, seconds: float) -> set[bytes] | None:
        """What the bell said, if it alone woke us, nothing for anything else; None when the time is over."""
        ears = [self._wake, *self._watched.values()]
        if self._bell is not None:
            ears.append(self._bell.fileno())
        poll = select.poll()
        for descriptor in ears:
            poll.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(seconds * 1000)}
        if not ready:
            return None
        if self._wake in ready:
            os.read(self._wake, 4096)
        ended = [process for process, descriptor in self._watched.items() if descriptor in ready]
        for process in ended:  # told once: while the registry can not be read, there is nothing more to be done for it
            os.close(self._watched.pop(process))
        words = self._bell.heard() if self._bell is not None and self._bell.fileno() in ready else set()
        if words or ended:  # inodes come again within a tick of the file system's clock: equal stamps prove nothing
            self.news = True
        return set() if ended or self._wake in ready else words
