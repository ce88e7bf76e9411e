"""Where and who am I: host, boot, processes that can be told from a later one with the same number."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import cache
from typing import NamedTuple


def host() -> str:
    """The node's name as the kernel has it (``uname -n``)."""
    return os.uname().nodename


@cache
def boot_id() -> str:
    """Random at every boot (proc(5), ``random/boot_id``): a record of another boot is of dead processes."""
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        return file.read().decode().strip()


def pid_namespace() -> int:
    """The inode of our pid namespace: process numbers of another one mean nothing here."""
    return os.stat("/proc/self/ns/pid").st_ino


class ProcessId(NamedTuple):
    """A process, not a number: start time and pid namespace tell it from a later one with the same pid.

    For watching and signalling on this node only. Whether an owner is alive is said by its lock wherever it has one.
    """

    pid: int
    start: int
    namespace: int

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """:raises ProcessLookupError: there is no such process, or it is a zombie."""
        start = _start_time(pid)
        if start is None:
            raise ProcessLookupError(f"there is no process {pid}")
        return cls(pid, start, pid_namespace())

    @property
    def alive(self) -> bool:
        """False only where it is proven: a process of another pid namespace counts as alive."""
        if self.namespace != pid_namespace():
            return True
        return _start_time(self.pid) == self.start


def _start_time(pid: int) -> int | None:
    """Clock ticks from boot to the start of ``pid`` (proc(5) stat, field 22); None for none and for zombies."""
    # os.open and one read rather than open(): asked several times for each hold, and half of what that costs.
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        text = os.read(descriptor, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)
    # The command name is in parentheses and may itself hold any byte, blanks and parentheses included.
    fields = text[text.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def descendants(roots: Collection[ProcessId]) -> list[ProcessId]:
    """All living descendants of ``roots``, by the parents that /proc gives now."""
    parents = parents_now()
    family = {process.pid for process in roots if process.alive}
    found: list[int] = []
    grown = True
    while grown:
        new = [pid for pid, parent in parents.items() if parent in family and pid not in family]
        family.update(new)
        found.extend(new)
        grown = bool(new)
    return [process for process in map(_of, found) if process is not None]


def parents_now() -> dict[int, int]:
    """pid -> parent pid, of every process that is not a zombie (proc(5) stat, fields 1 and 4)."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                text = file.read()
        except OSError:
            continue
        fields = text[text.rindex(b")") + 2 :].split(None, 2)
        if fields[0] not in (b"Z", b"X"):
            parents[int(name)] = int(fields[1])
    return parents


def _of(pid: int) -> ProcessId | None:
    try:
        return ProcessId.of(pid)
    except ProcessLookupError:
        return None


def this() -> ProcessId:
    """The process that asks. Looked up once."""
    return _this(os.getpid())


@cache
def _this(pid: int) -> ProcessId:
    return ProcessId.of(pid)


def session_leader() -> ProcessId:
    """The script of our job: the leader of our session (PBS and Slurm start the script as one).

    Where it has ended, lies outside our pid namespace, or belongs to somebody else, the topmost of our parents that is
    ours stands for it. Looked up once in each session.
    """
    return _leader_of(os.getsid(0))


@cache
def _leader_of(session: int) -> ProcessId:
    found = _of(session) if session > 0 and _ours(session) else None
    return found or _top_parent()


# A child's child may get a number that its forefather had, and another parent.
os.register_at_fork(after_in_child=_this.cache_clear)
os.register_at_fork(after_in_child=_leader_of.cache_clear)


def _ours(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False


def _top_parent() -> ProcessId:
    parents = parents_now()
    top = os.getpid()
    # Number 1 of a namespace is nobody's script: where it is ours, what it started is.
    while (parent := parents.get(top, 0)) > 1 and _ours(parent):
        top = parent
    return _of(top) or this()
