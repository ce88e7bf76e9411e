"""What the adapters share: the job, and the runner that they are given."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

#: Seconds that a scheduler gets for an answer. A busy one is slow for everybody; unknown is a good answer too.
TIMEOUT = 10.0
#: Seconds for which an answer is new: many programs of one job come to their end together.
NEW_SECONDS = 60.0
#: An end that is over for so long (s) is none.
PAST_SECONDS = 600.0


class Job(NamedTuple):
    """One run of one scheduler job."""

    #: "slurm", "pbs" or "local".
    scheduler: str
    #: Slurm's ClusterName, the PBS server, or the host: numbers are unique within it only.
    cluster: str
    id: str
    #: How often the job had been started before (Slurm); 0 where the environment does not say (PBS, local).
    run: int

    @property
    def key(self) -> str:
        """One text for all of it. For a file name, use :func:`nodexfer.paths.safe_name` on it."""
        return f"{self.scheduler}-{self.cluster}-{self.id}.{self.run}"


class End(NamedTuple):
    """What somebody who knows says about a job's end."""

    #: Seconds since the epoch; None: the job has no limit.
    at: float | None
    #: Who says so, for people.
    source: str

    @property
    def is_past(self) -> bool:
        """It was another run's with our id; or the job was suspended meanwhile, and nobody knows when it ends."""
        return self.at is not None and self.at < time.time() - PAST_SECONDS


class Answer(Protocol):
    """How a program ended: :class:`nodexfer.procs.Completed`."""

    @property
    def code(self) -> int: ...
    @property
    def out(self) -> str: ...


class RunArgv(Protocol):
    """:func:`nodexfer.procs.run`, or a test's. :raises OSError: not there, or not within ``timeout`` seconds."""

    def __call__(self, argv: Sequence[str], *, timeout: float) -> Answer: ...


def local_time(wall: tuple[int, int, int, int, int, int]) -> float:
    """A local time (year to second) as seconds since the epoch.

    Of the two that an hour repeated in autumn may mean, the earlier: a deadline too early costs less than one too late.
    """
    found = [time.mktime((*wall, 0, 0, summer)) for summer in (0, 1)]
    exact = [epoch for epoch in found if tuple(time.localtime(epoch)[:6]) == wall]
    return min(exact or found)


def ask(run_argv: RunArgv, argv: Sequence[str]) -> str | None:
    """What ``argv`` prints; None when it is not there, fails, or takes too long: then nothing is known."""
    try:
        answer = run_argv(argv, timeout=TIMEOUT)
    except OSError:
        return None
    return answer.out if answer.code == 0 else None
