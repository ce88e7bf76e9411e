"""What a guard left behind that was itself SIGKILLed: found by the mark in its environment, whoever its parent is now.

Only for a working config directory whose guard is dead or is ourselves.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from itertools import pairwise

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.gcp.environment import MARK
from nodexfer.identity import ProcessId

POLL_SECONDS = 0.01


def strays(working_dir: str) -> list[ProcessId]:
    """The living processes of our user that GCP consists of when it runs with ``-dir working_dir``."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and _belongs(int(name), working_dir):
            try:
                found.append(ProcessId.of(int(name)))
            except ProcessLookupError:
                continue
    return found


def kill_strays(working_dir: str, timeout: float = 5.0) -> bool:
    """SIGKILL them until none is left; False when one still lives after ``timeout`` seconds (D state, frozen).

    A process within execve(2) shows no environment: that none was seen counts when it was so twice.
    """
    deadline = Deadline(timeout)
    seen = True
    while True:
        left = strays(working_dir)
        if not left and not seen:
            return True
        if left and deadline.passed:
            return False
        seen = bool(left)
        for process in left:
            procs.signal(process, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def clear_strays(working_dir: str, guard_lock: str) -> None:
    """Kill them unless a guard lives, whose business they are (its lock is taken). At most 1 s."""
    try:
        descriptor = os.open(guard_lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:  # there has never been a guard here
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        kill_strays(working_dir, 1.0)
    finally:
        os.close(descriptor)


def _belongs(pid: int, working_dir: str) -> bool:
    """By its environment; by ``-dir`` in its arguments where the kernel does not show us the environment."""
    try:
        if f"{MARK}={working_dir}".encode() in _strings(pid, "environ"):
            return True
    except OSError:
        pass
    try:
        arguments = _strings(pid, "cmdline")
    except OSError:
        return False
    return (b"-dir", working_dir.encode()) in pairwise(arguments) and b"nodexfer.gcp.guard" not in arguments


def _strings(pid: int, name: str) -> list[bytes]:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read().split(b"\0")
