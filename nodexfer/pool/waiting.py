"""Who waits for an endpoint of a pool, so that the oldest waiter is served first. Fairness only: nothing depends on it.

pool/<pool>/waiting/<milliseconds>-<host>-<place>    its time stamp says that the waiter still waits

Both times are the file server's: clocks of nodes may differ by hours.
"""

from __future__ import annotations

import os

from nodexfer.paths import safe_name
from nodexfer.pool.entries import QUEUE
from nodexfer.pool.lease import Me

#: A waiter that was not seen for so long is passed over; one not seen for ten times as long is removed.
SILENT_SECONDS = 10.0


class Queue:
    """Our place in the queue. A context manager: leaving it gives the place up. A full disk only costs the place."""

    def __init__(self, pool_directory: str, me: Me) -> None:
        self._directory = f"{pool_directory}/{QUEUE}"
        self._name = ""
        self._whose = f"{safe_name(me.host)}-{me.place}"
        self._unborn = f"{self._directory}/.new-{self._whose}"

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        if self._name:
            _unlink(f"{self._directory}/{self._name}")

    def join(self) -> None:
        """Get in line, or show that we still are."""
        try:
            if not self._name:
                self._name = self._new()
            os.utime(f"{self._directory}/{self._name}")
        except OSError:
            self._name = ""

    def _new(self) -> str:
        """A name by the moment at which the server made the file."""
        name = f"{self._server_ns() // 1_000_000:015}-{self._whose}"
        os.rename(self._unborn, f"{self._directory}/{name}")
        return name

    def _server_ns(self) -> int:
        """What the file server's clock says, by a file that we touch."""
        os.makedirs(self._directory, 0o700, exist_ok=True)
        os.close(os.open(self._unborn, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        os.utime(self._unborn)
        return os.stat(self._unborn).st_mtime_ns

    def ahead(self) -> int:
        """How many wait longer than we do: all of them as long as we have not joined."""
        stamps = self._stamps()
        if not stamps:
            return 0
        now = stamps.get(self._name) or self._now(stamps)
        for name, stamp in stamps.items():
            if now - stamp > 10 * SILENT_SECONDS:
                _unlink(f"{self._directory}/{name}")
        live = [name for name, stamp in stamps.items() if now - stamp <= SILENT_SECONDS and not name.startswith(".")]
        return sum(name < self._name or not self._name for name in live if name != self._name)

    def _now(self, stamps: dict[str, float]) -> float:
        """Where we have not joined; on a full disk, the newest that was seen will do."""
        try:
            now = self._server_ns() / 1e9
            _unlink(self._unborn)
        except OSError:
            now = max(stamps.values())
        return now

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
