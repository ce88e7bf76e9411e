"""What a waiter asks about a lease whose owner is silent: the scheduler rarely, the service for a minute."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from nodexfer import procs, scheduler
from nodexfer.config import Config
from nodexfer.pool import lease as leases
from nodexfer.pool.lease import Lease, Me

#: How often a scheduler is asked about the owner of one lease, by one waiter.
QUESTIONS = 3
#: Seconds for which the service must call a silent owner's endpoint "not connected".
QUIET_SECONDS = 60.0


class Ask(NamedTuple):
    """Whom a waiter may ask. Each answers None where it does not know."""

    #: The service: is this endpoint connected?
    connected: Callable[[str], bool | None]
    #: The scheduler: is the run that owns this lease over?
    run_over: Callable[[Lease], bool | None]
    quiet: float = QUIET_SECONDS

    @classmethod
    def everybody(cls, config: Config) -> Ask:
        return cls(partial(ask_service, config), partial(ask_scheduler, config))


def ask_service(config: Config, endpoint_id: str) -> bool | None:
    """What the service says of the endpoint: by a process of its own, since the leader stays light.

    Waited for less than a leader may be silent (:mod:`nodexfer.node.silence`): no answer is None.
    """
    argv = procs.python("-m", "nodexfer.globus.connected", endpoint_id)
    environ = {**os.environ, **config.environment()}
    try:
        done = procs.run(argv, timeout=min(3 * config.service_timeout, config.silence / 2), environ=environ, cwd="/")
    except OSError:
        return None
    return {"connected": True, "not connected": False}.get(done.out.strip()) if done.code == 0 else None


def ask_scheduler(config: Config, lease: Lease) -> bool | None:
    """What the scheduler says of the run that owns ``lease``. At most two processes of at most 10 s each, and each for
    less than a leader may be silent."""

    def run(argv: Sequence[str], *, timeout: float) -> procs.Completed:
        return procs.run(argv, timeout=min(timeout, config.silence / 2))

    return scheduler.is_over(scheduler.Job(lease.scheduler, lease.cluster, lease.job, lease.run), run)


class Inquiry:
    """What one waiter has asked so far."""

    def __init__(self, me: Me, ask: Ask) -> None:
        self._me = me
        self._ask = ask
        #: lease path -> (how often asked, how long it must have stood unchanged before it is asked again)
        self._runs: dict[str, tuple[int, float]] = {}
        #: lease path -> (when it was answered last, since when the answer has been "not connected")
        self._silent: dict[str, tuple[float, float]] = {}

    def run_over(self, lease: Lease, unchanged: float) -> bool | None:
        """Only of our own cluster, only after a silence, at most three times, further and further apart."""
        wait = lease.duration * leases.ORPHANED
        asked, due = self._runs.get(lease.path, (0, wait))
        if asked >= QUESTIONS or unchanged < due or not leases.same_cluster(lease, self._me):
            return None
        self._runs[lease.path] = asked + 1, unchanged + wait * 2**asked
        return self._ask.run_over(lease)

    def disconnected(self, lease: Lease) -> bool:
        """Whether the service has now said "not connected" for long enough, asked every sixth of that time."""
        began, quiet = time.monotonic(), self._ask.quiet
        answered, since = self._silent.get(lease.path, (float("-inf"), 0.0))
        if began - answered < quiet / 6:
            return False
        silent = self._ask.connected(lease.endpoint_id) is False
        now = time.monotonic()
        # Not asked for a while, it may have been anything. How long an answer took does not count as that.
        if not silent or began - answered > quiet / 2:
            since = now
        self._silent[lease.path] = now, since
        return began - since >= quiet
