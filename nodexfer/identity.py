"""Where and who am I: host, boot, processes that can be told from a later one with the same number."""

from __future__ import annotations

import os
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
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name is in parentheses and may itself hold any byte, blanks and parentheses included.
    fields = text[text.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
