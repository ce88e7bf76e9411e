"""Killing the job whose keeper leads, in the middle of its transfer, and looking who goes on."""

from __future__ import annotations

import time

from nodexfer.clock import Deadline
from nodexfer.sandbox.demo.cast import Cast
from nodexfer.sandbox.demo.jobs import Job
from nodexfer.sandbox.demo.narrate import Narrator
from nodexfer.sandbox.demo.watch import TakeOver
from nodexfer.units import format_bytes

#: Seconds; each far above what is seen on an idle machine, and the demonstration fails in words when one passes.
_HIT_WITHIN = 40.0
_TAKE_OVER_WITHIN = 30.0

#: Bytes that have moved by then: the kill hits a transfer, not the beginning of one.
_MOVED = 512 * 1024


def whose_keeper_leads(cast: Cast, narrator: Narrator) -> Job | None:
    """The job that leads, when half a MiB of its transfer has moved and at least two others wait for theirs.

    None when there was no such moment within 40 s, or a job ended before.
    """
    deadline = Deadline(_HIT_WITHIN)
    told = False
    while not deadline.passed and all(job.poll() is None for job in cast.jobs):
        cast.show()
        leader = cast.leader()
        if leader is not None and not told:
            told = True
            narrator.say(f"job {leader.number} leads: its keeper starts the one endpoint for all five")
        if leader is not None and _under_way(cast, leader):
            return leader
        time.sleep(0.02)
    return None


def _under_way(cast: Cast, leader: Job) -> bool:
    now = cast.watch.now
    if now is None or now.state != "ready":
        return False
    moving = any(move.task and move.done >= _MOVED for move in cast.moves(leader))
    return moving and sum(bool(cast.moves(job)) for job in cast.jobs if job is not leader) >= 2


def kill(victim: Job, cast: Cast, narrator: Narrator) -> tuple[str, float]:
    """SIGKILL its whole process group; (its key, when)."""
    key, at = victim.key, time.monotonic()
    victim.kill()
    done = max((move.done for move in cast.moves(victim)), default=0)
    narrator.say(f"SIGKILL to job {victim.number}, {format_bytes(done)} into its transfer", "bold red")
    return key, at


def take_over(killed: str, at: float, cast: Cast, narrator: Narrator) -> TakeOver | None:
    """Wait for the next leader and for its endpoint; None after 30 s."""
    deadline = Deadline(_TAKE_OVER_WITHIN)
    while not deadline.passed:
        cast.show()
        found = cast.watch.take_over(killed, at)
        if found is not None:
            narrator.say(
                f"job {cast.number(found.by)} leads {found.leads * 1000:.0f} ms later; "
                f"the endpoint is ready again after {found.ready:.1f} s",
                "bold green",
            )
            return found
        time.sleep(0.01)
    return None
