"""What a manager's own server leaves behind: a directory in the node's temporary one.

A manager of Parsl shares its tables with its threads by a server of Python's multiprocessing, which listens in a
``pymp-`` directory of its own and removes it at its end, unless a signal ends it, as at the end of every block. And
where the manager alone is killed, its server goes on. Whose such a directory is, nothing in it says: the kernel does,
as long as somebody listens there. So whoever holds for the manager's life looks, and removes what it has seen.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from nodexfer.identity import ProcessId, parents_now, this
from nodexfer.integrations import orphans

#: ``multiprocessing.util.get_temp_dir``.
_PREFIX = "pymp-"
#: Of a line of /proc/net/unix: it listens (include/uapi/linux/net.h, __SO_ACCEPTCON).
_LISTENS = 0x10000
#: Seconds between two looks: the first, and the last. A server comes with its manager, or not at all.
_LOOK = (0.5, 60.0)


class _Server(NamedTuple):
    process: ProcessId
    parent: ProcessId
    #: Device and inode of its directory: another one of that name is not meant.
    identity: tuple[int, int]


class Servers:
    """Those among our descendants."""

    def __init__(self) -> None:
        self._pause = _LOOK[0]
        self._seen: dict[str, _Server] = {}
        #: Sockets that have been looked at, by their inodes.
        self._known: set[str] = set()

    def watch(self) -> float:
        """Look; how many seconds from now to look again."""
        self._look()
        self._pause = min(self._pause * 1.5, _LOOK[1])
        return self._pause

    def end(self) -> None:
        """Once the manager has ended: end servers that have lost their parent, remove where nobody listens any more."""
        self._look()
        # Of those seen only now, whose parent has ended is our own child already.
        lost = [one.process for one in self._seen.values() if one.parent == this() or not one.parent.alive]
        orphans.finish(lost)
        for directory, one in self._seen.items():
            if not one.process.alive:
                _remove(directory, one.identity)

    def _look(self) -> None:
        listening = {inode: path for inode, path in _listening().items() if inode not in self._known}
        if not listening:
            return
        self._known.update(listening)
        parents = parents_now()
        for pid in _below(os.getpid(), parents):
            for inode in _sockets(pid) & listening.keys():
                self._note(os.path.dirname(listening[inode]), pid, parents[pid])

    def _note(self, directory: str, pid: int, parent: int) -> None:
        try:
            found = os.lstat(directory)
            server = _Server(ProcessId.of(pid), ProcessId.of(parent), (found.st_dev, found.st_ino))
        except OSError:  # one of them is gone, or it is in another mount namespace
            return
        self._seen[directory] = server


def _listening() -> dict[str, str]:
    """Of each socket that listens in such a directory: inode -> path."""
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:  # this node does not show it: nothing is removed
        return {}
    found = {}
    for line in lines:
        fields = line.split(None, 7)
        path = fields[7] if len(fields) == 8 else ""
        is_there = path.startswith("/") and os.path.basename(os.path.dirname(path)).startswith(_PREFIX)
        if is_there and int(fields[3], 16) & _LISTENS:
            found[fields[6]] = path
    return found


def _below(root: int, parents: dict[int, int]) -> set[int]:
    """The numbers of all descendants."""
    found: set[int] = set()
    new = {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


def _sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{name}")
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:  # it has ended, or closed one meanwhile: what was read is true
        pass
    return found


def _remove(directory: str, identity: tuple[int, int]) -> None:
    import shutil

    try:
        found = os.lstat(directory)
    except OSError:
        return
    if stat.S_ISDIR(found.st_mode) and (found.st_dev, found.st_ino) == identity:
        shutil.rmtree(directory, ignore_errors=True)
