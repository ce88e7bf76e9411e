"""Outputs get their final names at the far side, by the Transfer API's rename, after proof.

Every step can be done again: a desk that continues after a dead one finds under which name things are. What is being
replaced is renamed aside first, so that for two calls' time its name leads nowhere, and is deleted at the end; a death
in between leaves it whole, as ``<temporary>-old<number>``, and the next desk goes on from there.
"""

from __future__ import annotations

import itertools
import os
import posixpath
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nodexfer.clock import Deadline
from nodexfer.errors import DestinationExists, EndpointFailed, NodexferError, ServiceUnreachable, TransferUnproven
from nodexfer.globus.protocol import Entry, Globus
from nodexfer.staging.look import many, show, sizes
from nodexfer.staging.request import BatchItem

#: Seconds that the deletion of what was replaced gets; after that Globus goes on with it alone.
_DELETE_SECONDS = 30.0


def prove_sizes(globus: Globus, collection: str, items: Sequence[BatchItem]) -> None:
    """See that each output that is a file has its size there, before anything gets its final name.

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
    there = sizes(globus, collection, item.temporary)
    if there is None:
        return
    here = {
        os.path.relpath(os.path.join(where, name), item.local): os.lstat(os.path.join(where, name)).st_size
        for where, _, names in os.walk(item.local)
        for name in names
    }
    for path in sorted(here.keys() | there.keys()):
        if here.get(path) != there.get(path):
            ours, theirs = here.get(path, "no"), there.get(path, "no")
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

    What can not be is found before the first rename.

    :raises DestinationExists: something has appeared there meanwhile, or is of another kind.
    :raises TransferUnproven: an item is under neither name.
    """
    here = many(globus, collection, [item.temporary for item in items])
    there = many(globus, collection, [item.remote for item in items])
    steps: list[_Rename] = []
    for item in items:
        waiting, present = here[item.temporary], there[item.remote]
        if waiting is None and present is None:
            raise TransferUnproven(f"{item.remote} is neither there nor on its way any more.", "nodexfer status")
        if waiting is not None:
            steps += _steps(globus, collection, item, present, overwrite, merge)
    _take(globus, collection, steps)
    if overwrite or merge:
        _remove_ours(globus, collection, items)


def _remove_ours(globus: Globus, collection: str, items: Sequence[BatchItem]) -> None:
    """What is left under names of this request: what was replaced, by us or an earlier desk; emptied directories."""
    ours = {posixpath.split(item.temporary.rpartition("-")[0] + "-") for item in items}
    try:
        left = [
            posixpath.join(parent, entry.name)
            for parent, prefix in ours
            for entry in globus.ls(collection, parent)
            if entry.name.startswith(prefix)
        ]
    except NodexferError:
        return
    remove(globus, collection, left)


def _steps(
    globus: Globus, collection: str, item: BatchItem, present: Entry | None, overwrite: bool, merge: bool
) -> list[_Rename]:
    asides = (f"{item.temporary}-old{number}" for number in itertools.count())
    if present is not None and present.type == "dir" and item.is_directory and merge:
        return _merge(globus, collection, item.temporary, item.remote, asides)
    if present is not None and not overwrite:
        raise DestinationExists(
            f"{item.remote} appeared on collection {collection} while its data were on their way.",
            show(collection, item.remote),
        )
    return [_Rename(item.temporary, item.remote, None if present is None else next(asides))]


def _merge(globus: Globus, collection: str, source: str, target: str, asides: Iterator[str]) -> list[_Rename]:
    """How what is in ``source`` gets into the directory ``target``.

    A subdirectory that is new moves whole; a file of the same name is replaced. One call a directory at either side.
    """
    present = {entry.name: entry for entry in globus.ls(collection, target)}
    steps: list[_Rename] = []
    for entry in globus.ls(collection, source):
        here, there = posixpath.join(source, entry.name), posixpath.join(target, entry.name)
        other = present.get(entry.name)
        if other is None:
            steps.append(_Rename(here, there, None))
        elif entry.type == "dir" and other.type == "dir":
            steps += _merge(globus, collection, here, there, asides)
        elif "dir" in (entry.type, other.type):
            raise DestinationExists(
                f"{there} is a file at one side and a directory at the other.", show(collection, there)
            )
        else:
            steps.append(_Rename(here, there, next(asides)))
    return steps


def _take(globus: Globus, collection: str, steps: Sequence[_Rename]) -> None:
    done: list[str] = []
    for step in steps:
        try:
            _rename(globus, collection, step)
        except (ServiceUnreachable, EndpointFailed):
            raise  # it is tried again
        except NodexferError as error:
            before = f" Published before: {', '.join(done)}." if done else ""
            raise type(error)(f"{error.message}{before}", error.next) from error
        done.append(step.new)


def _rename(globus: Globus, collection: str, step: _Rename) -> None:
    if step.aside is None:
        globus.rename(collection, step.old, step.new)
        return
    # An earlier desk may have put the first old one aside; what has its name now is to be replaced too.
    remove(globus, collection, [step.aside])
    globus.rename(collection, step.new, step.aside)
    try:
        globus.rename(collection, step.old, step.new)
    except NodexferError:
        _put_back(globus, collection, step)
        raise


def _put_back(globus: Globus, collection: str, step: _Rename) -> None:
    assert step.aside is not None
    try:
        globus.rename(collection, step.aside, step.new)
    except NodexferError:  # the service went away: the next try finds what there is
        pass


def remove(globus: Globus, collection: str, paths: Sequence[str]) -> None:
    """Delete what is there of ``paths``, and wait for it, 30 s at most: Globus goes on with it in any case.

    Nothing depends on it, so that a service which refuses is no error.
    """
    try:
        there = [path for path, entry in many(globus, collection, paths).items() if entry is not None]
        if not there:
            return
        task = globus.delete(globus.submission_id(), collection, there, "nodexfer clean-up")
        _wait(globus, task, Deadline(_DELETE_SECONDS))
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
