"""The route ``via``: one task to or from the site's own collection, and a checked local copy; no endpoint of ours.

The command copies, its child (:mod:`nodexfer.staging.via_child`) asks Globus. A request by this route is in the spool
with its result.json from the beginning: no desk takes it up, and what is left of it here is cleaned as of any other.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable, Sequence

import msgspec

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.errors import (
    ChangedMeanwhile,
    CollectionUnknown,
    DeadlinePassed,
    NodexferError,
    TransferFailed,
    TransferUnproven,
    from_record,
)
from nodexfer.paths import RootPaths
from nodexfer.staging import checksum, copying, exchange, ground, salvage_copy, spool, via_area
from nodexfer.staging.client import Client
from nodexfer.staging.request import Batch, MovedItem, Progress, Request, Result
from nodexfer.staging.salvage_copy import THREADS, Copied, Crew, Damaged, Stopped, Wanted

#: Seconds that the child gets to end its task in good order.
_END_SECONDS = 25.0
#: Seconds after the deadline that a thread gets to come back from the file system.
_GRACE_SECONDS = 2.0
_HELP = "nodexfer stage-out --help"


def is_open(who: Client) -> bool:
    """Whether the configuration names a collection to go by."""
    try:
        via_area.find(who.config)
    except CollectionUnknown:
        return False
    return True


def results(who: Client, requests: Sequence[Request], directories: list[str]) -> list[Result]:
    """Move what each request asks for, in turn; in the order given.

    Inputs lie beside their destinations then, outputs have their names. ``directories`` gets what is in the spool.

    :raises NodexferError: the first that one of them ends with; nothing is left of it but that.
    """
    found: list[Result] = []
    for request in requests:
        directories.append(_note(who, request))
        try:
            found.append(_result(who, request))
        except NodexferError as error:
            sent = [item.remote for other in found for item in other.items if request.outs]
            before = f" Moved before: {', '.join(sent)}." if sent else ""
            raise type(error)(f"{error.message}{before}", error.next) from error
    return found


def _note(who: Client, request: Request) -> str:
    placeholder = Result(error=TransferFailed("It went via the site's own collection.", "").as_record())
    return spool.ask(who.config.node_paths, request, placeholder)


def _result(who: Client, request: Request) -> Result:
    area = via_area.find(who.config)
    directory = via_area.make(area, request)
    try:
        if request.direction == "out":
            _copy_out(who, request, f"{directory}/data")
        result = _carry(who, request, directory)
    except BaseException:
        if _is_over(directory):
            via_area.remove(directory)
        raise
    try:
        return _copy_in(who, request, result) if request.direction == "in" else result
    finally:
        via_area.remove(directory)


def _is_over(directory: str) -> bool:
    """Whether no task is left to be ended: else the next request by this route needs what is written here."""
    batch = spool.read(directory, via_area.TASK, Batch)
    return batch is None or not batch.submission_id


# The child ------------------------------------------------------------------------------------------------------


def _carry(who: Client, request: Request, directory: str) -> Result:
    environ = {**who.environ, **who.config.environment()}
    if who.config.file is not None:  # the child works elsewhere
        environ["NODEXFER_CONFIG"] = os.path.abspath(who.config.file)
    argv = procs.python("-m", "nodexfer.staging.via_child", directory)
    child = procs.spawn(argv, environ=environ, stdin=procs.PIPE, stdout=procs.PIPE, stderr=2, cwd="/")
    try:
        return _listen(who, request, child)
    finally:
        child.close()  # its stdin ends: if it is still at work, it ends that
        if child.wait(_END_SECONDS) is None:
            child.kill()
            child.wait(1.0)


def _listen(who: Client, request: Request, child: procs.Process) -> Result:
    assert child.stdout is not None
    rest, end = b"", request.deadline + who.grace
    said = select.poll()  # not select(), which refuses numbers above 1023: a Parsl worker may have more files open
    said.register(child.stdout, select.POLLIN)
    while True:
        if not said.poll(1000):
            if time.time() > end:
                raise DeadlinePassed("The request was not done by its deadline, and was called off.", "nodexfer status")
            continue
        text = os.read(child.stdout.fileno(), 65536)
        if not text:
            raise TransferFailed("The child that asks Globus has ended without a word.", "nodexfer status")
        *lines, rest = (rest + text).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "progress" in message:
                who.on_progress(msgspec.convert(message["progress"], Progress))
            elif "error" in message:
                raise from_record(message["error"])
            else:
                return msgspec.convert(message["result"], Result)


# Copies ---------------------------------------------------------------------------------------------------------


def _copy_out(who: Client, request: Request, data: str) -> None:
    for out in request.outs:
        source = f"{RootPaths.of(out.root, who.config.node_dir).outgoing(request.id)}/{out.number}"
        _copy(who, source, f"{data}/{out.number}", "to the site's file system")
    places = sorted({RootPaths.of(out.root, who.config.node_dir).outgoing(request.id) for out in request.outs})
    sums = checksum.of_trees(places, request.deadline) if request.verify == "checksum" else None
    if exchange.fingerprint(places, sums) != request.fingerprint:
        raise ChangedMeanwhile("An output was written to while it was copied; nothing was published.", _HELP)


def _copy_in(who: Client, request: Request, result: Result) -> Result:
    """Beside the destinations, each in a directory of its own: ``<litter>/<number>``."""
    places = dict(zip((item.number for item in request.ins), request.litter, strict=True))
    items = []
    for item in result.items:
        place = places[item.number]
        ground.refuse_full(os.path.dirname(place), copying.size_of(item.local), [item.remote])
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.mkdir(place, 0o700)
        except OSError as error:
            raise copying.named(error, f"{place} could not be made; nothing was published") from error
        _copy(who, item.local, f"{place}/{item.number}", "to this node")
        items.append(MovedItem(item.number, item.is_directory, f"{place}/{item.number}", item.remote, item.size))
    return msgspec.structs.replace(result, items=tuple(items))


def _copy(who: Client, source: str, target: str, where: str) -> None:
    """A file or a directory of plain files, every copy proven.

    :raises NodexferError: it was not copied, or not proven.
    """
    files = [(source, target)]
    try:
        if os.path.isdir(source):
            files = _tree(source, target)
    except OSError as error:
        raise copying.named(error, f"{source} could not be copied {where}") from error
    wanted = [Wanted(one, other, os.path.getsize(one)) for one, other in files]
    trouble: list[tuple[str, Exception]] = []
    done = [0]

    def note(index: int, found: Copied | Exception) -> None:
        if isinstance(found, Exception):
            trouble.append((wanted[index].source, found))
        else:
            done[0] += found.size

    crew = Crew(list(enumerate(wanted)), note, who.deadline, THREADS)
    total = sum(one.size for one in wanted)
    over = Deadline(Deadline.from_epoch(who.deadline).left + _GRACE_SECONDS)
    if not _wait(
        crew, over, lambda: who.on_progress(Progress(state=f"copying {where}", bytes_done=done[0], bytes_total=total))
    ):
        trouble.append((source, Stopped()))
    if trouble:
        raise _named(*trouble[0], where)


def _wait(crew: Crew, over: Deadline, tell: Callable[[], None]) -> bool:
    """Whether it came to its end: a thread may sit in the file system, and is left behind when it is ``over``."""
    try:
        while not (ended := crew.wait(0.2)) and not over.passed:
            tell()
        return ended
    except BaseException:
        crew.call_off()
        crew.wait(_GRACE_SECONDS)
        raise


def _tree(source: str, target: str) -> list[tuple[str, str]]:
    """The directories are made; (from, to) of every file."""
    found = []
    for where, _, names in os.walk(source):
        place = os.path.normpath(os.path.join(target, os.path.relpath(where, source)))
        os.mkdir(place, 0o700)
        found += [(os.path.join(where, name), os.path.join(place, name)) for name in names]
    return found


def _named(source: str, error: Exception, where: str) -> NodexferError:
    if isinstance(error, Stopped):
        return DeadlinePassed(f"The time was up while {source} was copied {where}.", "nodexfer status")
    if isinstance(error, Damaged):
        kind = ChangedMeanwhile if str(error) == salvage_copy.CHANGED else TransferUnproven
        return kind(f"{source}: {error}; nothing was published.", _HELP)
    assert isinstance(error, OSError)
    return copying.named(error, f"{source} could not be copied {where}, and nothing was published")
