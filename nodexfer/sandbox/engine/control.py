"""How a running task is told to stop, and why it ended."""

from __future__ import annotations

import threading
from typing import Literal, NamedTuple

Reason = Literal["canceled", "expired", "shutdown", "reset"]


class Stopped(Exception):
    """Raised inside a worker once its task is to stop."""


class Problem(NamedTuple):
    """What kept an attempt from its end. ``fatal``: no retry can mend it."""

    code: str
    details: str
    fatal: bool = False


#: The other side can not be reached at all: the attempt ends, whatever other files there are.
UNREACHABLE = frozenset(
    {
        "GC_NOT_CONNECTED",
        "GC_PAUSED",
        "CONNECT_FAILED",
        "CONNECTION_BROKEN",
        "CONNECTION_RESET",
        "ENDPOINT_ERROR",
        "ENDPOINT_TOO_BUSY",
        "TIMEOUT",
    }
)

#: What ``skip_source_errors`` lets pass (Transfer API, task_submit).
SKIPPABLE = frozenset({"PERMISSION_DENIED", "FILE_NOT_FOUND", "AMBIGUOUS_PATH"})

#: No retry can mend these. Globus documents that there are fatal errors, not which: all others are retried.
FATAL = frozenset(
    {
        "EXTERNAL_CHECKSUM_MISMATCH",
        "INVALID_PATH_NAME",
        "IS_A_DIRECTORY",
        "IS_A_FILE",
        "NOT_A_DIRECTORY",
        "NOT_A_FILE",
    }
)


class Control:
    """One attempt's stop button. Workers ask :meth:`check` between blocks."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.reason: Reason | None = None

    def stop(self, reason: Reason) -> None:
        if self.reason is None:
            self.reason = reason
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def check(self) -> None:
        """:raises Stopped: the task is to stop."""
        if self._stop.is_set():
            raise Stopped(self.reason)
