"""Children that end with their parent: each has a pipe from it as standard input, and ends when that closes.

However the parent dies, the kernel closes the pipe; no signal is needed.
"""

from __future__ import annotations

import _thread
import os
import sys
from typing import NamedTuple


class Child(NamedTuple):
    """``lifeline`` is the write end of its standard input; ``out`` and ``err`` are read ends, or -1."""

    pid: int
    lifeline: int
    out: int
    err: int


def start(program: str, arguments: list[str], *, err: bool = False, out: bool = True, own_group: bool = False) -> Child:
    """Start one of this installation's programs. It inherits nothing but its three standard descriptors.

    :param err: read its standard error, too; else it goes where ours goes.
    """
    argv = [sys.executable, "-I", "-S", "-X", "utf8", program, *arguments]
    stdin, lifeline = os.pipe()
    out_read, out_write = os.pipe() if out else (-1, os.open(os.devnull, os.O_WRONLY))
    err_read, err_write = os.pipe() if err else (-1, -1)
    actions: list[tuple[int, int, int]] = [
        (os.POSIX_SPAWN_DUP2, stdin, 0),
        (os.POSIX_SPAWN_DUP2, out_write, 1),
    ]
    if err:
        actions.append((os.POSIX_SPAWN_DUP2, err_write, 2))
    try:
        if own_group:
            pid = os.posix_spawn(sys.executable, argv, os.environ, file_actions=actions, setpgroup=0)
        else:
            pid = os.posix_spawn(sys.executable, argv, os.environ, file_actions=actions)
    finally:
        for descriptor in (stdin, out_write, err_write):
            if descriptor >= 0:
                os.close(descriptor)
    return Child(pid, lifeline, out_read, err_read)


def cut(child: Child) -> None:
    """Close our ends; the child ends by that."""
    for descriptor in child[1:]:
        if descriptor >= 0:
            os.close(descriptor)


def die_with_parent() -> None:
    """From now on this process ends, whatever it is at, when its standard input closes."""
    _thread.start_new_thread(_watch, ())


def _watch() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)
