"""Finding whom to hit: nodexfer's own processes at a place, and those of the stand-in."""

from __future__ import annotations

from collections.abc import Sequence

from nodexfer.identity import ProcessId
from nodexfer.node import locks
from nodexfer.sandbox.chaos.places import Place
from nodexfer.sandbox.demo import leftovers

#: What its command line has in it; the first that fits. (The guard's has the whole of GCP's.)
_MARKS = {
    "guard": "nodexfer.gcp.guard",
    "desk": "nodexfer.staging.desk",
    "keeper": "nodexfer.node.keeper",
    "gc-ctrl": "/gc-ctrl.py ",
    "gc": "/gc.py ",
    "relaytool": "/relaytool ",
    "gridftp": "/globus-gridftp-server ",
    "launcher": "/globusconnectpersonal ",
}

#: Whose leader is hit more often than another keeper: it has more to lose.
_LEADER = 0.6


def find(place: Place, what: str, pick: float) -> ProcessId | None:
    """One of the place's processes of this kind, chosen by ``pick``; None where there is none now."""
    found = [one.pid for one in leftovers.processes(place.stage.node_dir, ()) if _kind(one.words) == what]
    if not found:
        return None
    leader = locks.owner(place.stage.node_dir) if what == "keeper" else None
    return _process(leader if leader in found and pick < _LEADER else choose(sorted(found), pick))


def of_session(session: int) -> list[ProcessId]:
    """All processes of a job, those of its keeper among them."""
    found = (_process(one.pid) for one in leftovers.processes("\1", (session,)))
    return [process for process in found if process is not None]


def choose(found: Sequence[int], pick: float) -> int:
    """One of them; ``pick`` is in [0, 1)."""
    return found[int(pick * len(found))]


def _kind(words: str) -> str:
    return next((kind for kind, mark in _MARKS.items() if mark in f"{words} "), "")


def _process(pid: int | None) -> ProcessId | None:
    try:
        return None if pid is None else ProcessId.of(pid)
    except ProcessLookupError:
        return None
