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

from nodexfer.clock import Deadline
from nodexfer.errors import DestinationExists, EndpointFailed, NodexferError, ServiceUnreachable, TransferUnproven
from nodexfer.globus.protocol import Globus
from nodexfer.staging.look import one, show, sizes
from nodexfer.staging.request import BatchItem

#: Seconds that the deletion of what was replaced gets; after that Globus goes on with it alone.
_DELETE_SECONDS = 30.0


def prove_sizes(globus: Globus, collection: str, items: Sequence[BatchItem]) -> None:
    """See that each output that is a file has its size there, before anything gets its final name.

    :raises TransferUnproven: one has not.
    """
    for item in items:
        if item.is_directory:
            _prove_directory(globus, collection, item)
            continue
        found = one(globus, collection, item.temporary)
        if found is None or found.size != item.size:
            seen = "nothing" if found is None else f"{found.size} bytes"
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


def publish(globus: Globus, collection: str, items: Sequence[BatchItem], *, overwrite: bool, merge: bool) -> None:
    """Rename every item from its temporary to its final name; delete what was replaced. May be done again.

    :raises DestinationExists: something has appeared there meanwhile.
    :raises TransferUnproven: an item is under neither name.
    """
    done: list[str] = []
    doomed: list[str] = []
    for item in items:
        try:
            doomed += _publish(globus, collection, item, overwrite, merge)
        except NodexferError as error:
            if done and not isinstance(error, (ServiceUnreachable, EndpointFailed)):
                raise type(error)(f"{error.message} Published before: {', '.join(done)}.", error.next) from error
            raise
        done.append(item.remote)
    remove(globus, collection, doomed)


def _publish(globus: Globus, collection: str, item: BatchItem, overwrite: bool, merge: bool) -> list[str]:
    """What is left to delete."""
    old = f"{item.temporary}-old"
    present = one(globus, collection, item.remote)
    if one(globus, collection, item.temporary) is None:  # done before
        if present is None:
            raise TransferUnproven(f"{item.remote} is neither there nor on its way any more.", "nodexfer status")
        return [old]
    if present is not None and merge and item.is_directory and present.type == "dir":
        return [*_merge(globus, collection, item.temporary, item.remote), item.temporary]
    return _replace(globus, collection, item.temporary, item.remote, overwrite, present is not None)


def _replace(globus: Globus, collection: str, temporary: str, final: str, overwrite: bool, is_there: bool) -> list[str]:
    old = f"{temporary}-old"
    if not is_there:
        globus.rename(collection, temporary, final)
        return [old] if overwrite else []
    if not overwrite:
        raise DestinationExists(
            f"{final} appeared on collection {collection} while its data were on their way.", show(collection, final)
        )
    # An earlier desk may have put the first old one aside; what is at the final name now is to be replaced too.
    remove(globus, collection, [old])
    globus.rename(collection, final, old)
    try:
        globus.rename(collection, temporary, final)
    except NodexferError:
        _put_back(globus, collection, old, final)
        raise
    return [old]


def _put_back(globus: Globus, collection: str, old: str, final: str) -> None:
    try:
        globus.rename(collection, old, final)
    except NodexferError:  # the service went away: the next try finds both names
        pass


def _merge(globus: Globus, collection: str, source: str, target: str) -> list[str]:
    """Move what is in ``source`` into the directory ``target``; the old files that were put aside, to be deleted.

    A subdirectory that is new moves whole; a file of the same name is replaced.
    """
    present = {entry.name: entry for entry in globus.ls(collection, target)}
    doomed: list[str] = []
    for entry in globus.ls(collection, source):
        here, there = posixpath.join(source, entry.name), posixpath.join(target, entry.name)
        other = present.get(entry.name)
        if other is None:
            globus.rename(collection, here, there)
        elif entry.type == "dir" and other.type == "dir":
            doomed.extend(_merge(globus, collection, here, there))
        elif "dir" in (entry.type, other.type):
            raise DestinationExists(
                f"{there} is a file at one side and a directory at the other.", show(collection, there)
            )
        else:
            doomed.extend(_replace(globus, collection, here, there, overwrite=True, is_there=True))
    return doomed


def remove(globus: Globus, collection: str, paths: Sequence[str]) -> None:
    """Delete what is there of ``paths``, and wait for it, 30 s at most: Globus goes on with it in any case.

    Nothing depends on it, so that a service which refuses is no error.
    """
    try:
        there = [path for path in paths if one(globus, collection, path) is not None]
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
