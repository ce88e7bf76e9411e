"""Where a process can die: every event that changes files below the directories of a test, and every call of Globus.

Python announces what it is about to do (:func:`sys.addaudithook`), so that a death between any two steps needs no hook
in the product. What is not announced (write(2), fsync(2), ftruncate(2), renameat2(2)) goes through ``os`` or through
``copying.exchange``, and is wrapped. A death at a read leaves what the death at the next change leaves: reads are no
points.

A request of HTTP has two or three: before it, in the middle of it, and when its answer has come.

A write has three points: before it, in the middle of it, and after it. A process that dies drops its locks and its
sockets, as after SIGKILL; nothing of Python's own ending is run.
"""

from __future__ import annotations

import http.client
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from nodexfer.staging import copying

#: The exit code of a death.
DEAD = 77
_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
#: event -> which of its arguments are paths.
_EVENTS: dict[str, tuple[int, ...]] = {
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.chmod": (0,),
    "os.utime": (0,),
}


class Points:
    """Counts them, and dies at number ``die_at`` (0: never). ``report`` is a descriptor that the last words go to."""

    def __init__(self, tops: Iterable[str], die_at: int, report: int) -> None:
        self._tops = tuple(os.path.realpath(top) for top in tops)
        self._die_at = die_at
        self._report = report
        self._lock = threading.Lock()
        self._last_deed: Callable[[], object] = lambda: None
        self.count = 0

    def hit(self, what: str, last_deed: Callable[[], object] = lambda: None) -> None:
        with self._lock:
            self.count += 1
            if self.count == self._die_at:
                last_deed()
                self._last_deed()
                _write(self._report, what.encode(errors="surrogateescape"))
                os._exit(DEAD)

    def begin_anew(self, die_at: int, report: int = -1, last_deed: Callable[[], object] = lambda: None) -> None:
        """In a child that was forked after :meth:`install`: its points are its own. ``last_deed``: done as it dies."""
        self._lock = threading.Lock()
        self._report = report if report >= 0 else self._report
        self._die_at, self._last_deed, self.count = die_at, last_deed, 0

    def install(self) -> None:
        """From now on, in this process: there is no way back."""
        sys.addaudithook(self._hear)
        # The wrapped functions are of this process alone, which ends with its operation.
        for name in ("write", "pwrite"):
            setattr(os, name, self._torn(name, getattr(os, name)))
        for name in ("fsync", "ftruncate"):
            setattr(os, name, self._announced(name, getattr(os, name)))
        copying.exchange = self._exchange
        http.client.HTTPConnection.getresponse = self._answered(http.client.HTTPConnection.getresponse)  # type: ignore[method-assign]

    # -- what is heard -----------------------------------------------------------------------------------------------

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & _CHANGES and self._is_ours(path):
                self.hit(f"open {path}")
        elif event in _EVENTS:
            paths = [arguments[number] for number in _EVENTS[event]]
            if any(self._is_ours(path, arguments[-1]) for path in paths):
                self.hit(f"{event} {' '.join(map(str, paths))}")
        elif event == "http.client.send":
            self.hit("send a request, or the rest of it")
        elif event == "socket.bind" and isinstance(arguments[1], str) and self._is_ours(arguments[1]):
            self.hit(f"bind {arguments[1]}")

    def _is_ours(self, path: object, directory: object = -1) -> bool:
        if not isinstance(path, (str, bytes)):
            return False
        text = os.fsdecode(path)
        if not text.startswith("/"):
            if type(directory) is not int or directory < 0:
                return False
            text = f"/proc/self/fd/{directory}/{text}"
        if text.startswith("/proc/self/fd/"):
            text = os.path.realpath(os.path.dirname(text))
        return text.startswith(self._tops)

    def _of_descriptor(self, descriptor: int) -> str | None:
        try:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            return None
        return path if path.startswith(self._tops) else None

    # -- what is wrapped ---------------------------------------------------------------------------------------------

    def _torn(self, name: str, real: Callable[..., int]) -> Callable[..., int]:
        def write(descriptor: int, data: bytes, *rest: int) -> int:
            path = self._of_descriptor(descriptor)
            if path is None:
                return real(descriptor, data, *rest)
            self.hit(f"{name} {path}: nothing of {len(data)} bytes")
            half = len(data) // 2
            self.hit(f"{name} {path}: {half} of {len(data)} bytes", lambda: real(descriptor, data[:half], *rest))
            done = real(descriptor, data, *rest)
            self.hit(f"{name} {path}: all of {len(data)} bytes")
            return done

        return write

    def _announced(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        def announced(descriptor: int, *rest: int) -> None:
            path = self._of_descriptor(descriptor)
            if path is not None:
                self.hit(f"{name} {path}")
            real(descriptor, *rest)

        return announced

    def _answered(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def answered(connection: Any) -> Any:
            answer = real(connection)
            self.hit("an answer has come")
            return answer

        return answered

    def _exchange(self, one: str, other: str) -> bool:
        if self._is_ours(one) or self._is_ours(other):
            self.hit(f"exchange {one} {other}")
        return _exchange(one, other)


_write = os.write
_exchange = copying.exchange
