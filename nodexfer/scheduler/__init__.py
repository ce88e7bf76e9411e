"""The batch system: which job we are, when it ends, and whether another is over.

Each adapter is two kinds of pure function, "which argv" and "what does this text say"; the runner is an argument
(:func:`nodexfer.procs.run`). A scheduler is asked rarely: thousands of jobs share one. Only the adapter that is needed
is imported: each file costs a parallel file system something.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from nodexfer.scheduler.protocol import End, Job, RunArgv

__all__ = ["End", "Job", "RunArgv", "detect", "end", "is_over", "run_of"]


def detect(environ: Mapping[str, str]) -> Job:
    """The job that this process belongs to. No process is started.

    ``$NODEXFER_JOB_ID`` wins: who sets it says that this is a job of its own, whatever it runs inside of.
    """
    if not environ.get("NODEXFER_JOB_ID"):
        if environ.get("SLURM_JOB_ID"):
            from nodexfer.scheduler import slurm

            if (job := slurm.detect(environ)) is not None:
                return job
        if environ.get("PBS_JOBID"):
            from nodexfer.scheduler import pbs

            if (job := pbs.detect(environ)) is not None:
                return job
    from nodexfer.scheduler import local

    return local.detect(environ)


def run_of(job: Job, environ: Mapping[str, str]) -> str | None:
    """What, with the job's key, names this run of it on all of its nodes, and no other; None where nothing does."""
    if job.cluster == "unknown" or job.scheduler == "local":
        return None
    if job.scheduler == "pbs":
        from nodexfer.scheduler import pbs

        return pbs.run_of(environ)
    return ""  # Slurm counts the runs


def end(job: Job, environ: Mapping[str, str], run_argv: RunArgv, *, fresh: bool = False) -> End | None:
    """When ``job``, our own, ends; None where nobody says.

    Starts at most two processes, of at most 10 s each; the second only where the first knows nothing.
    Callers want :func:`nodexfer.node.jobend.find`, which counts them.

    :param fresh: ask, whatever the environment says: the limit may have been changed since the job began.
    """
    if job.scheduler == "slurm":
        from nodexfer.scheduler import slurm

        return slurm.end(job, environ, run_argv, time.time(), fresh=fresh)
    if job.scheduler == "pbs":
        from nodexfer.scheduler import pbs

        return pbs.end(job, run_argv)
    from nodexfer.scheduler import local

    return local.end(environ, time.time())


def is_over(job: Job, run_argv: RunArgv, environ: Mapping[str, str] | None = None) -> bool | None:
    """True only where the job's own cluster says that this very run is over; False where it runs; None else.

    Not known to a scheduler, not reachable, another cluster, another run of the same job, a node that failed: all None,
    since processes of that run may live. Starts at most two processes, of at most 10 s each.
    """
    environ = os.environ if environ is None else environ
    if job.scheduler == "slurm":
        from nodexfer.scheduler import slurm

        return slurm.is_over(job, environ, run_argv)
    if job.scheduler == "pbs":
        from nodexfer.scheduler import pbs

        return pbs.is_over(job, run_argv)
    return None
