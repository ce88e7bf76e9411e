"""Tasks under way: submitted, followed all in one call, judged, ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from nodexfer.errors import EndpointFailed, NodexferError, ServiceUnreachable
from nodexfer.globus.protocol import Event, Globus, Submission, Task
from nodexfer.staging import batches, outcome, readiness, spool, stall
from nodexfer.staging.calls import Calls
from nodexfer.staging.cases import Case, Move, Serving
from nodexfer.staging.ending import Ending
from nodexfer.staging.intake import Intake
from nodexfer.staging.outcome import Going, Hopeless, Succeeded
from nodexfer.staging.request import Progress

#: A task is asked for again after a tenth of its age, within these bounds (s): a short one is not kept waiting, a long
#: one costs one call in two seconds, with all others.
_POLL = (0.02, 2.0)
#: Seconds that a task gets to end after it was cancelled, before its requests are answered anyway.
_CANCEL_SECONDS = 20.0
#: Seconds after which it is cancelled again: the first time may not have been heard.
_CANCEL_AGAIN_SECONDS = 2.0
#: The endpoint is lost when the service has not seen it for so long (s): GCP comes back within 5 by itself, and two
#: polls before it and one after are to be over within 15.
_LOST_SECONDS = 8.0


class Look(NamedTuple):
    """One poll's answers. ``unseen``: the service does not see our endpoint; None where that was not asked."""

    tasks: dict[str, Task]
    events: dict[str, Sequence[Event]]
    unseen: bool | None


class Follower:
    """:param again: puts a request back to the start, in the part that it names."""

    def __init__(
        self,
        globus: Globus,
        calls: Calls,
        intake: Intake,
        ending: Ending,
        again: Callable[[Case, str], None],
        say: Callable[[dict[str, Any]], None],
    ) -> None:
        self._globus = globus
        self._calls = calls
        self._intake = intake
        self._ending = ending
        self._again = again
        self._say = say
        self.moves: list[Move] = []
        self._serving: Serving | None = None
        self._polling = False
        self._next_poll = 0.0
        self._unseen_since: float | None = None
        self._trouble = False

    def serve(self, serving: Serving) -> None:
        self._serving, self._unseen_since, self._trouble = serving, None, False
        for move in self.moves:
            move.pulse.at = time.monotonic()

    def pause(self) -> None:
        self._serving = None

    def add(self, move: Move) -> None:
        self.moves.append(move)

    def drop(self, move: Move) -> None:
        if move in self.moves:
            self.moves.remove(move)

    def abandon(self, move: Move) -> None:
        """Follow it no more, and have its task ended: it is of a lease that was lost."""
        self.drop(move)
        if move.task is not None:
            self.ask_for_end(move.task)

    def ask_for_end(self, task: str) -> None:
        """Cancel it, whether that is heard or not."""
        self._calls.start(lambda: self._globus.cancel(task), lambda _: None)

    def find(self, submission_id: str) -> Move | None:
        return next((move for move in self.moves if move.submission_id == submission_id), None)

    # Submitting -------------------------------------------------------------------------------------------------

    def submit(self, move: Move) -> None:
        """Again with the same submission id does no harm: the service then names the task that it has."""
        outgoing = move.key.direction == "out"
        submission = Submission(
            submission_id=move.submission_id,
            source_endpoint=move.endpoint if outgoing else move.key.collection,
            destination_endpoint=move.key.collection if outgoing else move.endpoint,
            items=tuple(item for items in move.items.values() for item in batches.transfer_items(move.key[0], items)),
            label=move.label,
            deadline=move.deadline,
        )
        move.stage, move.not_before = "asking", float("inf")
        self._calls.start(lambda: self._globus.submit(submission), lambda answer: self._submitted(move, answer))

    def _submitted(self, move: Move, answer: str | NodexferError) -> None:
        move.since = time.monotonic()
        if move not in self.moves:  # abandoned while it was being submitted
            if isinstance(answer, str):
                self.ask_for_end(answer)
        elif isinstance(answer, (ServiceUnreachable, EndpointFailed)):
            # Whether it was heard is not known: it is asked again until that is.
            move.not_before = time.monotonic() + 1.0
            self._tell_all(move, Progress(state=f"trying again: {answer.message}"))
        elif isinstance(answer, NodexferError):
            self._end(move, Hopeless(answer, True, ""))
        else:
            move.task, move.stage, self._next_poll = answer, "moving", time.monotonic() + _POLL[0]
            for case in move.live:
                self._ending.write(case, spool.BATCH, move.batch(case))
                self._intake.tell(case, Progress(state="moving", task=answer, bytes_total=move.total))

    # Following --------------------------------------------------------------------------------------------------

    def step(self, now: float) -> float:
        """Ask what is due; seconds until something is."""
        for move in list(self.moves):
            if move.stage == "asking" and now >= move.not_before:
                # Also where nobody wants it any more: only the answer tells which task is to be ended.
                self.submit(move)
            elif move.stage == "moving" and not move.live:
                self._cancel(move, None)
        followed = [move for move in self.moves if move.stage in ("moving", "cancelling")]
        if followed and not self._polling and now >= self._next_poll:
            self._poll(followed)
        return max(self._next_poll - now, 0.0) if followed and not self._polling else _POLL[1]

    def _poll(self, moves: Sequence[Move]) -> None:
        self._polling = True
        seen = {move.task: move.faults_seen for move in moves if move.task is not None}
        checked = self._serving if self._trouble else None
        self._calls.start(lambda: _look(self._globus, seen, checked), self._polled)

    def _polled(self, answer: Look | NodexferError) -> None:
        self._polling = False
        now = time.monotonic()
        young = min((now - move.since for move in self.moves if move.stage == "moving"), default=_POLL[1])
        self._next_poll = now + min(max(young / 10, _POLL[0]), _POLL[1])
        if isinstance(answer, NodexferError):
            if not isinstance(answer, (ServiceUnreachable, EndpointFailed)):
                self._refused(answer)
            self._next_poll = now + _POLL[1]
            return
        self._trouble = False
        for move in list(self.moves):
            task = answer.tasks.get(move.task or "")
            if task is not None and move.stage in ("moving", "cancelling"):
                self._judge(move, task, answer.events.get(task.id, ()))
            elif move.stage == "cancelling":  # the service does not know it any more, or not yet
                self._insist(move)
        self._watch_endpoint(answer.unseen, now)
        self._watch_stalls(now)

    def _refused(self, error: NodexferError) -> None:
        """We may not ask any more. The tasks are ended all the same, as far as the service lets us."""
        for move in list(self.moves):
            if move.stage == "moving":
                self._cancel(move, Hopeless(error, True, ""))
            elif move.stage == "cancelling":
                self._insist(move)

    def _watch_endpoint(self, unseen: bool | None, now: float) -> None:
        if not unseen:
            self._unseen_since = None
        elif self._unseen_since is None:
            self._unseen_since = now
        elif now - self._unseen_since >= _LOST_SECONDS and self._serving is not None:
            self._say({"lost": "GCDisconnected"})
            self._unseen_since = now

    def _watch_stalls(self, now: float) -> None:
        if self._serving is not None and stall.wants_restart(self.moves, now):
            for move in self.moves:
                move.pulse.retried = True
            self._serving = None  # until the leader has it up again: nothing else is asked of it
            self._say({"lost": "stalled"})

    def _judge(self, move: Move, task: Task, events: Sequence[Event]) -> None:
        move.seen, move.faults_seen = task, task.faults
        for case in move.cases.values():
            case.faults = task.faults
            case.troubles += outcome.troubles(events, case.troubles)
        decision = outcome.judge(task, events)
        if isinstance(decision, Succeeded):
            self.drop(move)
            move.stage = "ended"
            self._ending.success(move, lambda: self._resume(move))
        elif isinstance(decision, Hopeless) and task.status in ("SUCCEEDED", "FAILED"):
            self._end(move, move.verdict or decision)
        elif move.stage == "cancelling":
            self._insist(move)
        elif isinstance(decision, Hopeless):
            # INACTIVE too: it would go on as soon as somebody mends what it waits for.
            self._cancel(move, decision)
        else:
            self._go_on(move, task, decision)

    def _go_on(self, move: Move, task: Task, going: Going) -> None:
        self._trouble = self._trouble or going.trouble is not None
        now = time.monotonic()
        move.pulse.see(task, now)
        going = stall.judge(move, now, going) if self._serving is not None else going
        for case in move.live:
            progress = Progress(
                state=going.state,
                task=task.id,
                bytes_done=task.bytes_transferred,
                bytes_total=move.total,
                files_done=task.files_transferred,
                files_total=task.files or None,
                faults=task.faults,
                trouble=going.trouble,
            )
            self._intake.tell(case, progress)

    def _tell_all(self, move: Move, progress: Progress) -> None:
        for case in move.live:
            self._intake.tell(case, progress)

    def _resume(self, move: Move) -> None:
        """The service went away while the end was being proven: ask again."""
        move.stage = "moving"
        self.add(move)
        self._next_poll = time.monotonic() + 1.0

    # Ending -----------------------------------------------------------------------------------------------------

    def _cancel(self, move: Move, verdict: Hopeless | None) -> None:
        now = time.monotonic()
        move.stage, move.verdict, move.since, self._next_poll = "cancelling", verdict, now, 0.0
        move.not_before = now
        self._insist(move)

    def _insist(self, move: Move) -> None:
        """Ask for its end, until it comes; its requests are answered anyway after a while."""
        now = time.monotonic()
        assert move.task is not None
        if now - move.since > _CANCEL_SECONDS:
            self._end(move, move.verdict)
        elif now >= move.not_before:
            move.not_before = now + _CANCEL_AGAIN_SECONDS
            self.ask_for_end(move.task)

    def _end(self, move: Move, verdict: Hopeless | None) -> None:
        """Nothing moves any more. Whose fault it was hears so; the others start again, in halves if need be."""
        self.drop(move)
        move.stage = "ended"
        live = move.live
        guilty = _guilty(move, live, verdict)
        for case in live:
            if verdict is not None and case.id in guilty:
                case.leave(verdict.error)
        innocent = [case.id for case in live if not case.leaving]
        parts = batches.halves(innocent) if not guilty else (innocent, [])
        for number, part in enumerate(parts):
            for name in part:
                tag = move.key.part if guilty else f"{move.key.part}.{move.submission_id[:8]}-{number}"
                self._again(move.cases[name], tag)
        for case in move.cases.values():
            if case.leaving:
                case.phase = "closing"
                self._ending.wind_up(case, move)


def _guilty(move: Move, live: Sequence[Case], verdict: Hopeless | None) -> set[str]:
    """Those that the verdict is about; none where that can not be told."""
    names = {case.id for case in live}
    if verdict is None or verdict.shared or len(live) == 1:
        return names
    blamed = set(batches.blamed(move.key.direction, {case.id: case.items for case in live}, verdict.text))
    return blamed if blamed < names else set()


def _look(globus: Globus, faults: dict[str, int], checked: Serving | None) -> Look:
    tasks = dict(globus.tasks(list(faults)))
    events = {
        task.id: globus.events(task.id) for task in tasks.values() if outcome.wants_events(task, faults.get(task.id, 0))
    }
    unseen = None
    if checked is not None:
        unseen = not readiness.sees(globus, checked.endpoint, next(iter(checked.exchanges.values())))
    return Look(tasks, events, unseen)
