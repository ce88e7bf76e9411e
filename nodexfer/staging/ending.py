"""How requests end: proven and published, or with an error and nothing left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

import msgspec

from nodexfer.config import Config
from nodexfer.errors import EndpointFailed, NodexferError, ServiceUnreachable, TransferUnproven
from nodexfer.globus.protocol import Globus
from nodexfer.staging import batches, exchange, look, outcome, remote, spool
from nodexfer.staging.calls import Calls
from nodexfer.staging.cases import Case, Move
from nodexfer.staging.intake import Intake
from nodexfer.staging.request import BatchItem, MovedFile, MovedItem, Progress, Result

_AWAY = (ServiceUnreachable, EndpointFailed)


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
                self._close(case)

    def _close(self, case: Case) -> None:
        if case.items:
            exchange.clear({os.path.dirname(item.local) for item in case.items if item.local})
        self._intake.close(case, None if case.error is None else Result(error=case.error.as_record()))

    # With a task that came to nothing ---------------------------------------------------------------------------

    def wind_up(self, case: Case, move: Move) -> None:
        """Remove what a request left at both sides, then give its answer. Nothing writes for it any more."""

        def clean() -> None:
            exchange.clear({os.path.dirname(item.local) for item in case.items})
            if move.key.direction == "out":
                remote.remove(self._globus, move.key.collection, [item.temporary for item in case.items])

        self._calls.start(clean, lambda _: self._intake.close(case, self._failure(case, move)))

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

        def proven(answer: dict[str, list[MovedFile]] | NodexferError) -> None:
            if isinstance(answer, _AWAY):
                resume()
                return
            for case in list(move.cases.values()):
                self._settle(case, move, answer)

        items = move.items
        self._calls.start(lambda: self._moved(move, task, items), proven)

    def _moved(self, move: Move, task: str, items: dict[str, list[BatchItem]]) -> dict[str, list[MovedFile]]:
        """What the service says it moved, by request; of files from directories with the sizes at the source."""
        found = batches.whose(move.key.direction, items, self._globus.moved(task))
        if move.key.direction == "in":
            for request, own in items.items():
                found[request] = self._sized(move.key.collection, own, found[request])
        return found

    def _sized(self, collection: str, items: list[BatchItem], files: list[MovedFile]) -> list[MovedFile]:
        known = {
            item.number: look.sizes(self._globus, collection, item.remote) or {} for item in items if item.is_directory
        }
        return [
            MovedFile(file.number, file.path, known[file.number].get(file.path)) if file.number in known else file
            for file in files
        ]

    def _settle(self, case: Case, move: Move, answer: dict[str, list[MovedFile]] | NodexferError) -> None:
        case.phase = "closing"
        files: list[MovedFile] = []
        try:
            if isinstance(answer, NodexferError):
                raise answer
            files = answer[case.id]
            outcome.prove(move.key.direction, case.items, case.request.outs, files)
        except NodexferError as error:
            case.leave(error)
        if case.leaving:
            self.wind_up(case, move)
        elif move.key.direction == "in":
            self._intake.close(case, self._done(case, move, files))
        else:
            self._publish(case, move, files)

    def _publish(self, case: Case, move: Move, files: list[MovedFile]) -> None:
        """Rename the outputs into place. While the service is away it is tried again, until the request's deadline."""
        request = case.request
        begun = move.publishing
        move.publishing = True
        if not begun:
            self.write(case, spool.BATCH, move.batch(case))

        self._intake.tell(case, Progress(state="giving the outputs their names", task=move.task))

        def publish() -> None:
            nonlocal begun
            if not begun:
                self._refuse_changed(case)
                remote.prove_sizes(self._globus, move.key.collection, case.items)
                begun = True
            remote.publish(
                self._globus, move.key.collection, case.items, overwrite=request.overwrite, merge=request.merge
            )

        def published(answer: NodexferError | None) -> None:
            if isinstance(answer, _AWAY) and not case.leaving:
                self._calls.start(lambda: _after_a_pause(publish), published)
            elif isinstance(answer, NodexferError):
                case.leave(answer)
                self.wind_up(case, move)
            else:
                self._intake.close(case, self._done(case, move, files))

        self._calls.start(publish, published)

    def _refuse_changed(self, case: Case) -> None:
        directories = {os.path.dirname(item.local) for item in case.items}
        if case.request.fingerprint and exchange.fingerprint(sorted(directories)) != case.request.fingerprint:
            raise TransferUnproven(
                "An output was written to while it was being sent, and what arrived may be a mixture; nothing was "
                "published. Send it again when the program is done with it.",
                "nodexfer stage-out --help",
            )

    def _done(self, case: Case, move: Move, files: list[MovedFile]) -> Result:
        return Result(
            endpoint=move.endpoint,
            lease=move.lease,
            tasks=self._tasks(case, move),
            attempts=case.attempts,
            faults=case.faults,
            waited_endpoint=case.waited_endpoint,
            items=tuple(
                MovedItem(item.number, item.is_directory, item.local, item.remote, item.size) for item in case.items
            ),
            files=tuple(files),
        )

    def write(self, case: Case, name: str, record: msgspec.Struct) -> None:
        """Write one of the request's records; one that has gone, or a full disk, is found out about elsewhere."""
        try:
            spool.write(case.directory, name, record)
        except (NodexferError, OSError):
            pass


def _after_a_pause(function: Callable[[], None]) -> None:
    time.sleep(1.0)
    function()
