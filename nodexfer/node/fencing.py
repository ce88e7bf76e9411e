"""Ending the tasks of earlier leases before GCP connects under a new one; where that fails, is there another endpoint?

A task that Globus does not end would go on by itself as soon as its endpoint connects. While the pool has another
endpoint, a task has half a minute to end, and then its endpoint is passed over; the last one has all the time that is
left. Together they take no longer than one alone may.
"""

from __future__ import annotations

import time

from nodexfer.config import Config
from nodexfer.node.parts import Parts, Unfenced
from nodexfer.pool.choose import PassedOver, has_another
from nodexfer.pool.lease import Lease

#: For all endpoints that are tried in a row; for one of them while there is another.
FENCE_SECONDS, TRY_SECONDS = 120.0, 30.0


class Fencing:
    """One term's. ``passed``: the endpoints that were passed over."""

    def __init__(self, config: Config, parts: Parts) -> None:
        self.passed = PassedOver()
        self._config = config
        self._parts = parts
        self._left = FENCE_SECONDS

    def end_old_tasks(self, lease: Lease) -> None:
        """See that no task is left on the endpoint that is not of this lease.

        :raises Unfenced: one is: the lease is to be given back; with ``last``, no other endpoint is to be taken.
        :raises Lost, NodexferError: the desk has ended, or could not ask.
        """
        if not self.passed:  # the first one, or so long after the others that all are tried again
            self._left = FENCE_SECONDS
        began = time.monotonic()
        try:
            self._try(lease)
        except Unfenced as unfenced:
            self._left -= time.monotonic() - began
            self.passed.add(lease.directory, unfenced.error)
            unfenced.args = (f"{lease.entry} is passed over: {unfenced}",)
            unfenced.last = self._left <= 0 or not self._has_another(lease)
            raise
        self._left = FENCE_SECONDS

    def _try(self, lease: Lease) -> None:
        began = time.monotonic()
        try:
            self._ask(min(TRY_SECONDS, self._left))
        except Unfenced:
            left = self._left - (time.monotonic() - began)
            if left <= 0 or self._has_another(lease):
                raise
            self._ask(left)

    def _ask(self, seconds: float) -> None:
        # A service that answers slowly has as much time as ever: only a task that does not end has less.
        self._parts.ask_desk("fence", "fenced", seconds, margin=max(0.0, self._left - seconds) + 5.0)

    def _has_another(self, lease: Lease) -> bool:
        return has_another(self._config, lease, self.passed)
