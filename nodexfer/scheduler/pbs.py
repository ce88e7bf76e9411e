"""OpenPBS and PBS Professional. Observed on OpenPBS 23.06.06; facts from qstat(1B) and pbs_job_attributes(7B)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nodexfer.scheduler.protocol import End, Job, RunArgv, ask, local_time

#: pbs_job_attributes(7B), job_state: True = the run is over; our processes end with its script even where no cgroup
#: makes them. What is not here is unknown.
STATES: Mapping[str, bool | None] = {
    "F": True,  # finished; only where the server keeps a history (job_history_enable)
    "X": True,  # a sub-job that "has completed execution or has been deleted"
    "B": False,  # an array with a sub-job running
    "E": False,  # exiting: "after having run", its processes are being ended
    "R": False,
    "S": False,  # suspended, and to be woken
    "U": False,  # suspended while a workstation's owner is active
    "H": None,  # held, queued, waiting, being moved: another run, or none
    "Q": None,
    "W": None,
    "T": None,
    "M": None,  # moved to another server
}

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def detect(environ: Mapping[str, str]) -> Job | None:
    """``PBS_JOBID`` is ``12.server``, and ``1[3].server`` for a sub-job.

    The environment does not tell the run, and asking would cost a call: docs/decisions/takeover.md says why 0 will do.
    """
    number, dot, server = environ.get("PBS_JOBID", "").partition(".")
    if not number[:1].isdigit():
        return None
    return Job("pbs", server if dot else "unknown", number, 0)


def run_of(environ: Mapping[str, str]) -> str | None:
    """By the run's cookie: MoM makes one for each run, and gives it to all tasks that it starts on any node.

    (start_exec.c in the source: random, 32 digits; a secret of the job, with which it speaks to MoM.)
    """
    cookie = environ.get("PBS_JOBCOOKIE")
    if not cookie:
        return None
    import hashlib

    return hashlib.sha256(cookie.encode(errors="surrogateescape")).hexdigest()[:16]


def end(job: Job, run_argv: RunArgv) -> End | None:
    return parse_end(ask(run_argv, show_argv(job)) or "", job)


def show_argv(job: Job) -> list[str]:
    """-x: also a finished job, which is an error (35) without it; an unknown one is 153."""
    return ["qstat", "-x", "-f", "-F", "json", full_id(job)]


def full_id(job: Job) -> str:
    return job.id if job.cluster == "unknown" else f"{job.id}.{job.cluster}"


def parse_end(text: str, job: Job) -> End | None:
    """``stime`` + ``Resource_List.walltime``; the latter is absent where no limit was asked for.

    (``resources_used.walltime`` is absent at first and then up to a minute old.)
    """
    found = _attributes(text, job)
    limits = found.get("Resource_List")
    start = parse_ctime(str(found.get("stime", "")))
    if start is None or not isinstance(limits, dict):
        return None
    if "walltime" not in limits:
        return End(None, "qstat")
    limit = parse_walltime(str(limits["walltime"]))
    return None if limit is None else End(start + limit, "qstat")


def is_over(job: Job, run_argv: RunArgv) -> bool | None:
    return parse_state(ask(run_argv, show_argv(job)) or "", job)


def parse_state(text: str, job: Job) -> bool | None:
    """The job's state, where it was started once only, so that there is no other run to mix up with."""
    found = _attributes(text, job)
    if str(found.get("run_count", "")) != str(max(1, job.run)):
        return None
    return STATES.get(str(found.get("job_state", "")))


def parse_ctime(text: str) -> float | None:
    """``Fri Nov 20 22:00:00 2026`` in local time (qstat prints ctime(3)) as seconds since the epoch."""
    try:
        _, month, day, clock, year = text.split()
        hours, minutes, seconds = (int(part) for part in clock.split(":"))
        wall = (int(year), _MONTHS.index(month) + 1, int(day), hours, minutes, seconds)
    except ValueError:
        return None
    return local_time(wall)


def parse_walltime(text: str) -> float | None:
    """``[[hours:]minutes:]seconds`` with any number of hours (pbs_resources(7B), duration)."""
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(part.isdigit() for part in parts):
        return None
    total = 0
    for part in parts:
        total = total * 60 + int(part)
    return float(total)


def _attributes(text: str, job: Job) -> Mapping[str, Any]:
    """The job's attributes from qstat's JSON; empty where it is not about this job, or no JSON.

    ``strict=False``: qstat passes control characters of the user's variables on as they are.
    """
    try:
        jobs = json.loads(text, strict=False)["Jobs"]
        found = jobs[full_id(job)] if job.cluster != "unknown" else next(iter(jobs.values()))
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return {}
    return found if isinstance(found, dict) else {}
