"""Calls to the service, in a few threads; their answers come back to the one thread that decides."""

from __future__ import annotations

import queue
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from nodexfer.errors import NodexferError, TransferFailed

_T = TypeVar("_T")


class Calls(Protocol):
    """``then`` gets what ``function`` returned, or the error that it raised, in the thread that drains."""

    def start(self, function: Callable[[], _T], then: Callable[[_T | NodexferError], None]) -> None: ...

    def drain(self) -> None:
        """Hand over the answers that have come."""


def attempt(function: Callable[[], _T]) -> _T | NodexferError:
    """What the function returns or raises. An error that is none of ours is a fault of the program: it is logged whole,
    and becomes the end of one request and not of the desk."""
    try:
        return function()
    except NodexferError as error:
        return error
    except Exception as error:  # noqa: BLE001 (see the docstring)
        traceback.print_exc(file=sys.stderr)
        return TransferFailed(f"The desk failed with {type(error).__name__}: {error}.", "nodexfer status")


class Threads:
    """A few threads, so that one slow collection does not hold up the others. ``wake`` is called when one is done."""

    def __init__(self, wake: Callable[[], None], count: int = 4) -> None:
        self._wake = wake
        self._todo: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Callable[[Any], None], Any]] = queue.SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._work, daemon=True, name=f"call-{number}").start()

    def start(self, function: Callable[[], _T], then: Callable[[_T | NodexferError], None]) -> None:
        self._todo.put((function, then))

    def drain(self) -> None:
        while True:
            try:
                then, answer = self._done.get_nowait()
            except queue.Empty:
                return
            then(answer)

    def _work(self) -> None:
        while True:
            function, then = self._todo.get()
            self._done.put((then, attempt(function)))
            self._wake()
