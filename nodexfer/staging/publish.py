"""What arrived gets its final name, and nobody ever sees a half of it.

What lies on another file system is first copied beside its destination, all of it; only then do names change, each in
one step. Dying before leaves a ``.nodexfer-<request>-<number>`` beside the destination (the request's ``litter``, which
cleaning removes); dying in between leaves whole files under their final names, or none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nodexfer.errors import DestinationExists, Interrupted, NodexferError
from nodexfer.node import rubbish
from nodexfer.staging import copying, ground


class Publication(NamedTuple):
    """One item: where it lies, what it becomes, and ``near``: its name beside the destination, if it needs one."""

    local: str
    destination: str
    near: str


def near(destination: str, request: str, number: int) -> str:
    return f"{os.path.dirname(destination)}/.nodexfer-{request}-{number}"


def publish(
    items: Sequence[Publication],
    *,
    overwrite: bool = False,
    merge: bool = False,
    check: Callable[[str, str], None] | None = None,
) -> None:
    """Publish all items; a directory that is new appears whole, one that is merged file by file.

    :param check: called with the original and its copy, where one has to be made; raises what it finds.
    :raises DestinationExists, PermissionRefused, DiskFull: nothing was published, or the message names what was.
    """
    for item in items:
        ground.refuse_destination(item.destination, overwrite=overwrite, merge=merge)
        if merge and os.path.isdir(item.destination):
            _refuse_conflict(item.local, item.destination)
    try:
        _take(_bring_near(items, check), overwrite, merge)
    finally:
        remove([item.near for item in items])


def _take(ready: Sequence[tuple[str, str]], overwrite: bool, merge: bool) -> None:
    done: list[str] = []
    umask = copying.current_umask()
    for local, destination in ready:
        merges = merge and os.path.isdir(destination)
        try:
            copying.set_modes(local, umask)
            _place(local, destination, overwrite, merge)
        except (KeyboardInterrupt, Interrupted) as error:
            raise Interrupted(f"Interrupted at {destination}{_published(done, merges)}.", "nodexfer status") from error
        except OSError as error:
            raise _named(error, destination, _published(done, merges)) from error
        done.append(destination)


def _bring_near(items: Sequence[Publication], check: Callable[[str, str], None] | None) -> list[tuple[str, str]]:
    """What has to be copied is copied; (where it lies, its destination) of every item.

    :raises DiskFull, PermissionRefused: the copies are the caller's to remove.
    """
    ready: list[tuple[str, str]] = []
    for item in items:
        directory, local = os.path.dirname(item.destination), item.local
        try:
            os.makedirs(directory, exist_ok=True)
            if os.lstat(local).st_dev != os.stat(directory).st_dev:
                ground.refuse_full(directory, copying.size_of(local), [item.destination])
                copying.copy_tree(local, item.near)
                if check is not None:
                    check(local, item.near)
                local = item.near
        except OSError as error:
            raise _named(error, item.destination, _published([])) from error
        ready.append((local, item.destination))
    return ready


def remove(paths: Sequence[str]) -> None:
    """Remove files and directories, read-only ones too; what can not be removed is left."""
    for path in paths:
        rubbish.remove(path)


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
        aside = _free_name(destination)
        os.rename(destination, aside)
        try:
            os.rename(local, destination)
        except BaseException:
            os.rename(aside, destination)
            raise
        remove([aside])
        return
    remove([local])


def _free_name(destination: str) -> str:
    """Beside ``destination``, as long as a name may be (255 bytes), and nobody's."""
    directory, name = os.path.split(os.fsencode(destination))
    return os.fsdecode(os.path.join(directory, name[:220] + f".before-nodexfer-{os.urandom(4).hex()}".encode()))


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
            is_directory = os.path.isdir(target) and not os.path.islink(target)
            if entry.is_dir(follow_symlinks=False) and is_directory:
                _refuse_conflict(entry.path, target)
            elif os.path.lexists(target) and (entry.is_dir(follow_symlinks=False) or is_directory):
                raise DestinationExists(
                    f"{target} is a file at one side and a directory at the other; nothing was published.",
                    ground.show(target),
                )


def _published(done: Sequence[str], merges: bool = False) -> str:
    """Such is the state. ``merges``: that, of what failed, may be there in part."""
    before = f"; published before: {', '.join(done)}" if done else ""
    return f"; it may be merged in part{before}" if merges else before or "; nothing was published"


def _named(error: OSError, destination: str, published: str) -> NodexferError:
    if isinstance(error, NodexferError):
        return error
    if isinstance(error, FileExistsError):
        return DestinationExists(
            f"{destination} appeared while its data were on their way{published}.", ground.show(destination)
        )
    return copying.named(error, f"{destination} could not be published{published}")
