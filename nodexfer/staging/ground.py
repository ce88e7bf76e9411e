"""This node's side of a request: which root a path lies on, and what stands in its way."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from nodexfer.config import Config
from nodexfer.errors import DestinationExists, DestinationNotAllowed, DiskFull, PermissionRefused
from nodexfer.paths import RootPaths


def settle(path: str) -> str:
    """``path`` with the links of its directory followed, and its own name left as it is."""
    directory, name = os.path.split(path)
    return os.path.join(os.path.realpath(directory), name)


def root_of(path: str, config: Config) -> str:
    """The root whose exchange serves the settled ``path``: one on the same file system, so that a rename publishes.

    Of several, the one that has the node_dir, since every leader serves it.

    :raises DestinationNotAllowed: the path lies outside the roots, is one of them, or is nodexfer's own.
    """
    if path in config.roots:
        raise DestinationNotAllowed(f"{path} is one of the roots itself; only what lies below may be moved.")
    above = [root for root in config.roots if path.startswith(root.rstrip("/") + "/")]
    if not above:
        raise DestinationNotAllowed(
            f"{path} lies outside the directories that nodexfer may use on this node: "
            f"{', '.join(config.roots)} (`roots` in the configuration); "
            "the job's own is $NODEXFER_SCRATCH, which `nodexfer acquire` sets.",
            None if os.environ.get("NODEXFER_SCRATCH") else 'eval "$(nodexfer acquire)"',
        )
    _refuse_our_own(path, config)
    device = os.stat(nearest(path)).st_dev
    same = [root for root in config.roots if os.stat(nearest(root)).st_dev == device]
    best = [root for root in same if _has(root, config.node_dir)]
    return (best or sorted(set(same) & set(above), key=len, reverse=True) or same or above)[0]


def _has(root: str, path: str) -> bool:
    return path.startswith(root.rstrip("/") + "/")


def _refuse_our_own(path: str, config: Config) -> None:
    jobs = f"{config.node_paths.jobs}/"
    if path.startswith(jobs) and "/" in path[len(jobs) :].strip("/"):
        return
    for own in (config.node_dir, *(RootPaths.of(root, config.node_dir).base for root in config.roots)):
        if path == own or _has(own, path) or _has(path, own):
            raise DestinationNotAllowed(f"{path} is a directory that nodexfer keeps for itself, or has one in it.")


def nearest(path: str) -> str:
    """The nearest directory above ``path``, or itself, that is there."""
    while not os.path.isdir(path) and path not in ("", "/"):
        path = os.path.dirname(path)
    return path or "/"


def mount_point(path: str) -> str:
    """Where the file system of ``path`` begins: what still is there when directories of ours are gone."""
    path = nearest(path)
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def refuse_destination(path: str, *, overwrite: bool, merge: bool) -> None:
    """See that ``path`` may be written.

    :raises DestinationExists: something is there. ``overwrite`` lets anything be replaced, ``merge`` a directory be
        added to.
    :raises PermissionRefused: the directory above does not let us.
    """
    if os.path.lexists(path) and not overwrite and not (merge and os.path.isdir(path) and not os.path.islink(path)):
        flag = "--merge or --overwrite" if os.path.isdir(path) else "--overwrite"
        raise DestinationExists(f"{path} exists already; nothing was moved. Give {flag}, or another name.", show(path))
    above = nearest(os.path.dirname(path))
    blocking = os.path.dirname(path)
    while blocking != above:
        if os.path.lexists(blocking):
            raise DestinationExists(f"{blocking} is no directory, so that {path} can not be.", show(blocking))
        blocking = os.path.dirname(blocking)
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionRefused(f"You may not write in {above}.", show(above))


def show(path: str) -> str:
    """The command that shows what is at ``path``."""
    return f"ls -ld {shlex.quote(path)}"


def refuse_full(directory: str, needed: int, what: Sequence[str] = ()) -> None:
    """:raises DiskFull: ``needed`` bytes are more than the file system of ``directory`` has left for ordinary users."""
    if needed <= 0:
        return
    found = os.statvfs(nearest(directory))
    free = found.f_bavail * found.f_frsize
    if needed > free:
        named = f" for {what[0]}" + (f" and {len(what) - 1} more" if len(what) > 1 else "") if what else ""
        top = mount_point(directory)
        raise DiskFull(
            f"The file system of {top} has {free} bytes left, and {needed} are needed{named}; nothing was moved.",
            f"df -h {shlex.quote(top)}",
        )
