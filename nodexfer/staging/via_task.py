"""One Globus task between a far collection and the site's own, followed to its proof: no endpoint of ours is in it.

It has no desk: one process asks, waits and publishes. What must outlive it is on disk before the service hears
of it, as at the desk: the submission id before the task, the task's id, and that it is proven before the first output
gets its final name. Who runs it again goes on from there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence

import msgspec

from nodexfer.clock import utc
from nodexfer.errors import DeadlinePassed, NodexferError
from nodexfer.globus.protocol import Event, Globus, Submission, Task
from nodexfer.staging import batches, look, need, outcome, proof, remote
from nodexfer.staging.outcome import Going, Hopeless, Succeeded
from nodexfer.staging.proof import Sized
from nodexfer.staging.request import Batch, BatchItem, MovedItem, Progress, Result
from nodexfer.staging.via_errand import AWAY, Errand, forget, keep, patiently, saved
from nodexfer.staging.via_watch import Watch

#: Seconds between two looks at the task: a tenth of its age, within these bounds.
_POLL = (0.1, 5.0)
#: Seconds that a cancelled task gets to end.
_CANCEL_SECONDS = 20.0


def carry(errand: Errand) -> Result:
    """Move what the request names, prove it, and give outputs their final names. May be done again after a death.

    Inputs lie in ``data`` afterwards, for the caller to publish.

    :raises DeadlinePassed: the request's deadline has passed; the task may go on, and so may who calls this again.
    :raises NodexferError: it came to nothing, and nothing is left of it at the far side; or the message says what.
    """
    watch = Watch(errand.request.stall, time.monotonic())
    begun = saved(errand)
    if begun is not None:
        try:
            return _go_on(errand, begun, watch)
        except NodexferError:
            if saved(errand) is not None:
                raise
            # What an earlier process began had come to nothing by now, and has been tidied up.
    return _go_on(errand, _plan(errand), watch)


def _go_on(errand: Errand, batch: Batch, watch: Watch) -> Result:
    if batch.task is None:
        batch = _submit(errand, batch)
    found = Sized([])
    if not batch.publishing:
        if not _follow(errand, batch, watch):
            return _go_on(errand, _plan(errand), watch)
        try:
            found = patiently(errand, lambda: _prove(errand, batch))
        except AWAY:
            raise
        except NodexferError:
            give_up(errand, batch)
            raise
    if errand.direction == "out":
        batch = keep(errand, msgspec.structs.replace(batch, publishing=True))
        _publish(errand, batch)
    return _result(batch, found, watch)


def _plan(errand: Errand) -> Batch:
    """Look at the far side, and settle what is to be submitted."""
    globus, request = errand.globus, errand.request
    before = saved(errand, whole=False)
    errand.tell(Progress(state="looking at the other side"))

    def items() -> list[BatchItem]:
        return look.sources(globus, request.ins) if request.ins else look.destinations(globus, request)

    found = [msgspec.structs.replace(item, local=f"{errand.data}/{item.number}") for item in patiently(errand, items)]
    if request.measure:
        known = need.of(globus, errand.collection, found, need.WAITED_FOR)
        errand.tell(Progress(state="looking at the other side", need=known))
    return keep(
        errand,
        Batch(
            submission_id=patiently(errand, globus.submission_id),
            label=errand.label,
            deadline=utc(request.deadline),
            collection=errand.collection,
            endpoint=errand.site.id,
            lease=0,
            items=tuple(found),
            earlier=before.earlier if before else (),
            attempts=before.attempts + 1 if before else 1,
        ),
    )


def _submit(errand: Errand, batch: Batch) -> Batch:
    outgoing = errand.direction == "out"
    submission = Submission(
        submission_id=batch.submission_id,
        source_endpoint=batch.endpoint if outgoing else batch.collection,
        destination_endpoint=batch.collection if outgoing else batch.endpoint,
        items=tuple(batches.transfer_items(errand.direction, errand.seen(batch.items))),
        label=batch.label,
        deadline=batch.deadline,
    )
    try:
        task = patiently(errand, lambda: errand.globus.submit(submission))
    except AWAY:
        raise
    except NodexferError:
        forget(errand)
        raise
    return keep(errand, msgspec.structs.replace(batch, task=task))


# The task ---------------------------------------------------------------------------------------------------------


def _follow(errand: Errand, batch: Batch, watch: Watch) -> bool:
    """Wait until the task has succeeded. False: it stood still, and has been ended and tidied up after.

    :raises DeadlinePassed: it has not by then. :raises NodexferError: it will not; it has been ended.
    """
    assert batch.task is not None
    sizes = [item.size for item in batch.items]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    began = time.monotonic()
    watch.begin(total, began)
    while True:
        try:
            task, events = _look(errand.globus, batch.task, watch.faults_seen)
        except AWAY as error:
            errand.tell(Progress(state=f"trying again: {error.message}", task=batch.task))
            task, events = None, ()
        if task is not None:
            good = _decide(errand, batch, watch, task, events, total)
            if good is not None:
                return good
        if time.time() >= errand.request.deadline:
            raise DeadlinePassed(
                f"Task {batch.task} has not ended by {utc(errand.request.deadline)}; nothing was published.",
                f"globus task show {batch.task}",
            )
        time.sleep(min(max((time.monotonic() - began) / 10, _POLL[0]), _POLL[1]))


def _decide(
    errand: Errand, batch: Batch, watch: Watch, task: Task, events: Sequence[Event], total: int | None
) -> bool | None:
    """None: it goes on; else as :func:`_follow`."""
    now = time.monotonic()
    watch.see(task, events, now)
    decision = outcome.judge(task, events)
    if isinstance(decision, Succeeded):
        return True
    if isinstance(decision, Going):
        _tell(errand, task, watch.judge(decision, now), total)
        if not watch.ends(now):
            return None
    ended = _end(errand.globus, task)
    if ended:
        give_up(errand, batch)
    if isinstance(decision, Hopeless) and not (ended and watch.called_off):
        raise decision.error
    return False if ended else None


def _look(globus: Globus, task: str, faults: int) -> tuple[Task | None, Sequence[Event]]:
    found = globus.tasks([task]).get(task)
    wants = found is not None and outcome.wants_events(found, faults)
    return found, globus.events(task) if wants else ()


def _tell(errand: Errand, task: Task, going: Going, total: int | None) -> None:
    errand.tell(
        Progress(
            state=going.state,
            task=task.id,
            bytes_done=task.bytes_transferred,
            bytes_total=total,
            files_done=task.files_transferred,
            faults=task.faults,
            trouble=going.trouble,
        )
    )


def _end(globus: Globus, task: Task) -> bool:
    """Whether it was seen to end, in 20 s at most. Of one that was not, what is on disk stays, to be ended later."""
    end = time.monotonic() + _CANCEL_SECONDS
    while not _has_ended(task):
        if time.monotonic() > end:
            return False
        try:
            globus.cancel(task.id)
            task = globus.tasks([task.id]).get(task.id, task)
        except NodexferError:
            pass
        if not _has_ended(task):
            time.sleep(0.2)
    return True


def _has_ended(task: Task) -> bool:
    """One that is INACTIVE would go on as soon as somebody mends what it waits for."""
    return task.over and task.status != "INACTIVE"


def call_off(errand: Errand) -> None:
    """End its task, if there is one, and remove what it left. Nobody else is at work on it.

    What was proven and may have its name in part gets it to the end: what it replaces lies aside meanwhile.
    """
    batch = saved(errand)
    if batch is None:
        return
    if batch.publishing:
        _publish(errand, batch)
        forget(errand)
        return
    if batch.task is None:  # it may have been heard all the same: the same id names the same task
        batch = _submit(errand, batch)
    found = errand.globus.tasks([batch.task or ""]).get(batch.task or "")
    if found is None or _end(errand.globus, found):
        give_up(errand, batch)


def give_up(errand: Errand, batch: Batch) -> None:
    """Remove what the task left at either side; the next attempt starts anew."""
    if errand.direction == "out":
        remote.remove(errand.globus, batch.collection, [item.temporary for item in batch.items])
    else:
        shutil.rmtree(errand.data, ignore_errors=True)
    earlier = (*batch.earlier, *([batch.task] if batch.task else []))
    keep(
        errand,
        msgspec.structs.replace(batch, submission_id="", task=None, items=(), earlier=earlier, publishing=False),
    )


# The end ----------------------------------------------------------------------------------------------------------


def _prove(errand: Errand, batch: Batch) -> Sized:
    """:raises TransferUnproven: what was moved is not what was asked."""
    globus, items = errand.globus, list(batch.items)
    assert batch.task is not None
    moved = batches.whose(errand.direction, {errand.request.id: errand.seen(items)}, globus.moved(batch.task))
    found = Sized(moved[errand.request.id])
    if errand.direction == "in":
        found = proof.sized(globus, batch.collection, items, found.files)
    outcome.prove(errand.direction, items, errand.request.outs, found.files)
    if errand.direction == "out":
        remote.prove_sizes(globus, batch.collection, items)
    return found


def _publish(errand: Errand, batch: Batch) -> None:
    globus, request = errand.globus, errand.request
    errand.tell(Progress(state="giving the outputs their names", task=batch.task))

    def publish() -> None:
        remote.publish(globus, batch.collection, batch.items, overwrite=request.overwrite, merge=request.merge)

    try:
        patiently(errand, publish)
    except AWAY:
        raise
    except NodexferError:
        remote.put_back(globus, batch.collection, batch.items, merge=request.merge)
        give_up(errand, batch)
        raise


def _result(batch: Batch, found: Sized, watch: Watch) -> Result:
    return Result(
        tasks=(*batch.earlier, *([batch.task] if batch.task else [])),
        attempts=batch.attempts,
        faults=watch.faults,
        troubles=tuple(watch.troubles),
        items=tuple(
            MovedItem(item.number, item.is_directory, item.local, item.remote, item.size) for item in batch.items
        ),
        files=tuple(found.files),
        warnings=found.warnings,
    )
