"""Native file locks: flock(2), freed by the kernel however the owner ends, and never waited for without an end.

The lock files of a place, and who takes them:

    the node_dir itself   the leader, for its term (waited for in a thread, as long as the keeper lives)
    registry.lock         whoever changes the registry, for one record's time
    keepers/<job>         the job's keeper, for life; taken and looked at only under registry.lock, so a look
                          (a shared lock for a moment) can never make a starting keeper believe that it has lost
    guard.lock desk.lock  the guard and the desk, for life

A lock is on an inode, a name leads to another one after ``rm -r``: what was locked is compared with what is at the path
(:func:`same`), then and at every heartbeat. registry.lock, guard.lock and desk.lock are never unlinked. A keeper's file
is, under registry.lock and by its owner: nobody ever waits for it.
"""

from __future__ import annotations

import fcntl
import os
import threading

from nodexfer.errors import NodeDirRemoved, NodeError


def same(descriptor: int, path: str) -> bool:
    """Is the open file still the one at ``path``?"""
    try:
        there = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def open_file(path: str) -> int:
    """A descriptor to lock. It is made where it is missing and never inherited.

    :raises NodeDirRemoved: its directory is gone.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError as error:
        raise NodeDirRemoved(f"{os.path.dirname(path)} is gone: somebody removed it while it was in use.") from error


def take(path: str, seconds: float) -> int:
    """Lock the file at ``path`` and give its descriptor; closing it unlocks.

    Waits in flock(2), which serves waiters in turn (polling starves some).

    :raises NodeError: not within ``seconds``; it names the process that has it, and the command that helps.
    :raises NodeDirRemoved: the directory is gone.
    """
    while True:
        descriptor = open_file(path)
        if not try_lock(descriptor) and not _wait(descriptor, seconds):
            raise _taken_too_long(path, seconds)
        if same(descriptor, path):
            return descriptor
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take the lock without waiting."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def taken(path: str) -> bool:
    """Does somebody hold the lock? Holds a shared one for a moment: see the module on who may ask this of what."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _wait(descriptor: int, seconds: float) -> bool:
    """Block in flock(2) for at most ``seconds``. On False the descriptor is not the caller's any more.

    A thread waits, since nothing else can be left without a signal (a library owns none). Should it get the lock after
    all, it closes the descriptor, which frees the lock.
    """
    turn = threading.Lock()
    state = {"locked": False, "left": False}

    def block() -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with turn:
            state["locked"] = True
            if state["left"]:
                os.close(descriptor)

    thread = threading.Thread(target=block, daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:
        with turn:
            state["left"] = not state["locked"]
    return state["locked"]


def _taken_too_long(path: str, seconds: float) -> NodeError:
    """Who has it, and how it is had back: a process that is stopped goes on where it was."""
    from nodexfer.node import threads

    pid = owner(path)
    states = set() if pid is None else threads.states(pid)
    said = f"{path} is locked for more than {seconds:g} s by"
    if pid is None:
        return NodeError(f"{said} a process that can not be seen from here; it may be stopped.", "nodexfer status")
    if states & {"T", "t"}:
        return NodeError(f"{said} process {pid}, which is stopped; kill -KILL {pid} ends it.", f"kill -CONT {pid}")
    waits = "which waits for a disk, or is frozen" if "D" in states else "which is not stopped"
    return NodeError(f"{said} process {pid}, {waits}.", "nodexfer status")


def owner(path: str) -> int | None:
    """The process that has the lock, by /proc/locks (proc(5)).

    None: nobody has it, or a process that can not be seen from our pid namespace. A device is called otherwise there on
    some file systems: where none is called as ours, only inodes are compared, and two file systems may have the same.
    The caller must know more of the process than this.
    """
    try:
        found = os.stat(path)
        with open("/proc/locks", encoding="ascii") as file:
            rows = [line.split() for line in file]
    except OSError:
        return None
    owners = {row[5]: int(row[4]) for row in rows if row[1] == "FLOCK" and row[3] == "WRITE"}
    inode = f":{found.st_ino}"
    ours = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}{inode}"
    name = ours if ours in owners else next((name for name in owners if name.endswith(inode)), "")
    return owners.get(name) or None
