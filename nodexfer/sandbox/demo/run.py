"""The play: set the stage, start five jobs, kill the one whose keeper leads, look who goes on, prove every byte."""

from __future__ import annotations

import os
import shutil
import tempfile
import time

from nodexfer.clock import Deadline
from nodexfer.sandbox.demo import hunt, leftovers
from nodexfer.sandbox.demo.cast import Cast
from nodexfer.sandbox.demo.jobs import Job
from nodexfer.sandbox.demo.narrate import Narrator
from nodexfer.sandbox.demo.offline import Offline, offline
from nodexfer.sandbox.demo.proof import prove
from nodexfer.sandbox.demo.receipts import told
from nodexfer.sandbox.demo.report import Report, Row
from nodexfer.sandbox.demo.site import MIB, Site, make
from nodexfer.sandbox.demo.watch import TakeOver

#: Bytes per second while the job to kill is looked for: slow enough that its transfer can not end before.
_SLOW = 4 * MIB

#: Seconds; see :mod:`nodexfer.sandbox.demo.hunt`.
_JOBS_WITHIN = 120.0
_CLEAN_WITHIN = 15.0


def play(narrator: Narrator, *, keep: bool = False) -> Report:
    """Play it once, in a new temporary directory that is removed again (unless ``keep``). About 20 s, at most 4 min."""
    began = time.monotonic()
    directory = tempfile.mkdtemp(prefix="nodexfer-demo-", dir=temporary())
    try:
        with narrator:
            report = _play(directory, narrator)
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    return report._replace(seconds=time.monotonic() - began, directory=directory if keep else None)


def temporary() -> str:
    """Where GCP's path rules can say the directory: its list of paths knows wildcards and commas."""
    found = os.path.realpath(tempfile.gettempdir())
    return "/tmp" if set(found) & set(",*?[]{}~\\% ") else found  # noqa: S108 mkdtemp makes it private


def _play(directory: str, narrator: Narrator) -> Report:
    problems: list[str] = []
    with offline(directory, endpoints=0) as user:
        site = _set_stage(user, narrator)
        cast = Cast(user.stage, site, user.environment, narrator)
        try:
            over = _five_jobs(user, cast, narrator, problems)
            narrator.say("all jobs are over; what is left behind?")
        finally:
            # Also when we are interrupted: the directory goes when nobody works in it any more.
            cast.end()
            leftovers.wait_until_gone(directory, cast.sessions(), _CLEAN_WITHIN)
        leases = leftovers.leases(user.pool())
        gcp = user.box.status()["gcp"]
    # The sandbox has stopped: from here on, every process of ours is one too many.
    return Report(
        jobs=tuple(row(job, site, f"{user.stage.home}/.nodexfer") for job in cast.jobs),
        endpoints_started=int(gcp["started"]),
        endpoints_live_max=max(gcp["user_live_max"].values(), default=0),
        takeovers=cast.watch.take_overs(),
        takeover=None if over is None else _told(over, cast),
        left_processes=tuple(map(str, leftovers.processes(directory, cast.sessions()))),
        left_leases=tuple(leases),
        left_files=tuple(leftovers.files(user.stage.node_dir, user.stage.site)),
        problems=tuple(problems),
        seconds=0.0,
        directory=None,
    )


def _set_stage(user: Offline, narrator: Narrator) -> Site:
    narrator.say(f"an offline Globus answers at {user.box.url}")
    site = make(user.stage.site)
    sizes = site.files.values()
    narrator.say(f"its site has {len(sizes)} files, {min(sizes)} bytes to {max(sizes) // MIB} MiB, with awkward names")
    narrator.say("$ nodexfer pool create --count 2 --prefix demo", "bold")
    user.nodexfer("pool", "create", "--count", "2", "--prefix", "demo", "--json")
    return site


def _five_jobs(user: Offline, cast: Cast, narrator: Narrator, problems: list[str]) -> TakeOver | None:
    slow = user.box.fault("slow", endpoint="all", bytes_per_second=_SLOW)
    cast.watch.start()
    narrator.say("five jobs start, each in its own session; none knows of another", "bold")
    for job in cast.jobs:
        cast.start(job)
    over = None
    victim = hunt.whose_keeper_leads(cast, narrator)
    if victim is None:
        problems.append("no transfer of the leading job was seen under way, so none was killed")
        user.box.clear(slow)
    else:
        killed, at = hunt.kill(victim, cast, narrator)
        user.box.clear(slow)
        over = hunt.take_over(killed, at, cast, narrator)
        if over is None:
            problems.append(f"nobody took over from job {victim.number}")
        narrator.say(f"job {victim.number} is submitted again, as its user would", "bold")
        cast.start(victim)
    _until_all_end(cast, narrator, problems)
    return over


def _until_all_end(cast: Cast, narrator: Narrator, problems: list[str]) -> None:
    deadline = Deadline(_JOBS_WITHIN)
    running = list(cast.jobs)
    while running and not deadline.passed:
        cast.show()
        for job in [job for job in running if job.poll() is not None]:
            running.remove(job)
            code = job.poll()
            if code == 0:
                narrator.say(f"job {job.number} is done, its results are at the site")
            else:
                narrator.say(f"job {job.number} ended with {code}", "bold red")
                problems.append(f"job {job.number} ended with {code}: {job.log_tail()}")
        time.sleep(0.05)
    problems += [f"job {job.number} did not end within {_JOBS_WITHIN:g} s: {job.log_tail()}" for job in running]


def _told(over: TakeOver, cast: Cast) -> dict[str, float]:
    return {
        "killed": cast.number(over.killed),
        "by": cast.number(over.by),
        "leads_after": round(over.leads, 4),
        "ready_after": round(over.ready, 3),
    }


def row(job: Job, site: Site, home: str) -> Row:
    """What became of ``job``; ``home`` is the user's nodexfer directory."""
    proof = prove(site, job.number, job.witness)
    receipts = told(home, job.key)
    return Row(
        job=job.number,
        attempts=job.attempt,
        exit_code=job.poll(),
        waited=round(receipts.waited, 2),
        seconds=round(job.seconds, 2),
        files_in=proof.files_in,
        bytes_in=proof.bytes_in,
        files_out=proof.files_out,
        bytes_out=proof.bytes_out,
        verified=proof.ok,
        task_ids=receipts.tasks,
        mismatches=proof.mismatches,
    )
