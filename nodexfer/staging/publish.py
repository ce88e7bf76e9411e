"""What arrived gets its final name, and nobody ever sees a half of it.

What lies on another file system is first copied beside its destination, all of it; only then do names change, each in
one step. Dying before leaves a ``.nodexfer-<request>-<number>`` beside the destination (the request's ``litter``, which
cleaning removes); dying in between leaves whole files under their final names, or none.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import NamedTuple

from nodexfer.errors import DestinationExists, NodexferError
from nodexfer.staging import copying, ground


class Publication(NamedTuple):
    """One item: where it lies, what it becomes, and ``near``: its name beside the destination, if it needs one."""

    local: str
    destination: str
    near: str


def near(destination: str, request: str, number: int) -> str:
    return f"{os.path.dirname(destination)}/.nodexfer-{request}-{number}"


def publish(items: Sequence[Publication], *, overwrite: bool = False, merge: bool = False) -> None:
    """Publish all items; a directory that is new appears whole, one that is merged file by file.

    :raises DestinationExists, PermissionRefused, DiskFull: nothing was published, or the message names what was.
    """
    for item in items:
        ground.refuse_destination(item.destination, overwrite=overwrite, merge=merge)
        if merge and os.path.isdir(item.destination):
            _refuse_conflict(item.local, item.destination)
    ready = _bring_near(items)
    done: list[str] = []
    umask = copying.current_umask()
    for local, destination in ready:
        try:
            copying.set_modes(local, umask)
            _place(local, destination, overwrite, merge)
        except OSError as error:
            raise _named(error, destination, done) from error
        done.append(destination)


def _bring_near(items: Sequence[Publication]) -> list[tuple[str, str]]:
    """What has to be copied is copied; (where it lies, its destination) of every item.

    :raises DiskFull, PermissionRefused: the copies are removed again.
    """
    made: list[str] = []
    ready: list[tuple[str, str]] = []
    try:
        for item in items:
            os.makedirs(os.path.dirname(item.destination), exist_ok=True)
            local = item.local
            if os.lstat(local).st_dev != os.stat(os.path.dirname(item.destination)).st_dev:
                ground.refuse_full(os.path.dirname(item.destination), copying.size_of(local), [item.destination])
                made.append(item.near)
                copying.copy_tree(local, item.near)
                local = item.near
            ready.append((local, item.destination))
    except OSError as error:
        remove(made)
        raise _named(error, item.destination, []) from error
    except BaseException:
        remove(made)
        raise
    return ready


def remove(paths: Sequence[str]) -> None:
    """Remove files and directories; what is gone already, or can not be removed, is left."""
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
            continue
        try:
            os.unlink(path)
        except OSError:
            pass


def _place(local: str, destination: str, overwrite: bool, merge: bool) -> None:
    is_directory = os.path.isdir(destination) and not os.path.islink(destination)
    if merge and is_directory and os.path.isdir(local):
        _merge(local, destination)
    elif not os.path.lexists(destination):
        _place_new(local, destination)
    elif not overwrite:
        raise FileExistsError(destination)
    elif is_directory or os.path.isdir(local):
        _replace_directory(local, destination)
    else:
        os.replace(local, destination)


def _place_new(local: str, destination: str) -> None:
    if os.path.isdir(local):
        os.rename(local, destination)
    else:
        copying.rename_new(local, destination)


def _replace_directory(local: str, destination: str) -> None:
    if not copying.exchange(local, destination):
        # Without an exchange there is a moment with neither; the old one then lies beside under a name that tells it.
        aside = f"{destination}.before-nodexfer"
        os.rename(destination, aside)
        os.rename(local, destination)
        remove([aside])
        return
    remove([local])


def _merge(local: str, destination: str) -> None:
    """Files of the same name are replaced, everything else stays; a directory that is new comes over whole."""
    with os.scandir(local) as entries:
        for entry in entries:
            target = os.path.join(destination, entry.name)
            if not entry.is_dir(follow_symlinks=False):
                os.replace(entry.path, target)
            elif os.path.isdir(target):
                _merge(entry.path, target)
            else:
                os.rename(entry.path, target)
    os.rmdir(local)


def _refuse_conflict(local: str, destination: str) -> None:
    """:raises DestinationExists: a file would take the place of a directory, or the other way round."""
    if not os.path.isdir(local):
        raise DestinationExists(
            f"{destination} is a directory, and a file would take its place; nothing was published.",
            ground.show(destination),
        )
    with os.scandir(local) as entries:
        for entry in entries:
            target = os.path.join(destination, entry.name)
            if entry.is_dir(follow_symlinks=False) and os.path.isdir(target):
                _refuse_conflict(entry.path, target)
            elif os.path.lexists(target) and entry.is_dir(follow_symlinks=False) != os.path.isdir(target):
                raise DestinationExists(
                    f"{target} is a file at one side and a directory at the other; nothing was published.",
                    ground.show(target),
                )


def _named(error: OSError, destination: str, done: Sequence[str]) -> NodexferError:
    if isinstance(error, NodexferError):
        return error
    published = f"; published before: {', '.join(done)}" if done else "; nothing was published"
    if isinstance(error, FileExistsError):
        return DestinationExists(
            f"{destination} appeared while its data were on their way{published}.", ground.show(destination)
        )
    return copying.named(error, f"{destination} could not be published{published}")
