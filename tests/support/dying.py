"""A process that dies at its n-th call that changes something: a child is forked, and killed from inside."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

#: The calls of the system that change a file system.
CALLS = ("open", "write", "fsync", "rename", "mkdir", "unlink", "ftruncate", "rmdir")


def survives(work: Callable[[], object], number: int, more: Sequence[tuple[object, str]] = ()) -> bool:
    """Do ``work`` in a child that dies by SIGKILL before its ``number``-th event; True when it ended before that.

    :param more: (object, method) of further calls that count.
    :raises AssertionError: it ended otherwise.
    """
    child = os.fork()
    if child == 0:
        try:
            _die_at(number, [*((os, name) for name in CALLS), *more])
            work()
            os._exit(0)
        finally:
            os._exit(9)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return not os.WIFSIGNALED(status)


def _die_at(number: int, calls: Sequence[tuple[object, str]]) -> None:
    seen = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return call

    for owner, name in calls:
        setattr(owner, name, counted(getattr(owner, name)))
