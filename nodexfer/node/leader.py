"""One term of a leader: from the lock to the endpoint, as long as there is work, and all the way back.

    1  desk       started first: it imports globus_sdk while the rest goes on
    2  claim      continue the place's lease, or take one from the pool
    3  clear      what other leases left in the exchanges; a killed leader's desk and guard are waited for by lock
    4  fence      under a new lease: no task of an earlier one is left on the endpoint; before GCP connects; where one
                  can not be ended the endpoint is given back, passed over for a while, and another one taken
    5  start      GCP under its guard, allowed to run for two thirds of the lease from each renewal's beginning
    6  prove      the desk sees in each exchange, through the service, a file just written: ready
    7  watch      GCP, desk, service, node_dir, lease; mend once, then give up in words
    8  close      desk and GCP stopped; lease, exchange and lock given back

A take-over is the same: the lease goes on under its number, so the fence is done already, and GCP starts at once.

The term ends when nothing was to do for the linger time, when the keeper says so (its job ends: the lease stays where
others have work), or with an error. Whatever ends it, GCP is stopped before the lease and the lock are given up;
SIGKILL is no exception, since the guard sees its pipe close.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from nodexfer.config import Config
from nodexfer.errors import EndpointFailed, ForeignGcp, LeaseLost, NodeDirRemoved, NodexferError, PoolExhausted
from nodexfer.gcp import install
from nodexfer.node import claim as claims
from nodexfer.node import clean, endpoint, locks, registry, silence, work
from nodexfer.node.fencing import Fencing
from nodexfer.node.log import say
from nodexfer.node.order import Order
from nodexfer.node.parts import TURN_SECONDS, Lost, Parts, StepDown, Unfenced
from nodexfer.pool.lease import Lease
from nodexfer.scheduler import Job

#: Until the service sees it: at first, and where it had lost it, so that who waits is told within a minute of that.
READY_SECONDS, AGAIN_SECONDS = 120.0, 35.0
#: Lost again within this time after being mended: given up.
STEADY_SECONDS = 60.0
#: What is said while the renewal goes on trying.
_STILL = "The endpoint of this node stands still: its lease was not renewed in time; it is tried again all the while."


class Term:
    """Use once, in the thread that has the lock. ``descriptor`` is the node_dir, locked since ``since`` (epoch)."""

    def __init__(self, config: Config, job: Job, descriptor: int, since: float, stop: Order, linger: float) -> None:
        self.config = config
        self.job = job
        self.paths = config.node_paths
        self._descriptor = descriptor
        self._linger = linger
        self._before = endpoint.read(self.paths)
        self._notice = endpoint.Notice(self.paths, job.key, since, config.silence)
        self._parts = Parts(config, stop, self._beat)
        self._fencing = Fencing(config, self._parts)
        self._lease: Lease | None = None
        self._prepared: claims.Prepared | None = None
        self._trouble = False
        self._last_mend = float("-inf")

    def run(self) -> None:
        """Lead until it is over. The lock is the caller's.

        :raises NodexferError: why there is no endpoint; everything has been given back.
        """
        silence.forget(self.paths)
        self._try(lambda: clean.clear_dead_jobs(self.config))
        self._notice.say(endpoint.STARTING, "looking what there is to do")
        try:
            if self._has_work():
                while not self._one_lease():
                    pass
        except StepDown:
            pass
        except NodexferError:
            self._trouble = True
            raise
        except Lost as lost:
            self._trouble = True
            raise EndpointFailed(f"The endpoint could not be made ready: {lost}.") from lost
        finally:
            self._close()

    # -- one lease ---------------------------------------------------------------------------------------------------

    def _one_lease(self) -> bool:
        """True when it is over; False when the lease was lost or given back, and another is to be taken."""
        program = install.find(self.config)
        try:
            self._parts.start_desk()
            prepared = self._take_lease()
            while not self._up_and_over(program, prepared):
                pass
        except LeaseLost as error:
            self._trouble = True
            self._drop_lease(str(error))
            return False
        except (claims.TurnLost, Unfenced) as error:
            lease = self._drop_lease(str(error))
            self._try(lambda: claims.give_back(self.config, lease))
            return False
        return True

    def _drop_lease(self, why: str) -> Lease:
        """Stop all that is of this lease; which it was."""
        lease, self._lease = self._lease, None
        assert lease is not None
        say(why)
        self._parts.stop_gcp()
        self._parts.stop_desk()
        self._parts.stop_renewal()
        self._before = self._prepared = None
        self._notice.say(endpoint.STARTING, why, endpoint_id=None, entry=None, lease=None, fenced=False)
        return lease

    def _take_lease(self) -> claims.Prepared:
        if self._before is None:  # nothing to go on with: no GCP of this place runs, and an endpoint would lie idle
            self._wait_for_turn()
        claim = claims.take(self.config, self.job, self._wait_for_pool, self._parts.sleep, self._fencing.passed)
        lease = self._lease = claim.lease
        self._parts.renew(claim, claims.demand(self.config, lease))
        fenced = self._was_fenced(lease)
        known: dict[str, Any] = {"endpoint_id": lease.endpoint_id, "entry": lease.entry, "lease": lease.number}
        self._notice.say(endpoint.STARTING, "preparing the exchange", fenced=fenced, **known)
        prepared = self._prepared = claims.prepare(self.config, lease)
        if not fenced:
            self._fence(lease)
        self._notice.say(endpoint.STARTING, "starting GCP", fenced=True, **prepared.seen)
        return prepared

    def _fence(self, lease: Lease) -> None:
        """Whatever becomes of the desk. :raises Unfenced: another endpoint is to be taken. :raises NodexferError: there
        is none, or a second desk has ended within a minute."""
        while True:
            try:
                self._fencing.end_old_tasks(lease)
                return
            except Lost as lost:
                self._mend(lost)
            except Unfenced as unfenced:
                self._lease = lease._replace(trouble=unfenced.error.message)  # what others read when it is given back
                raise (unfenced.error if unfenced.last else unfenced) from None

    def _was_fenced(self, lease: Lease) -> bool:
        before = self._before
        return before is not None and before.fenced and (before.entry, before.lease) == (lease.entry, lease.number)

    def _up_and_over(self, program: install.Program, prepared: claims.Prepared) -> bool:
        """Up, and watched until it is over: True. False when a part was lost, and it is to be started once more."""
        try:
            self._start_gcp(program, prepared)
            patience = AGAIN_SECONDS if time.monotonic() - self._last_mend < STEADY_SECONDS else READY_SECONDS
            self._parts.ask_desk("serve", "ready", patience, exchanges=prepared.exchanges)
            self._parts.last_work = time.monotonic()
            self._notice.say(endpoint.READY, ready_at=time.time())
            self._watch()
        except Lost as lost:
            self._mend(lost)
            return False
        return True

    def _start_gcp(self, program: install.Program, prepared: claims.Prepared) -> None:
        """Wait for another GCP of this user as long as anybody's patience lasts."""
        while True:
            try:
                self._parts.start_gcp(program, prepared)
                return
            except ForeignGcp:
                self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        """Until no GCP of this user runs here: another place's is given up when it is idle, a stranger's by its owner.

        A guard that a SIGKILL ended may have left ours: it is cleared away by the start of the next one.

        :raises nodexfer.node.claim.TurnLost: we have an endpoint, and no task is under way on it that would go on when
            our turn comes.
        """
        with claims.Turn(self.config, self.job) as turn:
            while not turn.has_come:
                if self._lease is not None and not work.under_way(self.paths, self._lease.number):
                    raise claims.TurnLost("another GCP was quicker: giving the endpoint back until it has ended")
                turn.join()
                self._waits(turn.foreign())
                self._parts.sleep(TURN_SECONDS)

    def _watch(self) -> None:
        """Until nothing was to do for the linger time, or for a moment and another place waits."""
        while time.monotonic() - self._parts.last_work < self._linger or self._has_own_work():
            self._parts.turn(TURN_SECONDS)
            self._parts.check()
            busy = self._has_own_work()
            if busy:
                self._parts.last_work = time.monotonic()
            if self._parts.is_wanted_elsewhere(idle=not busy):
                say("another place waits: giving the endpoint back")
                return
        say("nothing to do: giving the endpoint back")

    def _mend(self, lost: Lost) -> None:
        """Clear for another start: once. A lease that could not be renewed is waited for, and does not count.

        :raises EndpointFailed: lost again within a minute. :raises StepDown: nobody waits for the lease any more.
        """
        self._trouble = True
        say(f"mending: {lost}")
        expired = self._parts.lease_left <= 0
        if lost.counts and not expired and time.monotonic() - self._last_mend < STEADY_SECONDS:
            raise EndpointFailed(f"The endpoint was lost, mended, and lost again: {lost}.") from lost
        self._notice.say(endpoint.MENDING, str(lost))
        self._parts.tell_desk("pause")
        if lost.restart:
            self._parts.stop_gcp()
        self._parts.start_desk()
        self._parts.await_lease(lambda: self._waits(EndpointFailed(_STILL), begun=False))
        self._notice.say(endpoint.MENDING, str(lost))
        if lost.counts and not expired:
            self._last_mend = time.monotonic()

    # -- what there is to do -----------------------------------------------------------------------------------------

    def _wait_for_pool(self, text: str) -> None:
        self._waits(PoolExhausted(f"No endpoint is free: {text}."))

    def _waits(self, error: NodexferError, *, begun: bool = True) -> None:
        """Say what is waited for, refuse who does not want to wait any longer. :raises StepDown: nobody is left."""
        self._notice.say(endpoint.WAITING, str(error), waiting=error)
        work.refuse_impatient(self.paths, None, error, begun=begun)
        if not self._has_work():
            raise StepDown
        self._parts.keep_desk()

    def _beat(self) -> None:
        if not self._is_there():
            raise NodeDirRemoved(f"{self.paths.node_dir} was removed or replaced; its endpoint was stopped.")

    def _is_there(self) -> bool:
        return locks.same(self._descriptor, self.paths.node_dir)

    def _has_work(self) -> bool:
        """Does anybody here want the endpoint?"""
        return bool(work.requests(self.paths)) or self._has_own_work()

    def _has_own_work(self) -> bool:
        """What this leader is for: what its desk has in hand, its job's requests, holds that want the endpoint.

        Requests of others that this desk does not serve (another identity's) have keepers of their own that wait.
        """
        if self._parts.busy > 0 or work.requests(self.paths, self.job.key):
            return True
        return any(hold.endpoint for hold in registry.living(self.paths))

    # -- closing -----------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Everything stopped and given back, in this order, in 20 s and what the file system takes; never raises."""
        self._try(self._say_stopping)
        self._parts.stop_desk()
        ended = self._parts.stop_gcp()
        self._parts.stop_renewal()
        if ended:
            self._try(self._give_back)
        else:
            say("GCP can not be killed: the lease is kept")

    def _say_stopping(self) -> None:
        if self._is_there():
            self._notice.say_stopping()

    def _give_back(self) -> None:
        there = self._is_there()
        if there and work.of_others(self.paths, self.job.key):
            if self._lease is not None:
                claims.save_credentials(self.config, self._lease)
            return
        if self._lease is not None and not there:
            claims.give_back_from_nowhere(self.config, self._lease, self._prepared)
        elif self._lease is not None:
            claims.give_back(self.config, self._lease)
        elif there:
            claims.give_back_left(self.config)
        if there:
            clean.old_exchanges(self.config, None).remove()
            if not self._trouble:
                clean.logs_of_a_good_term(self.paths)
            self._notice.remove()

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (NodexferError, OSError) as error:
            say(f"while closing: {type(error).__name__}: {error}")
