"""Who waits for an endpoint of a pool, so that the oldest waiter is served first. Fairness only: nothing depends on it.

pool/<pool>/waiting/<milliseconds>-<host>-<place>    its time stamp says that the waiter still waits
"""

from __future__ import annotations

import os
import time

from nodexfer.paths import safe_name
from nodexfer.pool.entries import QUEUE
from nodexfer.pool.lease import Me

#: A waiter that was not seen for so long is passed over; one not seen for ten times as long is removed.
SILENT_SECONDS = 10.0


class Queue:
    """Our place in the queue. A context manager: leaving it gives the place up. A full disk only costs the place."""

    def __init__(self, pool_directory: str, me: Me) -> None:
        self._directory = f"{pool_directory}/{QUEUE}"
        self._me = me
        self._name = ""

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        if self._name:
            _unlink(f"{self._directory}/{self._name}")

    def join(self) -> None:
        """Get in line, or show that we still are."""
        try:
            if not self._name:
                name = f"{time.time() * 1000:015.0f}-{safe_name(self._me.host)}-{self._me.place}"
                os.makedirs(self._directory, 0o700, exist_ok=True)
                os.close(os.open(f"{self._directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
                self._name = name
            os.utime(f"{self._directory}/{self._name}")
        except OSError:
            self._name = ""

    def ahead(self) -> int:
        """How many wait longer than we do: all of them as long as we have not joined."""
        stamps = self._stamps()
        # The server's clock, by our own file; ours will do to pass over the dead before we have one.
        now = stamps.get(self._name, time.time())
        for name, stamp in stamps.items():
            if now - stamp > 10 * SILENT_SECONDS:
                _unlink(f"{self._directory}/{name}")
        live = [name for name, stamp in stamps.items() if now - stamp <= SILENT_SECONDS]
        return sum(name < self._name or not self._name for name in live if name != self._name)

    def _stamps(self) -> dict[str, float]:
        try:
            names = os.listdir(self._directory)
        except OSError:
            return {}
        stamps = {name: _stamp(f"{self._directory}/{name}") for name in names}
        return {name: stamp for name, stamp in stamps.items() if stamp is not None}


def _stamp(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
