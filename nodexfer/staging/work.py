"""What the desk does, one small step at a time: it decides in one thread, and calls the service in others.

Everything that must outlive the desk is on disk before the service hears of it, so that a new desk goes on from any
moment: a request without ``batch.json`` is new; one with it and without a task is submitted again, under the same
submission id; one with a task is followed; one that was being published is published to the end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from nodexfer.clock import utc
from nodexfer.config import Config
from nodexfer.errors import EndpointFailed, NodexferError, ServiceUnreachable, TransferFailed
from nodexfer.globus.protocol import Globus
from nodexfer.staging import batches, exchange, look, spool
from nodexfer.staging.calls import Calls
from nodexfer.staging.cases import Case, Move, Serving
from nodexfer.staging.ending import Ending
from nodexfer.staging.follow import Follower
from nodexfer.staging.intake import Intake
from nodexfer.staging.need import Measure
from nodexfer.staging.request import BatchItem, Progress

#: Seconds between two looks at the spool when no bell rings.
_SCAN_SECONDS = 0.5
#: Seconds between two looks for what nobody asks for any more.
_SWEEP_SECONDS = 60.0
#: A request that failed together with others is tried again, in ever smaller company, so many times.
_ATTEMPTS = 10


class Work:
    """The requests of this place, from the spool to their results.

    :param say: gives the leader one message.
    """

    def __init__(
        self, globus: Globus, identity: str, config: Config, calls: Calls, say: Callable[[dict[str, Any]], None]
    ) -> None:
        self._globus = globus
        self._config = config
        self._calls = calls
        self._say = say
        self._intake = Intake(config, globus.service, identity)
        self._ending = Ending(globus, config, calls, self._intake)
        self._follower = Follower(globus, calls, self._intake, self._ending, self._again, say)
        self._measure = Measure(globus, calls, self._measured)
        self._serving: Serving | None = None
        self._ready = False
        self._next_scan = self._next_sweep = 0.0
        self._busy = 0
        self._spare_ids: list[str] = []
        self._asking_for_id = False

    # What the leader orders -------------------------------------------------------------------------------------

    def serve(self, serving: Serving) -> None:
        """The endpoint is ready. What moved under another lease starts anew: its tasks have been fenced off."""
        if self._serving is not None and serving.lease != self._serving.lease:
            for move in list(self._follower.moves):
                if any(case.publishing for case in move.cases.values()):
                    continue  # its task has ended
                self._follower.abandon(move)
                for case in move.cases.values():
                    self._again(case)
        self._serving, self._ready = serving, True
        self._follower.serve(serving)
        self._next_scan = self._next_sweep = 0.0

    def pause(self) -> None:
        """The endpoint is away. Nothing new is submitted; what moves goes on by itself when it is back."""
        self._ready = False
        self._follower.pause()

    def wake(self) -> None:
        """The bell has rung."""
        self._next_scan = 0.0

    # One step ---------------------------------------------------------------------------------------------------

    def step(self) -> float:
        """Do what can be done now; seconds until there may be more, unless something happens before."""
        self._calls.drain()
        now = time.monotonic()
        if now >= self._next_scan:
            self._next_scan = now + _SCAN_SECONDS
            self._intake.scan()
            self._intake.leaving()
        self._ending.let_go(case for case in self._intake.cases.values() if case.leaving)
        self._look(now)
        wait = min(_SCAN_SECONDS, self._next_scan - now)
        if self._serving is not None:
            self._take_up()
            wait = min(wait, self._submit(now), self._follower.step(now))
            self._sweep(self._serving, now)
        self._calls.drain()
        self._tell_busy()
        return max(wait, 0.0)

    def _sweep(self, serving: Serving, now: float) -> None:
        """Remove what commands left in the exchanges that were killed after their answer."""
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_SECONDS
        strangers = exchange.strangers(serving.exchanges.values(), self._intake.known())
        if strangers:
            self._calls.start(lambda: exchange.clear(strangers), lambda _: None)

    def _tell_busy(self) -> None:
        if len(self._intake.cases) != self._busy:
            self._busy = len(self._intake.cases)
            self._say({"busy": self._busy})

    # Looking ----------------------------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        for case in list(self._intake.cases.values()):
            if case.phase == "new" and not case.leaving and case.saved is None and now >= case.not_before:
                self._look_at(case)

    def _look_at(self, case: Case) -> None:
        case.phase = "looking"
        self._calls.start(lambda: self._items(case), lambda found: self._looked(case, found))

    def _items(self, case: Case) -> list[BatchItem]:
        if case.request.direction == "in":
            return look.sources(self._globus, case.request.ins)
        return look.destinations(self._globus, case.request)

    def _looked(self, case: Case, found: list[BatchItem] | NodexferError) -> None:
        if not isinstance(found, NodexferError):
            case.items, case.phase, case.since, case.failing_since = found, "ready", time.monotonic(), None
            if not self._ready:
                self._intake.tell(case, Progress(state="waiting for the endpoint"))
            self._measure.add(case)
            return
        case.phase = "new"
        if self._is_patient(case, found):
            self._intake.tell(case, Progress(state=f"trying again: {found.message}"))
        else:
            case.leave(found)

    def _measured(self, case: Case) -> None:
        if case.phase == "ready" and not case.leaving:  # else it is told with what else there is to tell
            self._intake.tell(
                case, Progress(state="waiting for its task" if self._ready else "waiting for the endpoint")
            )

    def _is_patient(self, case: Case, error: NodexferError) -> bool:
        """Whether the same call is worth another try: twice the service's own timeout long."""
        now = time.monotonic()
        if case.failing_since is None:
            case.failing_since = now
        failing = now - case.failing_since
        case.not_before = now + min(0.5 + failing, 5.0)
        transient = isinstance(error, (ServiceUnreachable, EndpointFailed))
        return transient and failing < 2 * self._config.service_timeout

    def _again(self, case: Case, part: str = "") -> None:
        """From the start, in other company or under another lease."""
        if case.move is not None and case.move.task is not None:
            case.tasks.append(case.move.task)
        case.move, case.saved, case.phase, case.part = None, None, "new", part
        case.attempts += 1
        if case.attempts > _ATTEMPTS:
            case.leave(TransferFailed(f"The request {case.id} failed in {_ATTEMPTS} attempts.", "nodexfer status"))

    # Submitting -------------------------------------------------------------------------------------------------

    def _take_up(self) -> None:
        """Go on with what an earlier desk has begun."""
        serving = self._serving
        assert serving is not None
        begun = [(case, case.saved) for case in self._intake.cases.values() if case.saved is not None]
        for case, saved in begun:
            case.items = list(saved.items)
            of_this_lease = (saved.endpoint, saved.lease) == (serving.endpoint, serving.lease)
            unwanted = saved.task is not None and self._intake.is_unwanted(case)
            if unwanted:
                case.leave(None)
            # What has arrived and is getting its names needs no endpoint any more; nor does tidying up what is over.
            if not (of_this_lease or saved.publishing or unwanted):
                if saved.task is not None:
                    case.tasks.append(saved.task)
                    # Fenced off already, unless the endpoint is another one now.
                    self._follower.ask_for_end(saved.task)
                self._again(case)
                continue
            move = self._follower.find(saved.submission_id)
            if move is None:
                move = Move(case.key, saved.submission_id, saved.label, saved.deadline, serving)
                move.task, move.endpoint, move.lease = saved.task, saved.endpoint, saved.lease
                self._follower.add(move)
            case.saved = None
            self._join(case, move)
        for move in {case.move for case, _ in begun if case.move is not None}:
            if move.task is None and move.stage == "asking":
                self._follower.submit(move)
            elif move.task is not None:
                move.stage = "moving"

    def _join(self, case: Case, move: Move) -> None:
        case.move, case.phase = move, "moving"
        move.cases[case.id] = case

    def _submit(self, now: float) -> float:
        """Put what is ready into tasks; seconds until some of it should go without more company."""
        ready = [case for case in self._intake.cases.values() if case.phase == "ready" and not case.leaving]
        if not self._ready or not ready:
            return _SCAN_SECONDS
        company = any(case.phase == "looking" for case in self._intake.cases.values())
        moving = sum(move.has_a_slot for move in self._follower.moves)
        waits = []
        by_end = sorted(ready, key=lambda case: case.request.deadline)
        # Who runs out of time first is served first: Globus takes few tasks at a time.
        for key in dict.fromkeys(case.key for case in by_end):
            group = [case for case in by_end if case.key == key]
            alike = sum(move.key[:2] == key[:2] for move in self._follower.moves)
            age = now - min(case.since for case in group)
            crowd = self._intake.is_crowded(group[0].request.job)
            wait = batches.wait_before_submit(age, alike, moving, company=company, crowd=crowd)
            if wait is not None and wait > 0:
                waits.append(wait)
            elif wait is not None:
                self._begin(group[: batches.fill([len(case.items) for case in group])])
        return min(waits, default=_SCAN_SECONDS)

    def _begin(self, group: Sequence[Case]) -> None:
        """Settle where things lie, write it down, and only then tell the service."""
        serving = self._serving
        assert serving is not None
        if not self._spare_ids:
            self._ask_for_id()
            return
        prepared = [case for case in group if self._prepare(case, serving)]
        if not prepared:
            return
        submission_id = self._spare_ids.pop()
        deadline = utc(max(case.request.deadline for case in prepared))
        mark = batches.label(serving.endpoint, serving.lease, submission_id)
        move = Move(prepared[0].key, submission_id, mark, deadline, serving)
        for case in prepared:
            case.waited_endpoint = max(0.0, serving.since - case.request.created)
            self._join(case, move)
            try:
                spool.write(case.directory, spool.BATCH, move.batch(case))
            except (NodexferError, OSError) as error:
                self._leave_move(case, move, error)
            else:
                # What its command has called off by now it may have removed, and nobody would know of the task.
                if spool.is_cancelled(case.directory) or not os.path.isdir(case.directory):
                    self._leave_move(case, move, None)
        if move.cases:
            self._follower.add(move)
            self._follower.submit(move)
        self._ask_for_id()

    def _prepare(self, case: Case, serving: Serving) -> bool:
        node_dir = self._config.node_dir
        try:
            case.items = exchange.places(case.request, case.items, serving.exchanges, node_dir)
            exchange.prepare(case.request, case.items, serving.exchanges, node_dir)
        except NodexferError as error:
            case.leave(error)
        except OSError as error:
            case.leave(TransferFailed(f"The exchange can not be used: {error}.", "nodexfer status"))
        return not case.leaving

    def _leave_move(self, case: Case, move: Move, error: Exception | None) -> None:
        del move.cases[case.id]
        case.move, case.phase = None, "ready"
        known = (
            error
            if error is None or isinstance(error, NodexferError)
            else TransferFailed(f"{case.directory}: {error}.", "nodexfer status")
        )
        case.leave(known)

    def _ask_for_id(self) -> None:
        """Have one submission id in hand: it saves a call when a request comes."""
        if self._asking_for_id or self._spare_ids:
            return
        self._asking_for_id = True

        def have(answer: str | NodexferError) -> None:
            self._asking_for_id = False
            if isinstance(answer, str):
                self._spare_ids.append(answer)
                return
            for case in self._intake.cases.values():
                if case.phase == "ready" and not self._is_patient(case, answer):
                    case.leave(answer)

        self._calls.start(self._globus.submission_id, have)
