"""Wanting to lead, waiting for the leader's lock, leading: one thread, started when there is work.

The lock is a flock on the node_dir itself. The waiter blocks in flock(2), so that the kernel wakes the next one the
moment a leader's process is gone, however it went; the keeper's main thread goes on keeping meanwhile. A lock that
comes when nobody wants it any more is given back at once.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from nodexfer import records
from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import NodexferError
from nodexfer.node import clean, failure, locks, work
from nodexfer.node.endpoint import beat, left_behind
from nodexfer.node.log import say
from nodexfer.node.order import Order
from nodexfer.node.registry import Hold
from nodexfer.scheduler import Job

if TYPE_CHECKING:
    from nodexfer.node.leader import Term

#: After a failure, what had been asked for before waits so long; what is new does not.
BACK_OFF_SECONDS = 30.0
#: A leader that was told to go lets others have the lock first: who closes and locks at once is quicker than they wake.
YIELD_SECONDS = 1.0
#: Whose job ends sooner (s) lets another keeper lead, if one waits: it would soon be taken over.
LAST_SECONDS = 120.0


class Leadership:
    """The main thread's handle on it. Every method comes back at once."""

    def __init__(self, config: Config, job: Job, wake: Callable[[], None]) -> None:
        self._config = config
        self._paths = config.node_paths
        self._job = job
        self._wake = wake
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._retired = False
        self._stop = Order()
        self._leading = False
        self._failed_at = 0.0
        #: By a clock that nobody sets: what had been asked for by then is tried again after this.
        self._again = Deadline(0.0)
        self._yielding = False
        self._passed = False
        self._linger = config.linger
        self._tidying = False
        #: The processor time of the thread: its clock, and what it said last.
        self._clock = time.CLOCK_THREAD_CPUTIME_ID
        self._ran = 0
        #: A term to tidy up failed.
        self.in_vain = False

    # -- the keeper's main thread ------------------------------------------------------------------------------------

    def want(self, holds: Sequence[Hold]) -> None:
        """Wait for the lock if there is work for us; want it no more if there is none. A leader decides itself."""
        self._wanted = self._has_work(holds)
        if self._wanted and not self.running:
            self._start()

    def tidy(self) -> None:
        """Take the lock once, to give back what a killed leader has left, and to end what dead jobs had begun."""
        with self._turn:
            self._wanted, self._retired = True, False
        self._linger, self._tidying = 0.0, True
        if not self.running:
            self._start()

    def step_down(self) -> None:
        """A leader hands over in good order: GCP and desk stopped, the lock free."""
        if self._leading:
            self._yielding = True
            self._stop.give()

    def retire(self) -> bool:
        """No term is to begin any more. True when none is on; else it is told to end, and wakes the keeper then."""
        with self._turn:
            self._retired = True
            self._wanted = False
        if self._leading:
            self._stop.give()
            return False
        return True

    def resume(self) -> None:
        """The opposite of :meth:`retire`: the job holds again."""
        with self._turn:
            self._retired = False
        self._linger = self._config.linger
        self._tidying = self.in_vain = False

    def give_up(self, seconds: float) -> None:
        """Retire, and wait for the end of the term, at most so long."""
        thread = self._thread
        if not self.retire() and thread is not None:
            thread.join(seconds)

    @property
    def running(self) -> bool:
        """Waiting for the lock, or leading."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def waits(self) -> bool:
        """For a lock that another keeper has."""
        return self.running and self._wanted and not self._leading

    def beat(self) -> None:
        """Show the others that we lead, if the thread that leads has run since this was last asked.

        It turns every second; one that hangs (in a file system, for a lock) uses no processor time, and so its heart
        does not beat: who waits ends us. Removing a large directory takes long, and is work.
        """
        if self._leading and self._has_run():
            beat(self._paths)

    def _has_run(self) -> bool:
        try:
            ran = time.clock_gettime_ns(self._clock)
        except OSError:  # it has just ended
            return False
        before, self._ran = self._ran, ran
        return ran != before

    def _start(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._lead, name="leader", daemon=True)
        self._thread.start()

    def _has_work(self, holds: Sequence[Hold]) -> bool:
        since = self._failed_at
        late = self._again.passed
        if any(late or hold.since > since for hold in work.wanting(holds)):
            return True
        for directory in work.requests(self._paths, self._job.key):
            found = work.waiting(directory)
            if found is not None and (late or found.since > since):
                return True
        return late and left_behind(self._paths)

    # -- the thread --------------------------------------------------------------------------------------------------

    def _lead(self) -> None:
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        if self._yielding:
            self._yielding = False
            time.sleep(YIELD_SECONDS)
        # Imported by who wants to lead, a keeper that never does stays small; and before the lock comes: a take-over is
        # waited for by everybody here.
        from nodexfer.node.leader import Term

        try:
            descriptor = self._lock()
            if self._passes_on():
                say("the end of the job is near: another keeper may lead")
                os.close(descriptor)
                time.sleep(YIELD_SECONDS)
                descriptor = self._lock()
        except OSError as error:
            say(f"can not lead: {error}")
            return
        try:
            since = time.time()
            if self._may_begin(descriptor):
                term = partial(Term, self._config, self._job, descriptor, since, self._stop, self._linger)
                self._one_term(term, descriptor)
        finally:
            os.close(descriptor)
            self._leading = False
            self._wake()

    def _lock(self) -> int:
        descriptor = os.open(self._paths.node_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor

    def _passes_on(self) -> bool:
        """Once, since others may be as near to their end; nobody is asked for ours, a command may have been told it."""
        from nodexfer.node import jobend

        own = {os.path.basename(self._paths.keeper(self._job.key))}
        if self._passed or not set(clean.keeper_names(self._paths)) - own:
            return False
        try:
            at = jobend.told(self._paths, self._job, os.environ)
        except (NodexferError, OSError):
            return False
        self._passed = at is not None and at - time.time() < LAST_SECONDS
        return self._passed

    def _may_begin(self, descriptor: int) -> bool:
        with self._turn:
            self._leading = self._wanted and not self._retired and locks.same(descriptor, self._paths.node_dir)
            return self._leading

    def _one_term(self, term: Callable[[], Term], descriptor: int) -> None:
        try:
            term().run()
        except NodexferError as error:
            say(f"could not lead: {type(error).__name__}: {error}")
            self._failed(descriptor, error)
        except Exception as error:  # noqa: BLE001 the thread's top: a fault of ours must reach who waits, and the log
            import traceback

            say("".join(traceback.format_exception(error)))
            ours = NodexferError(f"The leader failed: {type(error).__name__}: {error}.", "nodexfer status")
            self._failed(descriptor, records.of_a_file_system(error) or ours)

    def _failed(self, descriptor: int, error: NodexferError) -> None:
        """Tell those of our job that wait: the requests, and ``acquire --endpoint`` by :mod:`nodexfer.node.failure`."""
        if not locks.same(descriptor, self._paths.node_dir):
            return  # another place is there now, with a keeper and news of its own
        if self._tidying:  # nobody waits, and what Globus works on must be known to the next one
            self.in_vain = True
            return
        self._failed_at, self._again = time.time(), Deadline(BACK_OFF_SECONDS)
        for directory in work.requests(self._paths, self._job.key):
            work.refuse(directory, error)
        try:
            failure.write(self._paths, self._job.key, error)
        except NodexferError as full:
            say(str(full))
