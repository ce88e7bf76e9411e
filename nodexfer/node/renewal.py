"""Keeping the lease: one thread renews it on the shared file system, and tells the guard how long GCP may run.

The file system may hang for minutes, and then so does this thread, alone. The watchdog that never touches it is the
guard: a process of its own, on a clock that counts suspended time, which ends GCP when what it was allowed is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from nodexfer.errors import LeaseLost, NodexferError
from nodexfer.gcp.guard import now
from nodexfer.node.log import say
from nodexfer.pool import lease as leases

LOOK_SECONDS = 3.0


class Renewal(threading.Thread):
    """Started with a lease that was taken or resumed at ``began`` (:func:`nodexfer.gcp.guard.now`).

    :param changed: called from this thread after each renewal, when the lease is lost, and when somebody wants it.
    :param demand: whether somebody waits for what we have; asked every 3 s while :attr:`idle` is set.
    """

    def __init__(
        self,
        lease: leases.Lease,
        began: float,
        changed: Callable[[], None],
        demand: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(name="renewal", daemon=True)
        self.lost: LeaseLost | None = None
        #: We have nothing to do; somebody else waits for the endpoint, or for this host's turn.
        self.idle = False
        self.wanted = False
        self._demand = demand
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
        """Whatever ends it is known as the loss of the lease: who waits for a renewal would wait for ever."""
        try:
            self._keep()
        except Exception as error:  # noqa: BLE001 the thread's top: a fault of ours
            import traceback

            say("".join(traceback.format_exception(error)))
            self.lost = LeaseLost(f"The lease is not renewed any more ({type(error).__name__}: {error}).")
            self._changed()

    def _keep(self) -> None:
        pause = self._lease.duration * leases.RENEW
        due = now() + pause
        while not self._over.wait(min(LOOK_SECONDS, max(0.0, due - now()))):
            self._look()
            if now() < due:
                continue
            if not self._renew():
                return
            due = now() + pause

    def _renew(self) -> bool:
        """False when the lease is lost."""
        began = now()
        try:
            leases.renew(self._lease)
            if self._until <= began:
                # GCP was stopped, and somebody may be about to take what nobody renewed: he looks once more first.
                self._over.wait(LOOK_SECONDS)
                began = now()
                leases.renew(self._lease)
            self._until = began + leases.allowance(self._lease)
        except LeaseLost as error:
            self.lost = error
        except (NodexferError, OSError) as error:
            say(f"the lease could not be renewed: {error}")
            return True
        self._changed()
        return self.lost is None

    def _look(self) -> None:
        if self._demand is None or not self.idle:
            self.wanted = False
        elif self._demand() and self.idle:
            self.wanted = True
            self._changed()
