"""Virtual time: what happens next happens at once."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Clock:
    """A module-like stand-in for :mod:`time` where the product asks it, and the agenda of the simulation."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Of the product's own loops: nobody else runs meanwhile."""

    def at(self, moment: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (max(moment, self.now), next(self._numbers), what))

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        self.at(self.now + seconds, what)

    def step(self) -> bool:
        """Let the next thing happen; False when there is none."""
        if not self._agenda:
            return False
        self.now, _, what = heapq.heappop(self._agenda)
        what()
        return True
