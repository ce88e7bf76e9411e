"""Outputs get their final names at the far side, by the Transfer API's rename, after proof.

Every step can be done again: a desk that continues after a dead one finds under which name things are. What is being
replaced is renamed aside first, so that for two calls' time its name leads nowhere, and is deleted at the end; a death
in between leaves it whole, as ``<temporary>-old``, and the next desk goes on from there.
"""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Sequence
from typing import NamedTuple

from nodexfer.clock import Deadline
from nodexfer.errors import (
    DestinationExists,
    EndpointFailed,
    NodexferError,
    ServiceUnreachable,
    SourceMissing,
    TransferFailed,
    TransferUnproven,
)
from nodexfer.globus.protocol import Entry, Globus
from nodexfer.staging.look import make, many, show, sizes
from nodexfer.staging.request import BatchItem

#: Seconds that the deletion of what was replaced gets; after that Globus goes on with it alone.
_DELETE_SECONDS = 30.0
#: So many directories of an output are listed: that Globus has moved each of its files is known by their number.
_SIZED_DIRECTORIES = 20
#: It may be better in a moment.
AWAY = (ServiceUnreachable, EndpointFailed)


def prove_sizes(globus: Globus, collection: str, items: Sequence[BatchItem]) -> None:
    """See that each output has its size there, before anything gets its final name.

    :raises TransferUnproven: one has not.
    """
    found = many(globus, collection, [item.temporary for item in items if not item.is_directory])
    for item in items:
        if item.is_directory:
            _prove_directory(globus, collection, item)
            continue
        entry = found[item.temporary]
        if entry is None or entry.size != item.size:
            seen = "nothing" if entry is None else f"{entry.size} bytes"
            raise _unproven(f"{item.remote} was to have {item.size} bytes, and the collection shows {seen}")


def _prove_directory(globus: Globus, collection: str, item: BatchItem) -> None:
    there = sizes(globus, collection, item.temporary, _SIZED_DIRECTORIES)
    here = {
        os.path.relpath(os.path.join(where, name), item.local): os.lstat(os.path.join(where, name)).st_size
        for where, _, names in os.walk(item.local)
        for name in names
    }
    for path in sorted(here.keys() | there.files.keys() if there.whole else there.files.keys()):
        if here.get(path) != there.files.get(path):
            ours, theirs = here.get(path, "no"), there.files.get(path, "no")
            raise _unproven(f"{item.remote}/{path} has {ours} bytes here and {theirs} at the collection")


def _unproven(words: str) -> TransferUnproven:
    return TransferUnproven(f"{words}; nothing was published.", "nodexfer status")


class _Rename(NamedTuple):
    """One step of a publication. ``aside``: where what is at ``new`` goes first; None where nothing is."""

    old: str
    new: str
    aside: str | None


def publish(globus: Globus, collection: str, items: Sequence[BatchItem], *, overwrite: bool, merge: bool) -> None:
    """Rename every item from its temporary to its final name; delete what was replaced. May be done again.

    What can not be is found before the first rename. Given up in between: :func:`put_back`.

    :raises DestinationExists: something has appeared there meanwhile, or is of another kind.
    :raises TransferUnproven: an item is under neither name, or something else is under the final one.
    """
    for more in (True, True, False):
        try:
            _take(globus, collection, _plan(globus, collection, items, overwrite, merge))
            break
        except SourceMissing:
            # A rename whose answer was lost was done; the client asked again, and found nothing of the old name.
            if not more:
                raise
    if overwrite or merge:
        remove(globus, collection, _ours(items))


def _plan(globus: Globus, collection: str, items: Sequence[BatchItem], overwrite: bool, merge: bool) -> list[_Rename]:
    here = many(globus, collection, [item.temporary for item in items])
    there = many(globus, collection, [item.remote for item in items])
    steps: list[_Rename] = []
    for item in items:
        waiting, present = here[item.temporary], there[item.remote]
        if waiting is None and present is None:
            raise TransferUnproven(f"{item.remote} is neither there nor on its way any more.", "nodexfer status")
        if waiting is None and present is not None and not _may_be(item, present):
            raise TransferUnproven(
                f"{item.remote} is not what was sent, which is not on its way any more.", show(collection, item.remote)
            )
        if waiting is not None:
            steps += _steps(globus, collection, item, present, overwrite, merge)
    return steps


def _may_be(item: BatchItem, present: Entry) -> bool:
    """What has the name, while nothing has the temporary one: ours, or what was to be replaced."""
    return present.type == "dir" if item.is_directory else (present.type, present.size) == ("file", item.size)


def _aside(item: BatchItem) -> str:
    """Where what ``item`` replaces lies meanwhile: the thing itself, or a directory of what a merge replaces."""
    return f"{item.temporary}-old"


def _ours(items: Sequence[BatchItem]) -> list[str]:
    """What may be left of this request: what was replaced, by us or an earlier desk; emptied directories."""
    return [name for item in items for name in (item.temporary, _aside(item))]


def _steps(
    globus: Globus, collection: str, item: BatchItem, present: Entry | None, overwrite: bool, merge: bool
) -> list[_Rename]:
    if present is not None and present.type == "dir" and item.is_directory and merge:
        return _merge(globus, collection, item.temporary, item.remote, _aside(item))
    if present is not None and not overwrite:
        raise DestinationExists(
            f"{item.remote} appeared on collection {collection} while its data were on their way.",
            show(collection, item.remote),
        )
    return [_Rename(item.temporary, item.remote, None if present is None else _aside(item))]


def _merge(globus: Globus, collection: str, source: str, target: str, aside: str) -> list[_Rename]:
    """How what is in ``source`` gets into the directory ``target``.

    A subdirectory that is new moves whole; a file of the same name is replaced, and lies in ``aside`` meanwhile under
    the path that it had. One call a directory at either side.
    """
    present = {entry.name: entry for entry in globus.ls(collection, target)}
    steps: list[_Rename] = []
    for entry in globus.ls(collection, source):
        here, there, old = (posixpath.join(top, entry.name) for top in (source, target, aside))
        other = present.get(entry.name)
        if other is None:
            steps.append(_Rename(here, there, None))
        elif entry.type == "dir" and other.type == "dir":
            steps += _merge(globus, collection, here, there, old)
        elif "dir" in (entry.type, other.type):
            raise DestinationExists(
                f"{there} is a file at one side and a directory at the other.", show(collection, there)
            )
        else:
            steps.append(_Rename(here, there, old))
    return steps


def _take(globus: Globus, collection: str, steps: Sequence[_Rename]) -> None:
    # The directories that we publish into are there.
    made = {posixpath.dirname(step.new) for step in steps}
    done: list[str] = []
    for step in steps:
        try:
            _rename(globus, collection, step, made)
        except (*AWAY, SourceMissing):
            raise  # it is tried again
        except NodexferError as error:
            before = f" Published before: {', '.join(done)}." if done else ""
            raise type(error)(f"{error.message}{before}", error.next) from error
        done.append(step.new)


def _rename(globus: Globus, collection: str, step: _Rename, made: set[str]) -> None:
    if step.aside is not None:
        make(globus, collection, posixpath.dirname(step.aside), made)
        # An earlier desk may have put the first old one aside; what has its name now is to be replaced too.
        remove(globus, collection, [step.aside])
        globus.rename(collection, step.new, step.aside)
    globus.rename(collection, step.old, step.new)


def put_back(globus: Globus, collection: str, items: Sequence[BatchItem], *, merge: bool) -> None:
    """A publication is given up: what lies aside and was not replaced gets its name again, and the rest goes.

    :raises TransferFailed: the service does not let us; the message says where what was there lies now.
    :raises ServiceUnreachable, EndpointFailed: the rest could not be removed now.
    """
    try:
        _put_back(globus, collection, items, merge)
    except NodexferError as error:
        names = ", ".join(f"{item.remote} ({_aside(item)})" for item in items if item.existed)
        words = f" What was there before may lie under the name in brackets: {names}." if names else ""
        raise TransferFailed(f"It could not be tidied up either: {error.message}{words}", error.next) from error
    clear(globus, collection, _ours(items))


def _put_back(globus: Globus, collection: str, items: Sequence[BatchItem], merge: bool) -> None:
    asides = many(globus, collection, [_aside(item) for item in items])
    there = many(globus, collection, [item.remote for item in items])
    for item in items:
        if asides[_aside(item)] is None:
            continue
        if there[item.remote] is None:
            globus.rename(collection, _aside(item), item.remote)
        elif merge and item.is_directory:
            _put_back_below(globus, collection, _aside(item), item.remote)


def _put_back_below(globus: Globus, collection: str, aside: str, target: str) -> None:
    present = {entry.name for entry in globus.ls(collection, target)}
    for entry in globus.ls(collection, aside):
        old, name = posixpath.join(aside, entry.name), posixpath.join(target, entry.name)
        if entry.type == "dir":  # there on both sides: only files are put aside one by one
            _put_back_below(globus, collection, old, name)
        elif entry.name not in present:
            globus.rename(collection, old, name)


def remove(globus: Globus, collection: str, paths: Sequence[str]) -> None:
    """As :func:`clear`; one that is away is no error either."""
    try:
        clear(globus, collection, paths)
    except AWAY:
        pass


def clear(globus: Globus, collection: str, paths: Sequence[str]) -> None:
    """Delete what is there of ``paths``, and wait for it, 30 s at most: Globus goes on with it in any case.

    Nothing depends on it, so that a service which refuses is no error.

    :raises ServiceUnreachable, EndpointFailed: not now.
    """
    try:
        there = [path for path, entry in many(globus, collection, paths).items() if entry is not None]
        if there:
            task = globus.delete(globus.submission_id(), collection, there, "nodexfer clean-up")
            _wait(globus, task, Deadline(_DELETE_SECONDS))
    except AWAY:
        raise
    except NodexferError:
        return


def _wait(globus: Globus, task: str, deadline: Deadline) -> None:
    pause = 0.05
    while not deadline.passed:
        found = globus.tasks([task]).get(task)
        if found is not None and found.over:
            return
        time.sleep(min(pause, max(deadline.left, 0.01)))
        pause = min(pause * 1.5, 1.0)
