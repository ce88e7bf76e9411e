"""Who waits, so that the oldest is served first and who is idle gives way. Fairness only: nothing depends on it.

pool/<pool>/waiting/<milliseconds>-<host>-<place>     for an endpoint; its time stamp says that the waiter still waits
turns/<boot id>/waiting/                              the same, for the turn of a place on its host: one GCP runs there

Both lie on the shared file system: places with a private /tmp have nothing else in common. All times are the file
server's: clocks of nodes may differ by hours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

from nodexfer.paths import safe_name
from nodexfer.pool.entries import QUEUE
from nodexfer.pool.lease import Me

#: A waiter that was not seen for so long is passed over; one not seen for ten times as long is removed.
SILENT_SECONDS = 10.0
#: The marks of a host that was booted since are nobody's; nobody there looks at them any more.
OLD_SECONDS = 86400.0


class Waiter(NamedTuple):
    """One mark, for people. ``since`` is seconds since the epoch, by the file server's clock."""

    host: str
    job: str
    place: str
    since: float


class Queue:
    """Our place in the queue. A context manager: leaving it gives the place up. A full disk only costs the place."""

    def __init__(self, above: str, me: Me) -> None:
        self._directory = f"{above}/{QUEUE}"
        self._name = ""
        self._words = json.dumps({"host": me.host, "job": me.job, "place": me.place})
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
        with open(self._unborn, "w", encoding="utf-8") as file:
            file.write(self._words)
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
        stamps = _stamps(self._directory)
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


class Demand:
    """Whether any other place waits: seen by marks that change between two looks, whatever any clock says.

    :param above: what :class:`Queue` gets: the pool's directory, the host's turns.
    """

    def __init__(self, above: Sequence[str], place: str) -> None:
        self._directories = [f"{directory}/{QUEUE}" for directory in above]
        self._own = f"-{place}"
        self._seen: dict[str, float] = {}

    def look(self) -> bool:
        """Reads the shared file system, and takes as long as that likes."""
        now = {
            f"{directory}/{name}": stamp
            for directory in self._directories
            for name, stamp in _stamps(directory).items()
            if not name.startswith(".") and not name.endswith(self._own)
        }
        found = any(self._seen.get(name, stamp) != stamp for name, stamp in now.items())
        self._seen = now
        return found


def waiters(above: str) -> list[Waiter]:
    """The marks that are there, the oldest first; the dead have some, too."""
    found = []
    for name in sorted(_stamps(f"{above}/{QUEUE}")):
        try:
            with open(f"{above}/{QUEUE}/{name}", encoding="utf-8") as file:
                record = json.load(file)
            host, job, place = (str(record[key]) for key in ("host", "job", "place"))
            found.append(Waiter(host, job, place, int(name.partition("-")[0]) / 1000))
        except (OSError, ValueError, KeyError, TypeError):  # it has gone, or is not joined yet
            continue
    return found


def forget_old(turns: str, own: str) -> None:
    """Remove what those who died left in the turns of other boots. ``own``: the turns of this one, with our mark."""
    now = max(_stamps(f"{own}/{QUEUE}").values(), default=0.0)
    for name in _names(turns):
        directory = f"{turns}/{name}/{QUEUE}"
        for mark, stamp in _stamps(directory).items():
            if now - stamp > OLD_SECONDS:
                _unlink(f"{directory}/{mark}")
        for empty in (directory, f"{turns}/{name}"):
            try:
                os.rmdir(empty)
            except OSError:
                break


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _stamps(directory: str) -> dict[str, float]:
    stamps = {name: _stamp(f"{directory}/{name}") for name in _names(directory)}
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
