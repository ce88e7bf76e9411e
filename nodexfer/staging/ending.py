"""How requests end: proven and published, or with an error and nothing left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

import msgspec

from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import (
    ChangedMeanwhile,
    NodexferError,
    TransferUnproven,
)
from nodexfer.globus.protocol import Globus
from nodexfer.staging import batches, checksum, exchange, outcome, proof, remote, spool
from nodexfer.staging.calls import Calls
from nodexfer.staging.cases import Case, Move
from nodexfer.staging.intake import Intake
from nodexfer.staging.proof import Sized
from nodexfer.staging.request import BatchItem, MovedFile, MovedItem, Progress, Result

_AWAY = remote.AWAY
#: Seconds between two tries while the service is away.
PAUSE_SECONDS = 1.0
#: While the service or the collection is away, what a request left there is tried to be removed for so long (s): where
#: an error is to be told, and where its command is dead.
_TIDY_SECONDS, _NOBODY_WAITS_SECONDS = 10.0, 60.0
#: What a request moved, or why that is not proven.
Found: TypeAlias = "Sized | TransferUnproven"


class Ending:
    def __init__(self, globus: Globus, config: Config, calls: Calls, intake: Intake) -> None:
        self._globus = globus
        self._config = config
        self._calls = calls
        self._intake = intake

    # Without a task ---------------------------------------------------------------------------------------------

    def let_go(self, leaving: Iterable[Case]) -> None:
        """Close those for which nothing moves; the others are closed when their task has ended."""
        for case in list(leaving):
            if case.move is None and case.saved is None and case.phase in ("new", "ready"):
                case.phase = "closing"
                if case.attempts > 1 and case.request.direction == "out":  # an earlier one may have left something
                    self._tidy(case, partial(self._close, case))
                else:
                    self._close(case)

    def _close(self, case: Case) -> None:
        if case.items:
            exchange.clear({os.path.dirname(item.local) for item in case.items if item.local})
        self._intake.close(case, None if case.error is None else Result(error=case.error.as_record()))

    # With a task that came to nothing ---------------------------------------------------------------------------

    def wind_up(self, case: Case, move: Move) -> None:
        """Remove what a request left at both sides, then give its answer. Nothing writes for it any more."""
        if case.error is not None:
            self.write(case, spool.BATCH, move.batch(case))
        self._tidy(case, lambda: self._intake.close(case, self._failure(case, move)))

    def _tidy(self, case: Case, close: Callable[[], None]) -> None:
        """Remove what it left at both sides, and then ``close`` it."""
        deadline = Deadline(_NOBODY_WAITS_SECONDS if case.error is None else _TIDY_SECONDS)

        def clean() -> None:
            exchange.clear({os.path.dirname(item.local) for item in case.items if item.local})
            if case.publishing:
                remote.put_back(self._globus, case.collection, case.items, merge=case.request.merge)
            elif case.request.direction == "out":
                remote.clear(self._globus, case.collection, [item.temporary for item in case.items])

        def cleaned(answer: NodexferError | None) -> None:
            away = isinstance(answer, _AWAY)
            if (away or isinstance(answer and answer.__cause__, _AWAY)) and not deadline.passed:
                self._calls.start(lambda: _after_a_pause(clean), cleaned)
                return
            if answer is not None and case.error is not None and not away:
                case.error = type(case.error)(f"{case.error.message} {answer.message}", answer.next)
            close()

        self._calls.start(clean, cleaned)

    def _failure(self, case: Case, move: Move) -> Result | None:
        if case.error is None:
            return None
        return Result(
            error=case.error.as_record(),
            endpoint=move.endpoint,
            lease=move.lease,
            tasks=self._tasks(case, move),
            attempts=case.attempts,
            faults=case.faults,
            troubles=tuple(case.troubles),
            waited_endpoint=case.waited_endpoint,
        )

    def _tasks(self, case: Case, move: Move) -> tuple[str, ...]:
        return (*case.tasks, *([move.task] if move.task else []))

    # With a task that succeeded ---------------------------------------------------------------------------------

    def success(self, move: Move, resume: Callable[[], None]) -> None:
        """The task SUCCEEDED: prove each request by the list of what was moved, publish outputs, answer.

        :param resume: called when the service can not be reached for that list: the task is to be asked for again.
        """
        task = move.task
        assert task is not None

        def proven(answer: dict[str, Found] | NodexferError) -> None:
            if isinstance(answer, _AWAY):
                resume()
                return
            for case in list(move.cases.values()):
                self._settle(case, move, answer)

        items = move.items
        self._calls.start(lambda: self._moved(move, task, items), proven)

    def _moved(self, move: Move, task: str, items: dict[str, list[BatchItem]]) -> dict[str, Found]:
        """What the service says it moved, by request; of files from directories with the sizes at the source."""
        moved = batches.whose(move.key.direction, items, self._globus.moved(task))
        found: dict[str, Found] = {request: Sized(files) for request, files in moved.items()}
        if move.key.direction == "in":
            for request, own in items.items():
                found[request] = self._sized(move.key.collection, own, moved[request])
        return found

    def _sized(self, collection: str, items: list[BatchItem], files: list[MovedFile]) -> Found:
        """Of one of the requests: what it lacks is not the others' fault."""
        try:
            return proof.sized(self._globus, collection, items, files)
        except TransferUnproven as error:
            return error

    def _settle(self, case: Case, move: Move, answer: dict[str, Found] | NodexferError) -> None:
        case.phase = "closing"
        try:
            found = answer if isinstance(answer, NodexferError) else answer[case.id]
            if isinstance(found, NodexferError):
                raise found
            outcome.prove(move.key.direction, case.items, case.request.outs, found.files)
        except NodexferError as error:
            case.leave(error)
            self.wind_up(case, move)
            return
        if case.publishing:
            self._publish(case, move, found)
        elif case.leaving:
            self.wind_up(case, move)
        elif move.key.direction == "in":
            self._intake.close(case, self._done(case, move, found))
        else:
            self._prove_and_publish(case, move, found)

    def _prove_and_publish(self, case: Case, move: Move, found: Sized) -> None:
        def prove() -> None:
            self._refuse_changed(case)
            remote.prove_sizes(self._globus, move.key.collection, case.items)

        def publish() -> None:
            if case.leaving:
                self.wind_up(case, move)
                return
            # Only now: the next desk proves nothing of what is said to be.
            case.publishing = True
            try:
                spool.write(case.directory, spool.BATCH, move.batch(case))
            except NodexferError as error:
                # A desk that goes on after us would not know, and call what has its name already missing.
                case.publishing = False
                case.leave(error)
                self.wind_up(case, move)
                return
            self._publish(case, move, found)

        self._intake.tell(case, Progress(state="giving the outputs their names", task=move.task))
        self._do(case, move, prove, publish)

    def _publish(self, case: Case, move: Move, found: Sized) -> None:
        """Rename the outputs into place: also for one that nobody waits for any more, since the half is worse."""
        request, collection = case.request, move.key.collection

        def publish() -> None:
            remote.publish(self._globus, collection, case.items, overwrite=request.overwrite, merge=request.merge)

        def published() -> None:
            nobody_asks = case.leaving and case.error is None
            if nobody_asks:
                exchange.clear({os.path.dirname(item.local) for item in case.items})
            self._intake.close(case, None if nobody_asks else self._done(case, move, found))

        self._do(case, move, publish, published)

    def _do(self, case: Case, move: Move, step: Callable[[], None], then: Callable[[], None]) -> None:
        """Do a step, again and again while the service is away and the request is wanted; then the next, or the end."""

        def did(answer: NodexferError | None) -> None:
            if answer is None:
                then()
            elif isinstance(answer, _AWAY) and not case.leaving:
                self._calls.start(lambda: _after_a_pause(step), did)
            else:
                case.leave(answer)
                self.wind_up(case, move)

        self._calls.start(step, did)

    def _refuse_changed(self, case: Case) -> None:
        directories = sorted({os.path.dirname(item.local) for item in case.items})
        request = case.request
        sums = checksum.of_trees(directories, request.deadline) if request.verify == "checksum" else None
        if request.fingerprint and exchange.fingerprint(directories, sums) != request.fingerprint:
            raise ChangedMeanwhile(
                "An output was written to while it was being sent, and what arrived may be a mixture; nothing was "
                "published. Send it again when the program is done with it.",
                "nodexfer stage-out --help",
            )

    def _done(self, case: Case, move: Move, found: Sized) -> Result:
        return Result(
            endpoint=move.endpoint,
            lease=move.lease,
            tasks=self._tasks(case, move),
            attempts=case.attempts,
            faults=case.faults,
            troubles=tuple(case.troubles),
            waited_endpoint=case.waited_endpoint,
            items=tuple(
                MovedItem(item.number, item.is_directory, item.local, item.remote, item.size) for item in case.items
            ),
            files=tuple(found.files),
            warnings=found.warnings,
        )

    def write(self, case: Case, name: str, record: msgspec.Struct) -> None:
        """Write one of the request's records; one that has gone, or a full disk, is found out about elsewhere."""
        try:
            spool.write(case.directory, name, record)
        except (NodexferError, OSError):
            pass


def _after_a_pause(function: Callable[[], None]) -> None:
    time.sleep(PAUSE_SECONDS)
    function()
