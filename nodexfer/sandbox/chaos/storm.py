"""The storm: jobs start and are run again, blows fall, and then it is calm until all results are there."""

from __future__ import annotations

import time
from collections.abc import Sequence

from nodexfer.sandbox.chaos import ledger
from nodexfer.sandbox.chaos.blows import Hand
from nodexfer.sandbox.chaos.jobs import ChaosJob
from nodexfer.sandbox.chaos.plan import WAVE, Blow, Plan
from nodexfer.sandbox.demo.narrate import Narrator

#: Seconds after the last blow until every job must be done.
CALM_WITHIN = 240.0
#: Seconds after the last blow until a job that is run again must succeed at once.
SETTLED = 20.0
#: Seconds before a job that ended in an error is run again.
PAUSE = 1.0


class Storm:
    """``problems`` says what should not have happened."""

    def __init__(self, plan: Plan, jobs: Sequence[ChaosJob], hand: Hand, narrator: Narrator) -> None:
        self.problems: list[str] = []
        self._plan = plan
        self._hand = hand
        self._narrator = narrator
        self._began = time.monotonic()
        #: Job -> when it may start, in seconds from the beginning.
        self._waiting = {job: job.plan.begins for job in jobs}
        self._running: dict[ChaosJob, float] = {}

    def rage(self) -> None:
        """Until every job is done, or 240 s after the last blow."""
        blows = list(self._plan.blows)
        raging = True
        while self._waiting or self._running:
            now = time.monotonic() - self._began
            if now > self._plan.seconds + CALM_WITHIN:
                self._give_up()
                return
            while blows and blows[0].at <= now:
                self._deal(blows.pop(0))
            self._hand.take_back(now)
            if raging and now > self._plan.seconds:
                raging = False
                self._hand.rest()
                left = len(self._waiting) + len(self._running)
                self._say(f"no more blows; {left} jobs are not done yet", "bold")
            self._start(now)
            self._collect(now)
            time.sleep(0.05)

    def _deal(self, blow: Blow) -> None:
        told = self._hand.deal(blow)
        if told:
            self._say(told, "red")

    def _start(self, now: float) -> None:
        for job in [job for job, begins in self._waiting.items() if begins <= now]:
            if len(self._running) >= WAVE:
                return
            del self._waiting[job]
            job.start()
            self._running[job] = now

    def _collect(self, now: float) -> None:
        for job, began in list(self._running.items()):
            code = job.poll()
            if code is None:
                continue
            del self._running[job]
            if code == 0:
                self._say(f"job {job.number} is done", "green")
                continue
            self._waiting[job] = now + PAUSE
            if job.id not in job.killed:
                self._failed(job, code, began)

    def _failed(self, job: ChaosJob, code: int, began: float) -> None:
        name = ledger.named(code)
        self._say(f"{job.id} ended with {code}, {name or 'which is no name'}; it is run again")
        if name is None:
            self.problems.append(f"{job.id} ended with {code}: {job.log_tail()}")
        elif began > self._plan.seconds + SETTLED:
            self.problems.append(f"{job.id} began when all was well, and ended with {code}: {job.log_tail()}")

    def _give_up(self) -> None:
        for job in [*self._running, *self._waiting]:
            self.problems.append(f"{job.id} was not done {CALM_WITHIN:g} s after the last blow: {job.log_tail()}")

    def _say(self, text: str, style: str = "") -> None:
        self._narrator.say(text, style)
