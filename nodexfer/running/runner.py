"""Inputs, a program, outputs: what ``nodexfer run`` does with a job's time, without the command line.

The clock is ours: signals of a scheduler come late, to others, or not at all. Dying in here (SIGKILL) leaves a program
that runs on and requests whose owner is dead, which the desk cancels; the job's keeper removes the scratch.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nodexfer.clock import Deadline
from nodexfer.errors import DeadlinePassed, NodexferError
from nodexfer.running import program, walltime
from nodexfer.running.outputs import measure
from nodexfer.running.takeout import TakeOut, sentences
from nodexfer.running.timing import Timing
from nodexfer.running.walltime import Load, Pace
from nodexfer.running.work import Outcome, Talk, Work
from nodexfer.session import Node
from nodexfer.staging.client import OnProgress
from nodexfer.units import format_duration

if TYPE_CHECKING:
    from nodexfer.staging.request import Progress

#: So long (s) before a program would be stopped the scheduler is asked again: an answer takes 20 s at most.
_ASK_AGAIN_SECONDS = 25.0
#: So long (s) it is waited for a word on how much is in the directories of a stage-in, when it has begun to move.
_LOOK_SECONDS = 15.0
#: Where nobody knew the end, how often (s) it is looked whether somebody does by now.
_UNKNOWN_SECONDS = 120.0


def run(node: Node, work: Work, talk: Talk) -> Outcome:
    """Do it, in the main thread.

    :raises NodexferError: what ended the stage-in, or that there is no time; the program was not started.
    """
    with program.Signals() as signals:
        return _Runner(node, work, talk, signals).run()


class _Runner:
    def __init__(self, node: Node, work: Work, talk: Talk, signals: program.Signals) -> None:
        self._node, self._work, self._talk, self._signals = node, work, talk, signals
        self._timing = Timing(node, work)
        self._reserved = self._timing.reserve()
        #: Seconds that a look at the outputs takes, and how much was left when the program had ended.
        self._cost = self._left_over = 0.0

    def run(self) -> Outcome:
        record: dict[str, Any] = {"end": self._timing.record, "in": None}
        self._timing.refuse_late()
        self._talk.say(f"run: {self._timing.words}")
        if self._work.fetches:
            record["in"] = self._stage_in()
            self._timing.refuse_late()
        ended = self._program()
        self._left_over = self._timing.left
        if ended.stopped:
            self._talk.say(f"run: {self._stopped_words()}")
        out = TakeOut(self._node, self._work, self._talk, self._timing, self._signals, ended)
        error = self._take_out(out, ended)
        for name in dict.fromkeys(self._signals.missed):
            self._talk.say(f"run: {name} came while no program ran, and had nobody to reach")
        record |= {"exit_code": ended.code, "stopped": ended.stopped, "out": out.sent, "saved": out.saved}
        return Outcome(ended.code, record, error)

    def _stage_in(self) -> dict[str, Any]:
        from nodexfer.staging.bring import bring

        left = self._timing.left - (self._timing.reserve() if self._timing.known else 0.0)
        with self._talk.progress("stage-in") as show:
            who = self._node.client(
                wait_endpoint=self._work.wait_endpoint,
                route=self._work.route,
                on_progress=_Fits(show, self._talk, self._timing.pace, Deadline(left)),
                deadline=time.time() + left,
            )._replace(measure=True)
            receipt = bring(who, self._work.fetches, **self._work.moves)
        seconds = (receipt.finished or receipt.created) - receipt.created
        self._timing.pace = walltime.pace(receipt.bytes, seconds, receipt.waited_endpoint)
        self._talk.done("stage-in", receipt)
        return receipt.as_record()

    # The program ------------------------------------------------------------------------------------------------

    def _program(self) -> program.Ended:
        environ = {**self._work.environ, "NODEXFER_SCRATCH": str(self._node.scratch), "NODEXFER_JOB": self._node.job}
        try:
            return program.run(
                self._work.command,
                environ,
                self._signals,
                stdout=self._work.stdout,
                watch=self._watch,
                grace=lambda: walltime.grace(self._reserved),
            )
        except program.NotStarted as error:
            self._talk.say(f"nodexfer: {error}")
            return program.Ended(error.code)

    def _watch(self) -> float | None:
        """Seconds until the next look; None when the program is to be stopped."""
        timing = self._timing
        if not timing.known:
            timing.ask(again=False)
            return _UNKNOWN_SECONDS
        self._reserved = timing.reserve(self._load())
        if timing.left - self._reserved <= min(_ASK_AGAIN_SECONDS, timing.whole / 4):
            moved = timing.ask(again=True)
            if abs(moved) > 1:
                self._talk.say(f"run: the limit was changed; the job ends in {format_duration(timing.left)}")
        stop_in = timing.left - self._reserved
        return walltime.look_after(stop_in, self._cost) if stop_in > 0 else None

    def _load(self) -> Load:
        """What the outputs are now: of no interest where the reserve does not depend on it."""
        if not self._timing.depends_on_outputs:
            return Load()
        begun = time.monotonic()
        load = walltime.total([measure(out.send.source) for out in self._work.outs])
        self._cost = time.monotonic() - begun
        return load

    def _stopped_words(self) -> str:
        return f"The program was stopped, {format_duration(self._left_over)} before the end of the job"

    # Outputs ----------------------------------------------------------------------------------------------------

    def _take_out(self, out: TakeOut, ended: program.Ended) -> NodexferError | None:
        if ended.stopped:
            error = out.take(walltime.STOPPED, self._stopped_words())
            if error is None:
                safe = "its outputs were sent and proven" if out.sent is not None else "it had no outputs to send"
                return DeadlinePassed(f"{self._stopped_words()}; {safe}.", "nodexfer run --help")
            if not out.safe or isinstance(error, DeadlinePassed):
                return error
            return DeadlinePassed(sentences(self._stopped_words(), error.message), error.next)
        if ended.told:
            return out.save(walltime.STOPPED if ended.code else walltime.SUCCESS)
        outcome = walltime.FAILURE if ended.code else walltime.SUCCESS
        return out.take(outcome, f"The job ends in {format_duration(self._left_over)}")


class _Fits:
    """Says once, as soon as the size is known, whether a stage-in fits; then shows its progress.

    A task may be under way before anybody has looked what its directories have in them: then that is said, and what
    happens.
    """

    def __init__(self, show: OnProgress, talk: Talk, pace: Pace, deadline: Deadline) -> None:
        self._show, self._talk, self._pace, self._deadline = show, talk, pace, deadline
        self._said = False
        #: Until the size must be known, from the beginning of the task on.
        self._patience: Deadline | None = None

    def __call__(self, news: Progress) -> None:
        if not self._said and (words := self._words(news)):
            self._said = True
            self._talk.say(f"stage-in: {words}")
        self._show(news)

    def _words(self, news: Progress) -> str:
        left = self._deadline.left
        if news.need is not None:
            load = Load(news.need.bytes, news.need.files)
            return walltime.bring_words(load, self._pace, left, least=news.need.least)
        if news.bytes_total is not None:
            return walltime.bring_words(Load(news.bytes_total, news.files_total or 0), self._pace, left)
        if news.task is not None and self._patience is None:
            self._patience = Deadline(_LOOK_SECONDS)
        if self._patience is not None and self._patience.passed:
            return walltime.bring_words(None, self._pace, left)
        return ""
