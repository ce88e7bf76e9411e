"""A pair of eyes on the node: who leads, when, and what moves. It reads; it changes nothing."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from typing import Any, NamedTuple

from nodexfer.paths import NodePaths


class Sighting(NamedTuple):
    """What endpoint.json said from ``at`` (monotonic seconds) on. ``leader`` is a job's key."""

    at: float
    state: str
    leader: str
    endpoint: str
    lease: int
    #: Seconds since the epoch: when the leader itself says that it got the lock.
    since: float


class TakeOver(NamedTuple):
    """``leads`` and ``ready``: seconds after the SIGKILL, as seen; ``since`` is the new leader's own word (epoch)."""

    killed: str
    by: str
    leads: float
    ready: float
    since: float


class Watch(threading.Thread):
    """Looks at endpoint.json (one stat) every ``period`` seconds and keeps every change."""

    def __init__(self, node_dir: str, period: float = 0.004) -> None:
        super().__init__(name="watch", daemon=True)
        self._period = period
        self.sightings: list[Sighting] = []
        self._path = NodePaths(node_dir).endpoint
        self._over = threading.Event()
        self._seen: tuple[int, int] = (0, 0)

    def run(self) -> None:
        while not self._over.wait(self._period):
            self._look()

    def stop(self) -> None:
        self._over.set()
        self.join(5.0)

    def _look(self) -> None:
        try:
            found = os.stat(self._path)
            seen = (found.st_mtime_ns, found.st_ino)
            if seen == self._seen:
                return
            record = read_json(self._path)
        except OSError:
            return
        self._seen = seen
        if record:
            self.sightings.append(_sighting(record))

    @property
    def now(self) -> Sighting | None:
        return self.sightings[-1] if self.sightings else None

    def take_overs(self) -> int:
        """How often another keeper became leader and went on with the lease, after a death or an ordinary end."""
        led = [(seen.leader, seen.lease) for seen in list(self.sightings) if seen.leader and seen.lease]
        return sum(new[0] != old[0] and new[1] == old[1] for old, new in itertools.pairwise(led))

    def take_over(self, killed: str, at: float) -> TakeOver | None:
        """The take-over after ``killed`` (a job's key) died at ``at``; None until the next one is ready."""
        later = [seen for seen in list(self.sightings) if seen.at >= at and seen.leader not in ("", killed)]
        ready = [seen for seen in later if seen.state == "ready"]
        if not ready:
            return None
        return TakeOver(killed, later[0].leader, later[0].at - at, ready[0].at - at, later[0].since)


def _sighting(record: dict[str, Any]) -> Sighting:
    return Sighting(
        at=time.monotonic(),
        state=str(record.get("state", "")),
        leader=str(record.get("keeper") or ""),
        endpoint=str(record.get("endpoint_id") or ""),
        lease=int(record.get("lease") or 0),
        since=float(record.get("since") or 0.0),
    )


def read_json(path: str) -> dict[str, Any]:
    """A JSON object, {} where there is none (it may be gone, or half a file of somebody's)."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class Move(NamedTuple):
    """One request under way: what its progress.json says."""

    state: str
    task: str | None
    done: int
    total: int


def moves(node_dir: str, job: str) -> list[Move]:
    """The requests that job (its key) has in the spool and that are not over; oldest first."""
    top = NodePaths(node_dir).job_spool(job)
    try:
        names = sorted(os.listdir(top))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        if name.startswith(".") or os.path.exists(f"{top}/{name}/result.json"):
            continue
        record = read_json(f"{top}/{name}/progress.json")
        found.append(
            Move(
                state=str(record.get("state", "waiting")),
                task=record.get("task"),
                done=int(record.get("bytes_done") or 0),
                total=int(record.get("bytes_total") or 0),
            )
        )
    return found
