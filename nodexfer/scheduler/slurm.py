"""Slurm. Observed on 22.05.8; facts from sbatch(1) OUTPUT ENVIRONMENT VARIABLES and squeue(1)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from nodexfer.scheduler.protocol import End, Job, RunArgv, ask, local_time

#: squeue(1) JOB STATE CODES: True = the run is over. Its script has ended, and our processes end with it even where
#: Slurm's tracking lets some survive (observed with proctrack/linuxproc and pgid). What is not here is unknown.
STATES: Mapping[str, bool | None] = {
    "BOOT_FAIL": True,  # "terminated due to launch failure"
    "CANCELLED": True,  # shown only after COMPLETING, when every node has confirmed the end
    "COMPLETED": True,  # "terminated all processes on all nodes with an exit code of zero"
    "DEADLINE": True,  # "terminated on deadline"
    "FAILED": True,
    "OUT_OF_MEMORY": True,
    "PREEMPTED": True,  # "terminated due to preemption"
    "TIMEOUT": True,
    "NODE_FAIL": None,  # the node does not answer: its processes may live, and wake with the network
    "COMPLETING": False,  # "some processes on some nodes may still be active"
    "CONFIGURING": False,
    "RUNNING": False,
    "RESIZING": False,
    "SIGNALING": False,
    "STAGE_OUT": False,
    "STOPPED": False,
    "SUSPENDED": False,  # frozen, and to be woken
    "PENDING": None,  # requeued: another run
    "REQUEUED": None,
    "REVOKED": None,  # a sibling cluster runs it
}

_LEFT = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")
#: A line of ``scontrol show job``; nothing that the user can write begins one.
_END = re.compile(r"^ +StartTime=\S+ EndTime=(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\b", re.MULTILINE)
_CLUSTER = re.compile(r"^ClusterName\s*=\s*(\S+)", re.MULTILINE)


def detect(environ: Mapping[str, str]) -> Job | None:
    """``SLURM_JOB_ID`` is of its own for each task of an array; ``SLURM_RESTART_COUNT`` is set only after a requeue."""
    job = environ.get("SLURM_JOB_ID", "")
    if not job.isdigit():
        return None
    restarts = environ.get("SLURM_RESTART_COUNT", "")
    cluster = environ.get("SLURM_CLUSTER_NAME") or "unknown"
    return Job("slurm", cluster, job, int(restarts) if restarts.isdigit() else 0)


def end(job: Job, environ: Mapping[str, str], run_argv: RunArgv, now: float, *, fresh: bool = False) -> End | None:
    """From ``SLURM_JOB_END_TIME`` (set by newer releases than 22.05), else from squeue, else from scontrol.

    :param fresh: not from the environment, which does not know of a limit that was changed.
    """
    known = environ.get("SLURM_JOB_END_TIME", "")
    if known.isdigit() and int(known) > 0 and not fresh:
        return End(float(known), "SLURM_JOB_END_TIME")
    left = parse_left(ask(run_argv, left_argv(job)) or "")
    if left is not None:
        return End(None if left == math.inf else now + left, "squeue")
    at = parse_end(ask(run_argv, end_argv(job)) or "")
    return None if at is None else End(at, "scontrol")


def left_argv(job: Job) -> list[str]:
    """-h no header; %L "time left for the job to execute in days-hours:minutes:seconds" (squeue(1))."""
    return ["squeue", "-h", "-j", job.id, "-o", "%L"]


def parse_left(text: str) -> float | None:
    """Seconds left, the least where a heterogeneous job has several lines; infinite for UNLIMITED.

    None for NOT_SET, and for INVALID, which Slurm prints both past the limit and above a year (secs2time_str in its
    source): neither gives a time to plan with.
    """
    lines = [line.strip() for line in text.splitlines()]
    times = [[int(part or 0) for part in match.groups()] for match in map(_LEFT.fullmatch, lines) if match]
    found = [float(((d * 24 + h) * 60 + m) * 60 + s) for d, h, m, s in times]
    return min([*found, *(math.inf for line in lines if line == "UNLIMITED")], default=None)


def end_argv(job: Job) -> list[str]:
    return ["scontrol", "show", "job", job.id]


def parse_end(text: str) -> float | None:
    """``EndTime``, in local time; the earliest where a heterogeneous job has several. None for Unknown."""
    found = [tuple(int(part) for part in match.groups()) for match in _END.finditer(text)]
    return min((local_time((y, mo, d, h, m, s)) for y, mo, d, h, m, s in found), default=None)


def is_over(job: Job, environ: Mapping[str, str], run_argv: RunArgv) -> bool | None:
    if job.cluster == "unknown" or _here(environ, run_argv) != job.cluster:
        return None
    return parse_state(ask(run_argv, state_argv(job)) or "", job)


def _here(environ: Mapping[str, str], run_argv: RunArgv) -> str | None:
    """The cluster that squeue asks: known inside a job, asked for on a login node."""
    if environ.get("SLURM_CLUSTERS"):  # squeue(1): "same as --clusters"; it would ask another one
        return None
    return environ.get("SLURM_CLUSTER_NAME") or parse_cluster(ask(run_argv, cluster_argv()) or "")


def cluster_argv() -> list[str]:
    return ["scontrol", "show", "config"]


def parse_cluster(text: str) -> str | None:
    match = _CLUSTER.search(text)
    return match[1] if match else None


def state_argv(job: Job) -> list[str]:
    """-t all: ended ones too, for MinJobAge (300 s). No field here holds a text of the user's (squeue(1) --Format)."""
    return ["squeue", "-h", "-j", job.id, "-t", "all", "-O", "JobID:20,State:20,RestartCnt:10"]


def parse_state(text: str, job: Job) -> bool | None:
    """Only one line about this very job counts; a higher restart count is another run.

    (A heterogeneous job has a line for each component, each with a JobID of its own: unknown.)
    """
    fields = text.split()
    if len(fields) != 3 or fields[0] != job.id or fields[2] != str(job.run):
        return None
    return STATES.get(fields[1])
