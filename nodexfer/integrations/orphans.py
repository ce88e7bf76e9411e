"""Workers that outlive their manager: they hold the node for nobody.

A batch system may end the program of a job alone (Slurm signals what it has started itself, and kills the rest once
that has ended), and a manager that is ended tells its workers nothing: they look for it every few seconds. Whoever
holds the node for the manager's life ends them, so that all is given back before the kill.
"""

from __future__ import annotations

import signal
import time

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import NodexferError
from nodexfer.identity import ProcessId, descendants, this
from nodexfer.node import registry

#: Seconds for a worker to end. What it was told to end by, the kernel does at once, but for who catches it.
GRACE_SECONDS = 1.0
_LOOK_SECONDS = 0.02


def adopt() -> None:
    """From now on we can tell our manager's workers, when it has ended, from another's."""
    procs.become_subreaper()


def end(config: Config, job: str) -> None:
    """End those of our descendants that hold for ``job``. Nothing is raised: what is left is told by the registry."""
    try:
        with registry.Transaction(config.node_paths) as table:
            holders = {hold.process for hold in table.of(job)}
    except NodexferError:
        return
    finish([process for process in descendants([this()]) if process in holders])


def finish(processes: list[ProcessId]) -> None:
    """TERM, and KILL after :data:`GRACE_SECONDS` to those that live on."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            procs.signal(process, number)
        deadline = Deadline(GRACE_SECONDS)
        while (processes := _living(processes)) and not deadline.passed:
            time.sleep(_LOOK_SECONDS)


def _living(processes: list[ProcessId]) -> list[ProcessId]:
    return [process for process in processes if process.alive]
