"""A flag that another thread sets and a select(2) sees."""

from __future__ import annotations

import os


class Order:
    """``is_set`` says whether it was given; :meth:`nudge` only wakes. Both from any thread; reset by :meth:`clear`."""

    def __init__(self) -> None:
        self.is_set = False
        self._out, self._in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def fileno(self) -> int:
        return self._out

    def give(self) -> None:
        self.is_set = True
        self.nudge()

    def nudge(self) -> None:
        try:
            os.write(self._in, b".")
        except BlockingIOError:  # it is full of nudges
            pass

    def drain(self) -> None:
        """Take the nudges that :meth:`fileno` became readable for."""
        try:
            os.read(self._out, 4096)
        except BlockingIOError:
            pass

    def clear(self) -> None:
        self.is_set = False
        self.drain()
