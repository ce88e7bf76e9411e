"""What wakes a command that waits for its answers: one bell in each request's directory, which the answerer rings.

A bell only shortens the wait: where none can be made, or nobody rings, the command looks now and then all the same.
"""

from __future__ import annotations

import select
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from nodexfer.node.bell import Bell
from nodexfer.staging import spool


class Bells:
    def __init__(self) -> None:
        self._bells: list[Bell] = []
        self._poll = select.poll()

    def hang(self, directory: str) -> None:
        """In a request's directory. Answers that came before are to be looked for after this."""
        try:
            self._bells.append(Bell(f"{directory}/{spool.BELL}"))
        except OSError:  # the request has gone, or there is no room: it is looked for
            return
        self._poll.register(self._bells[-1].fileno(), select.POLLIN)

    def wait(self, seconds: float) -> None:
        """Until one rings, at most so long."""
        if self._poll.poll(seconds * 1000):
            for one in self._bells:
                one.heard()

    def take_down(self) -> None:
        for one in self._bells:
            one.close()


@contextmanager
def hung(directories: Iterable[str]) -> Iterator[Bells]:
    """One in each, as long as the block."""
    bells = Bells()
    try:
        for directory in directories:
            bells.hang(directory)
        yield bells
    finally:
        bells.take_down()
