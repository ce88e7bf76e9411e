"""Tasks that stand still: noticed, told, and tried once more through a restarted endpoint. Decisions only.

Globus keeps a task whose other end is silent ACTIVE for a day, and says that all is well until something times out
inside it. Whose fault it is can not be seen from here; what lies in our hand is this node's end. It is restarted only
where that can help and harms nobody: not while other tasks move bytes through it, not while this one waits for its turn
or has all its bytes and is being compared, and once for each task. The task itself goes on from where it was (restart
markers); after that it is only told, until its deadline: a site's outage may be worth waiting for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from nodexfer.globus import events
from nodexfer.globus.protocol import Task
from nodexfer.staging.outcome import Going
from nodexfer.staging.request import STALL_SECONDS

if TYPE_CHECKING:
    from nodexfer.staging.cases import Move

#: How it is called where codes of Globus are: in receipts, ``status`` and ``nodexfer explain``.
CODE = "STALLED"
#: Waiting for somebody who paused it helps; restarting our end does not.
_PAUSED = frozenset({"PAUSED", "PAUSED_BY_ADMIN"})


class _Count(NamedTuple):
    """What grows while a task does something. Faults do not: failing again and again is no progress."""

    bytes: int
    checksummed: int
    files: int
    files_found: int
    directories: int

    @classmethod
    def of(cls, task: Task) -> _Count:
        return cls(task.bytes_transferred, task.bytes_checksummed, task.files_transferred, task.files, task.directories)


class Pulse:
    """When a task last did anything (monotonic seconds), and whether it was tried again for that."""

    def __init__(self, now: float) -> None:
        self.at = now
        self.retried = False
        self._count: _Count | None = None

    def see(self, task: Task, now: float) -> None:
        """A task that waits for its turn, or was paused, is none that stands still."""
        count = _Count.of(task)
        if count != self._count or events.queued(task.nice_status) or task.nice_status in _PAUSED:
            self._count, self.at = count, now


def limit(move: Move) -> float:
    """Seconds without a byte that the most impatient of its requests bears."""
    return min((case.request.stall for case in move.live), default=STALL_SECONDS)


def is_stalled(move: Move, now: float) -> bool:
    return move.stage == "moving" and bool(move.live) and now - move.pulse.at >= limit(move)


def wants_restart(moves: Sequence[Move], now: float) -> bool:
    """Whether the endpoint is to be restarted for one that stalled."""
    moving = [move for move in moves if move.stage == "moving" and move.live]
    stalled = [move for move in moving if is_stalled(move, now)]
    if len(stalled) < len(moving):
        return False
    return any(not (move.pulse.retried or _only_compares(move)) for move in stalled)


def _only_compares(move: Move) -> bool:
    """It has all its bytes: the checksum of a large file takes long, and a restart would begin it anew."""
    size = move.total
    return bool(size) and move.seen is not None and move.seen.bytes_transferred >= (size or 0)


def judge(move: Move, now: float, going: Going) -> Going:
    """What is told of a task under way, and kept of it. A code of Globus says more than ours, and stays."""
    if not is_stalled(move, now):
        return going
    for case in move.live:
        if CODE not in case.troubles:
            case.troubles.append(CODE)
    since = ", also not since the endpoint was restarted" if move.pulse.retried else ""
    after = f" after {going.trouble}" if going.trouble else ""
    return Going(f"no bytes for {limit(move):g} s{after}{since}", going.trouble or CODE)
