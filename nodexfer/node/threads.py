"""What the threads of a process are at (proc(5), ``task/*/stat``): what its main thread alone would not tell."""

from __future__ import annotations

import os


def states(pid: int) -> set[str]:
    """One letter for each thread: T stopped, D uninterruptible, Z ended; none where the process has gone."""
    try:
        names = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return set()
    return {fields[0] for fields in (_fields(pid, name) for name in names) if fields}


def main_ran(pid: int) -> int:
    """The processor time that the main thread has used, in ticks of the clock; -1 where it has gone."""
    fields = _fields(pid, str(pid))
    return int(fields[11]) + int(fields[12]) if fields else -1


def _fields(pid: int, thread: str) -> list[str]:
    """From the state on: the name before it may itself hold any byte. Empty where the thread has gone."""
    try:
        with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return []
    return text[text.rindex(b")") + 2 :].decode().split()
