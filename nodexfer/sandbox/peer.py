"""One connected stand-in, as the relay sees it: its control connection, and the data connections it opened for us."""

from __future__ import annotations

import secrets
import threading
import time
from typing import NamedTuple

from nodexfer.clock import Deadline
from nodexfer.sandbox import wire as wires
from nodexfer.sandbox.storage import StorageError
from nodexfer.sandbox.wire import Wire

#: Data connections of one stand-in at a time; each is a process there.
SESSIONS = 32
#: How long a stand-in may take to open one, in seconds.
OPEN_SECONDS = 10.0


def not_connected() -> StorageError:
    return StorageError("GC_NOT_CONNECTED", "The GCP endpoint is not currently connected to Globus")


class Hello(NamedTuple):
    """What the stand-in says of itself when it connects.

    ``process`` is random and the same for the whole life of one -start, over all its connections; ``user`` is the user
    id, host and network namespace: what may have one GCP at a time.
    """

    endpoint: str
    process: str
    user: str
    pid: int
    paused: bool


class Peer:
    """Thread-safe. Closed once and for all when its control connection ends."""

    def __init__(self, hello: Hello, control: Wire, number: int) -> None:
        """:param number: grows with every connection that the relay accepts."""
        self.hello = hello
        self.number = number
        self.since = time.monotonic()
        self._control = control
        self._changed = threading.Condition()
        self._idle: list[tuple[float, Wire]] = []
        self._busy: set[Wire] = set()
        self._asked: dict[str, float] = {}
        self._waiters = 0
        self._closed = False

    @property
    def alive(self) -> bool:
        """False as soon as this kernel knows that the other side is gone, before any thread has read it."""
        return not self._closed and not self._control.gone()

    def session(self, deadline: Deadline) -> Wire:
        """A data connection for this thread alone, which ends in :meth:`give_back` or :meth:`drop`.

        :raises StorageError: GC_NOT_CONNECTED when the stand-in is gone, TIMEOUT when it opens none in time.
        """
        opening = deadline.sooner(OPEN_SECONDS)
        with self._changed:
            self._waiters += 1
            try:
                while True:
                    if self._closed:
                        raise not_connected()
                    if self.hello.paused:
                        raise StorageError("GC_PAUSED", "The GCP endpoint is paused")
                    if (found := self._take_idle()) is not None:
                        return found
                    # While others move data, it is their turn to end; while none does, the stand-in's to open one.
                    end = deadline if self._busy else opening
                    if end.passed:
                        raise StorageError("TIMEOUT", "The GCP endpoint opened no data connection in time")
                    self._ask()
                    self._changed.wait(end.left)
            finally:
                self._waiters -= 1

    def _take_idle(self) -> Wire | None:
        while self._idle:
            found = self._idle.pop()[1]
            if not found.gone():
                self._busy.add(found)
                return found
            found.close()
        return None

    def _ask(self) -> None:
        """Have the stand-in open as many connections as there are threads that wait for one."""
        now = time.monotonic()
        self._asked = {number: at for number, at in self._asked.items() if now - at < OPEN_SECONDS}
        while len(self._asked) < self._waiters and len(self._asked) + len(self._busy) + len(self._idle) < SESSIONS:
            number = secrets.token_hex(16)
            self._asked[number] = now
            try:
                self._control.send(wires.message(wires.REQUEST, open=number))
            except OSError:
                raise not_connected() from None

    def accept(self, number: str, session: Wire) -> bool:
        """True, once, for a number that :meth:`_ask` sent: the connection is ours then, and nobody uses it again."""
        with self._changed:
            if self._closed or self._asked.pop(number, None) is None:
                return False
            self._idle.append((time.monotonic(), session))
            self._changed.notify_all()
            return True

    def give_back(self, session: Wire) -> None:
        with self._changed:
            self._busy.discard(session)
            if self._closed:
                session.close()
                return
            self._idle.append((time.monotonic(), session))
            self._changed.notify_all()

    def drop(self, session: Wire) -> None:
        """The connection broke, or was left in the middle of something."""
        with self._changed:
            self._busy.discard(session)
            self._changed.notify_all()
        session.close()

    def trim(self, seconds: float) -> None:
        """Close connections that nobody has used for ``seconds``: the stand-in's transfer status becomes idle."""
        limit = time.monotonic() - seconds
        with self._changed:
            for item in [item for item in self._idle if item[0] <= limit]:
                self._idle.remove(item)
                item[1].close()

    def cut_sessions(self) -> None:
        with self._changed:
            for session in self._busy:
                session.cut()
            for _, session in self._idle:
                session.close()
            self._idle.clear()
            self._changed.notify_all()

    def closed_within(self, seconds: float) -> bool:
        """Wait until the stand-in is known to be gone: its processes do not die in the same instant."""
        deadline = Deadline(seconds)
        with self._changed:
            self._changed.wait_for(lambda: self._closed, deadline.left)
            return self._closed

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._control.cut()
        self.cut_sessions()
