"""The five jobs on the stage: who is who, and how they stand."""

from __future__ import annotations

from collections.abc import Mapping

from nodexfer.sandbox.demo.jobs import SCRIPTS, Job
from nodexfer.sandbox.demo.narrate import DONE, JobView, Narrator
from nodexfer.sandbox.demo.site import Site
from nodexfer.sandbox.demo.stage import Stage
from nodexfer.sandbox.demo.watch import Move, Watch, moves


class Cast:
    """All jobs, and the eyes on them. A job's number stays when it is submitted again; its key does not."""

    def __init__(self, stage: Stage, site: Site, environment: Mapping[str, str], narrator: Narrator) -> None:
        self.jobs = [Job(number, stage, site, environment) for number in SCRIPTS]
        self.watch = Watch(stage.node_dir)
        self._node_dir = stage.node_dir
        self._narrator = narrator
        self._numbers: dict[str, int] = {}

    def start(self, job: Job) -> None:
        job.start()
        self._numbers[job.key] = job.number

    def number(self, key: str) -> int:
        """Of the job that had this key, in whichever attempt."""
        return self._numbers[key]

    def leader(self) -> Job | None:
        now = self.watch.now
        return next((job for job in self.jobs if now is not None and job.key == now.leader), None)

    def moves(self, job: Job) -> list[Move]:
        return moves(self._node_dir, job.key)

    def sessions(self) -> list[int]:
        """Of all attempts of all jobs."""
        return [session for job in self.jobs for session in job.sessions]

    def end(self) -> None:
        """Kill what still runs."""
        for job in self.jobs:
            job.kill()
        self.watch.stop()

    def show(self) -> None:
        """Paint the board."""
        leader = self.leader()
        self._narrator.board([self._view(job, job is leader) for job in self.jobs])

    def _view(self, job: Job, leads: bool) -> JobView:
        code = job.poll()
        if code is not None:
            return JobView(job.number, False, DONE if code == 0 else f"ended with {code}", 0, 0)
        under_way = self.moves(job)
        if not under_way:
            return JobView(job.number, leads, "at work", 0, 0)
        last = under_way[-1]
        return JobView(job.number, leads, last.state, last.done, last.total)
