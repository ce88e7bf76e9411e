"""endpoint.json: what the leader says of the endpoint, and the only truth about it.

One writer: who holds the leader's lock. It is written the moment that lock is taken, and removed when all of it is
given back; one that lies there with the lock free is what a killed leader left, and the next keeper that looks takes
the lock and goes on or clears up.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from nodexfer import records
from nodexfer.errors import NodexferError, RecordBroken
from nodexfer.node import locks
from nodexfer.paths import NodePaths

FORMAT = 1

#: The lock is taken; lease, desk and GCP are on their way. With ``waiting``: what they wait for.
STARTING = "starting"
#: Somebody else's GCP, or a pool without a free endpoint, is waited for.
WAITING = "waiting"
#: The service has seen each exchange.
READY = "ready"
#: It was ready, was lost, and is being started again.
MENDING = "mending"
#: Everything is being given back.
STOPPING = "stopping"

#: A leader that closes waits for others, up to 20 s: it is given this, however short the configured silence is.
CLOSING_SECONDS = 30.0

#: The leader's heart beats every 5 s, as the file's time stamp (:mod:`nodexfer.node.silence`).
SILENT_SECONDS = 20.0


class Endpoint(NamedTuple):
    """``led`` says that a living process stands behind the rest; without it there is no endpoint."""

    led: bool
    state: str
    #: The key of the leader's job.
    keeper: str
    leader: int
    endpoint_id: str | None
    entry: str | None
    lease: int | None
    #: No task of an earlier lease is left on the endpoint.
    fenced: bool
    #: root -> the exchange on it.
    exchanges: dict[str, str]
    #: root -> which directory that is to the leader (:func:`nodexfer.paths.ground`).
    grounds: dict[str, str]
    #: Seconds since the epoch: when the leader got the lock, when the endpoint was last found ready, last heartbeat.
    since: float
    ready_at: float | None
    beat: float
    message: str
    #: Why it is waited, as :meth:`nodexfer.errors.NodexferError.as_record`.
    waiting: dict[str, Any] | None

    @property
    def ready(self) -> bool:
        return self.led and self.state == READY


def read(paths: NodePaths) -> Endpoint | None:
    """What the leader says, or None where nobody leads or led.

    :raises RecordNewer: a newer nodexfer leads here.
    """
    try:
        record = records.read(paths.endpoint, FORMAT)
        beat = os.stat(paths.endpoint).st_mtime
    except (FileNotFoundError, RecordBroken):
        return None
    if record is None:
        return None
    return Endpoint(
        led=locks.taken(paths.node_dir),
        state=str(record.get("state", "")),
        keeper=str(record.get("keeper", "")),
        leader=int(record.get("leader", 0)),
        endpoint_id=record.get("endpoint_id"),
        entry=record.get("entry"),
        lease=record.get("lease"),
        fenced=record.get("fenced") is True,
        exchanges=dict(record.get("exchanges", {})),
        grounds=dict(record.get("grounds", {})),
        since=float(record.get("since", 0.0)),
        ready_at=record.get("ready_at"),
        beat=beat,
        message=str(record.get("message", "")),
        waiting=record.get("waiting"),
    )


def left_behind(paths: NodePaths) -> bool:
    """Did a leader die here without giving back? Two system calls where none did."""
    return os.path.lexists(paths.endpoint) and not locks.taken(paths.node_dir)


def beat(paths: NodePaths) -> None:
    """Show that the leader lives. By its keeper only."""
    try:
        os.utime(paths.endpoint)
    except OSError:  # it is not there yet, or no more
        pass


class Notice:
    """The leader's end: it writes and removes the file. Use only with the leader's lock held."""

    def __init__(self, paths: NodePaths, keeper: str, since: float, silence: float = 0.0) -> None:
        """:param silence: seconds without a beat after which others may think that we are stopped."""
        self._path = paths.endpoint
        self._record: dict[str, Any] = {
            "format": FORMAT,
            "state": STARTING,
            "keeper": keeper,
            "leader": os.getpid(),
            "since": since,
            "silence": silence,
            "message": "",
        }

    def say(self, state: str, message: str = "", *, waiting: NodexferError | None = None, **fields: Any) -> None:
        """:raises DiskFull, NodeDirRemoved: it says what it said before."""
        record = {**self._record, **fields, "state": state, "message": message}
        record["waiting"] = None if waiting is None else waiting.as_record()
        if record != self._record:
            records.write(self._path, record)
            self._record = record

    def say_stopping(self) -> None:
        """:raises DiskFull, NodeDirRemoved: as :meth:`say`."""
        self.say(STOPPING, silence=max(self._record["silence"], CLOSING_SECONDS))

    def remove(self) -> None:
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass
