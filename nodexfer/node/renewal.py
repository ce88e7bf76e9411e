"""Keeping the lease: one thread renews it on the shared file system, and tells the guard how long GCP may run.

The file system may hang for minutes, and then so does this thread, alone. The watchdog that never touches it is the
guard: a process of its own, on a clock that counts suspended time, which ends GCP when what it was allowed is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from nodexfer.errors import LeaseLost
from nodexfer.gcp.guard import now
from nodexfer.node.log import say
from nodexfer.pool import lease as leases


class Renewal(threading.Thread):
    """Started with a lease that was taken or resumed at ``began`` (:func:`nodexfer.gcp.guard.now`).

    :param changed: called from this thread after each renewal and when the lease is lost.
    """

    def __init__(self, lease: leases.Lease, began: float, changed: Callable[[], None]) -> None:
        super().__init__(name="renewal", daemon=True)
        self.lost: LeaseLost | None = None
        self._lease = lease
        self._until = began + leases.allowance(lease)
        self._changed = changed
        self._over = threading.Event()

    @property
    def left(self) -> float:
        """Seconds for which GCP may run from now on; 0 or less: not at all."""
        return self._until - now()

    def stop(self) -> None:
        """Renew no more. One that hangs in the file system is left behind: what it does late moves a time stamp."""
        self._over.set()
        self.join(1.0)

    def run(self) -> None:
        while not self._over.wait(self._lease.duration * leases.RENEW):
            began = now()
            try:
                leases.renew(self._lease)
            except LeaseLost as error:
                self.lost = error
                self._changed()
                return
            except OSError as error:
                say(f"the lease could not be renewed: {error}")
                continue
            self._until = began + leases.allowance(self._lease)
            self._changed()
