"""The play: set the stage, start five jobs, kill the one whose keeper leads, look who goes on, prove every byte."""

from __future__ import annotations

import os
import shutil
import tempfile
import time

from nodexfer.clock import Deadline
from nodexfer.sandbox.demo import leftovers
from nodexfer.sandbox.demo.jobs import SCRIPTS, Job
from nodexfer.sandbox.demo.narrate import JobView, Narrator
from nodexfer.sandbox.demo.offline import Offline, offline
from nodexfer.sandbox.demo.proof import prove
from nodexfer.sandbox.demo.receipts import Told, told
from nodexfer.sandbox.demo.report import Report, Row
from nodexfer.sandbox.demo.site import MIB, Site, make
from nodexfer.sandbox.demo.watch import Sighting, TakeOver, Watch, moves

#: Bytes per second while the job to kill is looked for: slow enough that its transfer can not end before.
_SLOW = 4 * MIB

#: Seconds; each far above what is seen on an idle machine, and the demonstration fails in words when one passes.
_HIT_WITHIN = 40.0
_TAKE_OVER_WITHIN = 30.0
_JOBS_WITHIN = 120.0
_CLEAN_WITHIN = 15.0


def play(narrator: Narrator, *, keep: bool = False) -> Report:
    """Play it once, in a new temporary directory that is removed again (unless ``keep``). About 20 s, at most 4 min."""
    began = time.monotonic()
    directory = tempfile.mkdtemp(prefix="nodexfer-demo-", dir=_temporary())
    try:
        with narrator:
            report = Play(directory, narrator).whole()
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    return report._replace(seconds=time.monotonic() - began, directory=directory if keep else None)


def _temporary() -> str:
    """Where GCP's path rules can say the directory: its list of paths knows wildcards and commas."""
    found = os.path.realpath(tempfile.gettempdir())
    return "/tmp" if set(found) & set(",*?[]{}~\\% ") else found  # noqa: S108 mkdtemp makes it private


class Play:
    def __init__(self, directory: str, narrator: Narrator) -> None:
        self._directory = directory
        self._narrator = narrator
        self._say = narrator.say
        self._problems: list[str] = []
        self._jobs: list[Job] = []
        self._numbers: dict[str, int] = {}
        self._take_over: TakeOver | None = None

    def whole(self) -> Report:
        with offline(self._directory, endpoints=0) as user:
            self._user = user
            self._stage = user.stage
            self._watch = Watch(user.stage.node_dir)
            self._site = self._set_stage(user)
            self._watch.start()
            try:
                self._five_jobs()
            finally:
                for job in self._jobs:
                    job.kill()
                self._watch.stop()
            self._wait_until_clean()
            left_leases = leftovers.leases(user.pool())
            live = self._endpoints()
        return self._report(live, left_leases)

    def _set_stage(self, user: Offline) -> Site:
        self._say(f"an offline Globus answers at {user.box.url}")
        site = make(user.stage.site)
        sizes = site.files.values()
        self._say(
            f"its site has {len(sizes)} real files, {min(sizes)} bytes to {max(sizes) // MIB} MiB, names that bite"
        )
        self._say("$ nodexfer pool create --count 2 --prefix demo", "bold")
        user.nodexfer("pool", "create", "--count", "2", "--prefix", "demo", "--json")
        return site

    # The jobs -------------------------------------------------------------------------------------------------

    def _five_jobs(self) -> None:
        box = self._user.box
        slow = [box.fault("slow", endpoint=entry["endpoint_id"], bytes_per_second=_SLOW) for entry in self._user.pool()]
        self._jobs = [Job(number, self._stage, self._site, self._user.environment) for number in SCRIPTS]
        self._say("five jobs start, each in a session of its own; they know nothing of each other", "bold")
        for job in self._jobs:
            self._start(job)
        victim = self._whose_keeper_leads()
        killed_at = time.monotonic()
        if victim is not None:
            killed = victim.key
            victim.kill()
            self._say(f"SIGKILL to job {victim.number}, in the middle of its transfer", "bold red")
        for fault in slow:
            box.clear(fault)
        if victim is not None:
            self._see_take_over(killed, killed_at)
            self._say(f"job {victim.number} is submitted again, as its user would", "bold")
            self._start(victim)
        self._until_all_end()

    def _start(self, job: Job) -> None:
        job.start()
        self._numbers[job.key] = job.number

    def _whose_keeper_leads(self) -> Job | None:
        """The job that leads, at a moment when bytes of its own move and at least two others wait for theirs."""
        deadline = Deadline(_HIT_WITHIN)
        told_leader = False
        while not deadline.passed and all(job.poll() is None for job in self._jobs):
            self._show()
            now = self._watch.now
            leader = self._job_of(now)
            if now is not None and leader is not None and not told_leader:
                told_leader = True
                self._say(f"job {leader.number} leads: its keeper starts the one endpoint for all five")
            if now is not None and now.state == "ready" and leader is not None and self._under_way(leader):
                return leader
            time.sleep(0.02)
        self._problems.append("no transfer of the leading job was seen under way, so none was killed")
        return None

    def _under_way(self, leader: Job) -> bool:
        moving = [move for move in moves(self._stage.node_dir, leader.key) if move.task and move.done > 0]
        others = [job for job in self._jobs if job is not leader and moves(self._stage.node_dir, job.key)]
        return bool(moving) and len(others) >= 2

    def _see_take_over(self, killed: str, at: float) -> None:
        deadline = Deadline(_TAKE_OVER_WITHIN)
        while self._take_over is None and not deadline.passed:
            self._show()
            self._take_over = self._watch.take_over(killed, at)
            time.sleep(0.01)
        if self._take_over is None:
            self._problems.append(f"nobody took over within {_TAKE_OVER_WITHIN:.0f} s")
            return
        self._say(
            f"job {self._numbers[self._take_over.by]} leads {self._take_over.leads * 1000:.0f} ms later; "
            f"the endpoint is ready again after {self._take_over.ready:.1f} s",
            "bold green",
        )

    def _until_all_end(self) -> None:
        deadline = Deadline(_JOBS_WITHIN)
        told_of: set[int] = set()
        while len(told_of) < len(self._jobs) and not deadline.passed:
            self._show()
            for job in self._jobs:
                code = job.poll()
                if code is not None and job.number not in told_of:
                    told_of.add(job.number)
                    self._tell_end(job, code)
            time.sleep(0.05)
        for job in self._jobs:
            if job.poll() is None:
                self._problems.append(f"job {job.number} did not end within {_JOBS_WITHIN:.0f} s: {job.log_tail()}")

    def _tell_end(self, job: Job, code: int) -> None:
        if code == 0:
            self._say(f"job {job.number} is done, its results are at the site")
            return
        self._problems.append(f"job {job.number} ended with {code}: {job.log_tail()}")
        self._say(f"job {job.number} ended with {code}", "bold red")

    # What is seen ---------------------------------------------------------------------------------------------

    def _job_of(self, seen: Sighting | None) -> Job | None:
        return next((job for job in self._jobs if seen is not None and job.key == seen.leader), None)

    def _show(self) -> None:
        leader = self._job_of(self._watch.now)
        self._narrator.board([self._view(job, job is leader) for job in self._jobs])

    def _view(self, job: Job, leads: bool) -> JobView:
        code = job.poll()
        if code is not None:
            return JobView(job.number, False, "done" if code == 0 else f"ended with {code}", 0, 0)
        under_way = moves(self._stage.node_dir, job.key)
        if not under_way:
            return JobView(job.number, leads, "at work", 0, 0)
        return JobView(job.number, leads, under_way[-1].state, under_way[-1].done, under_way[-1].total)

    def _left_processes(self, box_pids: list[int]) -> list[leftovers.Found]:
        sessions = [session for job in self._jobs for session in job.sessions]
        return leftovers.processes(self._stage.directory, sessions, box_pids)

    def _wait_until_clean(self) -> None:
        """The last keeper gives the lease back and goes: that is its work, and takes it a moment."""
        self._say("all jobs are over; what is left behind?")
        deadline = Deadline(_CLEAN_WITHIN)
        while self._left_processes(self._user.box.pids) and not deadline.passed:
            time.sleep(0.05)

    def _endpoints(self) -> tuple[int, int]:
        """(started, most at a time), as the sandbox's relay saw them connect."""
        seen = self._user.box.admin("/endpoints")
        return int(seen["connects"]), int(seen["live_max"])

    def _report(self, live: tuple[int, int], left_leases: list[str]) -> Report:
        over = self._take_over
        return Report(
            jobs=tuple(self._row(job) for job in self._jobs),
            endpoints_started=live[0],
            endpoints_live_max=live[1],
            takeovers=0 if over is None else 1,
            takeover=over
            and {
                "killed": self._numbers[over.killed],
                "by": self._numbers[over.by],
                "leads_after": round(over.leads, 4),
                "ready_after": round(over.ready, 3),
            },
            left_processes=tuple(f"process {found.pid}: {found.words}" for found in self._left_processes([])),
            left_leases=tuple(left_leases),
            left_files=tuple(leftovers.files(self._stage.node_dir, self._stage.site)),
            problems=tuple(self._problems),
            seconds=0.0,
            directory=None,
        )

    def _row(self, job: Job) -> Row:
        proof = prove(self._site, job.number, job.witness)
        say: Told = told(f"{self._stage.home}/.nodexfer", job.key)
        return Row(
            job=job.number,
            attempts=job.attempt,
            exit_code=job.poll(),
            waited=say.waited,
            seconds=job.seconds,
            files_in=proof.files_in,
            bytes_in=proof.bytes_in,
            files_out=proof.files_out,
            bytes_out=proof.bytes_out,
            verified=proof.ok,
            task_ids=say.tasks,
            mismatches=proof.mismatches,
        )
