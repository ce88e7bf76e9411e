"""A leader that gives no sign of life: ended where it can be, named where it can not.

A keeper that waits for the leader's lock watches the heart of the leader, which is the time stamp of endpoint.json.
Neither clock nor calendar is compared with another's: what counts is how often we looked and found the same stamp and
the same owner of the lock, so that neither a clock that is set nor our own sleep (a job that is suspended) is taken for
the leader's silence.

A leader that is stopped (SIGSTOP) is ended with all that it started, by pidfd, and the kernel gives the lock to the
next. It is known twice: by its lock, and by what it wrote into its keeper's file. Not ended is one that does not die of
SIGKILL now (one of its threads in state D: a frozen cgroup, a disk that does not answer), and one of another pid
namespace, whose number means nothing here. It is named in blocked.json, which is true as long as the stamp in it is the
leader's.
"""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

from nodexfer import procs, records
from nodexfer.clock import Deadline
from nodexfer.errors import EndpointFailed, Interrupted, NodexferError, from_record
from nodexfer.identity import boot_id, pid_namespace
from nodexfer.node import locks, registry, rubbish, threads
from nodexfer.node.log import say
from nodexfer.paths import NodePaths

FORMAT = 1
#: Seconds for a process to end after SIGKILL.
KILL_SECONDS = 3.0


class Heart(NamedTuple):
    """What was seen of it at one look. ``owner`` is the process with the lock, None where it can not be seen.

    ``stuck``: one of its threads was in state D.
    """

    stamp: int
    owner: int | None
    stuck: bool = False


class Watch:
    """One waiting keeper's. ``tick``: the seconds between two looks; a look counts for twice that at most."""

    def __init__(self, paths: NodePaths, seconds: float, tick: float) -> None:
        self._paths = paths
        self._seconds = seconds
        self._longest = 2 * tick
        self._seen: Heart | None = None
        #: For how long nothing was heard; of that, how long at the end it could have been heard.
        self._silent = self._able = 0.0
        self._last = 0.0

    def look(self, now: float | None = None) -> Heart | None:
        """The leader's heart when it has not beaten for too long, else None. ``now``: monotonic seconds."""
        now = time.monotonic() if now is None else now
        heart, before = _heart(self._paths), self._seen
        if heart is None or before is None or heart[:2] != before[:2]:
            self._silent = self._able = 0.0
        else:
            passed = min(now - self._last, self._longest)
            self._silent += passed
            self._able = 0.0 if heart.stuck or before.stuck else self._able + passed
        self._seen, self._last = heart, now
        if heart is None or self._silent < self._seconds:
            return None
        # A leader that was configured otherwise may beat more rarely.
        longest = max(self._seconds, float(_said(self._paths).get("silence", 0.0)))
        # One that was thawed a moment ago has not had the time to beat: it is given all of it once more.
        long_enough = self._silent if heart.stuck else self._able
        return heart if long_enough >= longest else None

    def forget(self) -> None:
        """We do not wait any more."""
        self._seen = None


def _heart(paths: NodePaths) -> Heart | None:
    """None where nobody leads."""
    if not locks.taken(paths.node_dir):
        return None
    try:
        stamp = os.stat(paths.endpoint).st_mtime_ns
    except OSError:  # it has just begun
        stamp = 0
    owner = locks.owner(paths.node_dir)
    return Heart(stamp, owner, owner is not None and "D" in threads.states(owner))


def end(paths: NodePaths, heart: Heart) -> None:
    """End the leader with desk, guard and GCP, or say who blocks us. At most 3 s, and again at the next look."""
    found = _leader(paths, heart)
    if found is None:
        _block(paths, heart, f"{_unknown(paths, heart)}, which can not be ended from here")
        return
    what = f"process {found.process.pid} of job {found.job.key}"
    states = threads.states(found.process.pid)
    if not found.process.alive or states <= {"Z", "X"}:
        return
    if heart.stuck or "D" in states:
        _block(paths, heart, f"{what}, which is frozen or waits for a disk, and can not be ended")
        return
    say(f"the leader, {what}, gave no sign of life (state {' '.join(sorted(states))}): ending it")
    procs.kill_tree([found.process])
    deadline = Deadline(KILL_SECONDS)
    while found.process.alive and not deadline.passed:
        time.sleep(0.01)
    if found.process.alive:
        _block(paths, heart, f"{what}, which does not end when it is killed")


def _leader(paths: NodePaths, heart: Heart) -> registry.Keeper | None:
    """The keeper that has the lock, where its number means something here and is still its own."""
    for name in rubbish.names(paths.keepers):
        if name.endswith((".bell", ".failed")):
            continue
        card = registry.read_keeper(f"{paths.keepers}/{name}")
        if card is None or card.boot != boot_id() or card.process.namespace != pid_namespace():
            continue
        if card.process.pid == heart.owner and card.process.alive:
            return card
    return None


def _unknown(paths: NodePaths, heart: Heart) -> str:
    """What is known of a leader that is not known well enough to be ended."""
    job = _said(paths).get("keeper", "")
    seen = "a process of another pid namespace" if heart.owner is None else f"process {heart.owner}"
    return f"{seen}{f' of job {job}' if job else ''}"


def _said(paths: NodePaths) -> dict[str, Any]:
    """What the leader said last, {} where that can not be read."""
    try:
        return records.read(paths.endpoint, 1) or {}
    except (NodexferError, OSError):
        return {}


# -- who is told ------------------------------------------------------------------------------------------------------


def _block(paths: NodePaths, heart: Heart, who: str) -> None:
    error = EndpointFailed(
        f"The endpoint of this node is blocked: its leader is {who}; it has given no sign of life.", "nodexfer status"
    )
    if _read(paths, heart.stamp) is not None:
        return
    say(error.message)
    try:
        records.write(paths.blocked, {"format": FORMAT, "stamp": heart.stamp, "error": error.as_record()})
    except NodexferError as full:
        say(str(full))


def blocked(paths: NodePaths) -> NodexferError | None:
    """Why nobody can lead here although there is work, or None. Two system calls where nobody has said so."""
    if not os.path.lexists(paths.blocked) or not locks.taken(paths.node_dir):
        return None
    try:
        stamp = os.stat(paths.endpoint).st_mtime_ns
    except OSError:
        stamp = 0
    return _read(paths, stamp)


def _read(paths: NodePaths, stamp: int) -> NodexferError | None:
    try:
        record = records.read(paths.blocked, FORMAT)
    except Interrupted:
        raise  # by a signal, to a command that waits
    except (NodexferError, OSError):
        return None
    return None if record is None or record.get("stamp") != stamp else from_record(dict(record["error"]))


def forget(paths: NodePaths) -> None:
    """Somebody leads."""
    rubbish.remove(paths.blocked)
