"""Leases: a place's claim on one endpoint, as numbered files that nobody but their owner touches.

    pool/<pool>/<entry>/lease.<n>

The highest number owns. A file appears whole or not at all (written beside its place, then link(2), which fails where
the name is taken, on NFS too), so exactly one contender gets n + 1. The owner shows that it lives by utime(2). Numbers
only grow: the highest is never removed, the owner of n removes what lies below n - 1.

A lease promises its owner nothing by itself. The owner must renew it, and stop GCP when no renewal has *begun* within
two thirds of the duration (:func:`allowance`): a contender waits for the whole duration, by its own monotonic clock.
"""

from __future__ import annotations

import os
import time
from enum import Enum

from nodexfer.errors import LeaseLost, PoolEntryBroken
from nodexfer.pool.leasefile import Lease, Me, forget, numbers, read, sweep, write_beside

__all__ = [
    "ORPHANED",
    "RENEW",
    "RESUME",
    "Lease",
    "Me",
    "Observer",
    "Verdict",
    "allowance",
    "give_back",
    "numbers",
    "renew",
    "resume",
    "same_cluster",
    "take",
    "top",
    "verdict",
]

#: How often an owner renews, as a part of the duration.
RENEW = 1 / 10
#: A take-over goes on under the old number only when the last renewal is younger than this part of the duration...
RESUME = 1 / 6
#: ...and "the scheduler says that the run is over" is believed only when it is older than this one. The gap between
#: the two is what keeps a slow take-over and a quick contender apart.
ORPHANED = 1 / 3


class Verdict(Enum):
    """What a contender may think of the highest lease of an entry."""

    #: There is none, or its owner gave it back.
    FREE = "free"
    #: It is this place's: an earlier leader here took it. :func:`resume` it.
    OURS = "ours"
    #: Its owner is proven dead. The next number may be taken.
    DEAD = "dead"
    #: Its owner lives, or nothing proves that it does not.
    HELD = "held"
    #: Not renewed for the whole duration. The owner may only be cut off from the file system, with its GCP connected:
    #: to be taken only after the service has said "not connected" for a minute.
    SUSPECT = "suspect"


def verdict(
    lease: Lease | None, me: Me, unchanged: float, *, run_over: bool | None = None, place_dead: bool | None = None
) -> Verdict:
    """Pure. What is not known (None) counts as alive.

    :param unchanged: seconds, by our monotonic clock, for which we have seen the same number and time stamp.
    :param run_over: what the scheduler of the **same cluster** says of the very run; another's answer is not asked.
    :param place_dead: the owner's place is on this node, in this boot, and its locks are free (and held by us now).
    """
    if lease is None or lease.released:
        return Verdict.FREE
    if (lease.boot, lease.host, lease.place) == (me.boot, me.host, me.place):
        return Verdict.OURS
    if place_dead or _rebooted(lease, me) or (run_over and _orphaned(lease, me, unchanged)):
        return Verdict.DEAD
    return Verdict.SUSPECT if unchanged >= lease.duration else Verdict.HELD


def _rebooted(lease: Lease, me: Me) -> bool:
    """The owner's host is ours, and was booted since."""
    return lease.host == me.host and lease.boot != me.boot and (lease.place == me.place or same_cluster(lease, me))


def _orphaned(lease: Lease, me: Me, unchanged: float) -> bool:
    """Nobody at the owner's place went on under the number after its run was over."""
    return same_cluster(lease, me) and unchanged >= lease.duration * ORPHANED


def same_cluster(lease: Lease, me: Me) -> bool:
    """Whether host names and job numbers of the two mean the same.

    Without a scheduler nothing tells two sites' "node1" apart.
    """
    return lease.scheduler == me.scheduler != "local" and lease.cluster == me.cluster != ""


def allowance(lease: Lease) -> float:
    """Seconds for which GCP may run from the *beginning* of a renewal that succeeded."""
    return lease.duration * 2 / 3


class Observer:
    """How long each lease has stood unchanged, by our own monotonic clock: no two hosts' clocks are compared."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[int, int, float]] = {}

    def unchanged(self, lease: Lease, now: float | None = None) -> float:
        """Seconds since we first saw this number with this time stamp; 0.0 at the first look."""
        now = time.monotonic() if now is None else now
        number, stamp, since = self._since.get(lease.directory, (-1, -1, now))
        if (number, stamp) != (lease.number, lease.renewed_ns):
            since = now
            self._since[lease.directory] = (lease.number, lease.renewed_ns, since)
        return now - since


def top(directory: str) -> Lease | None:
    """The highest lease of an entry, or None.

    One that can not be read, or is of a newer version, is respected: it has no host, and only silence frees it (a newer
    one never is freed here).

    :raises PoolEntryBroken: the entry's directory is gone.
    """
    for _ in range(10):
        found = numbers(directory)
        if not found:
            return None
        lease = read(directory, found[-1])
        if lease is not None:
            return lease
    raise PoolEntryBroken(f"The leases in {directory} come and go faster than they can be read.")


def take(directory: str, number: int, me: Me, endpoint_id: str, duration: float) -> Lease | None:
    """Become the owner by number ``number``; None when somebody else did.

    A death before the link leaves a ``.take-*`` file that means nothing; after it, a lease of this place.

    :raises HomeFull: nothing was taken.
    """
    entry = os.path.basename(directory)
    lease = Lease(number, endpoint_id, entry, directory, *me, duration, time.time(), False)
    temporary = write_beside(lease)
    try:
        # An answer that NFS lost makes link(2) report EEXIST for our own link: what is there decides.
        try:
            os.link(temporary, lease.path)
        except FileExistsError:
            pass
        if not os.path.samestat(os.stat(temporary), os.stat(lease.path)):
            return None
    except FileNotFoundError:  # somebody's higher number swept ours away already
        return None
    finally:
        forget(temporary)
    # We may have slept since we read the highest number, and filled a gap that its owner had swept.
    if numbers(directory)[-1] != number:
        forget(lease.path)
        return None
    try:
        sweep(directory, number)
    except FileNotFoundError:  # two others have come after us already
        return None
    return lease


def resume(lease: Lease, me: Me) -> Lease | None:
    """Go on under the number of an earlier leader of this place, as ``me``; None: take the next number instead.

    None when the last renewal is too old, or the step took so long that a contender may have come to its verdict.
    """
    began = time.monotonic()
    renewed = lease._replace(**me._asdict())
    temporary = write_beside(renewed)
    try:
        age = (os.stat(temporary).st_mtime_ns - os.stat(lease.path).st_mtime_ns) / 1e9  # one clock: the server's
        if age >= lease.duration * RESUME:
            return None
        os.rename(temporary, lease.path)
    except FileNotFoundError:
        return None
    finally:
        forget(temporary)
    slow = time.monotonic() - began >= lease.duration * RESUME / 2
    return None if slow or numbers(lease.directory)[-1] != lease.number else renewed


def renew(lease: Lease) -> None:
    """Show that the owner lives. May take as long as the file system likes: not for the watchdog's thread.

    What it proves holds from the moment when it was called, not from when it came back.

    :raises LeaseLost: another place has a higher number; GCP must be stopped at once.
    :raises OSError: the file system did not answer well: not renewed.
    """
    try:
        os.utime(lease.path)
        highest = numbers(lease.directory)[-1]
    except (FileNotFoundError, IndexError, PoolEntryBroken) as error:
        raise LeaseLost(f"The lease {lease.path} is gone.") from error
    if highest != lease.number:
        other = top(lease.directory)
        who = other.holder if other else "somebody"
        raise LeaseLost(f"The endpoint {lease.entry} was taken over by {who}, since this node did not renew its lease.")


def give_back(lease: Lease) -> None:
    """Say that the endpoint is free. A death before the rename leaves the lease held until it is proven dead.

    :raises HomeFull: it is not given back.
    """
    temporary = write_beside(lease._replace(released=True))
    try:
        os.rename(temporary, lease.path)
    except BaseException:
        forget(temporary)
        raise
