"""Requests are counted, and limited in their rate."""

from __future__ import annotations

import collections
import threading
import time

#: Requests are metered over so many seconds.
WINDOW_SECONDS = 10.0


class Counter:
    """A number that threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def add(self) -> None:
        with self._lock:
            self.count += 1


class RateLimiter:
    """Times of the latest requests of each identity."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[str, collections.deque[float]] = {}

    def wait(self, identity: str, per_second: float) -> float:
        """0 and the request counts; or the seconds until one would be let in. ``per_second`` 0: no limit."""
        if per_second <= 0:
            return 0.0
        now = time.monotonic()
        with self._lock:
            times = self._times.setdefault(identity, collections.deque())
            while times and now - times[0] > WINDOW_SECONDS:
                times.popleft()
            if len(times) >= per_second * WINDOW_SECONDS:
                return WINDOW_SECONDS - (now - times[0])
            times.append(now)
        return 0.0
