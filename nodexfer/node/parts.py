"""What a leader has running: the desk, GCP under its guard, the renewal of the lease; started, heard, stopped.

One thread, the leader's, does all of this; it waits in :meth:`Parts.turn` and nowhere else for longer than a moment.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import EndpointFailed, NodexferError
from nodexfer.gcp import process
from nodexfer.gcp.install import Program
from nodexfer.node import work
from nodexfer.node.claim import Claim, Prepared
from nodexfer.node.desk import Desk, Message, error_of
from nodexfer.node.log import say
from nodexfer.node.order import Order
from nodexfer.node.pulse import Pulse
from nodexfer.node.renewal import Renewal

TURN_SECONDS = 1.0
#: A start waits so long for an older guard to end, or for the address; then the leader looks around and starts again.
START_SECONDS = 3.0
#: Characters of GCP's log that an error quotes.
QUOTE_LENGTH = 300
#: A desk that dies at once each time is started no more often than this (s), while something else is waited for.
DESK_SECONDS = 5.0


class StepDown(Exception):
    """The keeper wants the term to end, or nobody waits any more. An order, not an error."""


class Lost(Exception):
    """A part is gone; the message is a sentence. ``restart``: GCP has to be started again even if it lives.

    ``counts``: when it comes again soon, no more is tried.
    """

    def __init__(self, message: str, *, restart: bool = False, counts: bool = True) -> None:
        super().__init__(message)
        self.restart = restart
        self.counts = counts


class Unfenced(Exception):
    """A task of an earlier lease can not be ended: ``error`` says which. ``last``: no other endpoint is to be tried."""

    def __init__(self, error: NodexferError) -> None:
        super().__init__(error.message)
        self.error = error
        self.last = False


class Parts:
    """Made and used by the leader's thread. ``beat`` is called at every turn, and may raise."""

    def __init__(self, config: Config, stop: Order, beat: Callable[[], None]) -> None:
        self.config = config
        self.logs = config.node_paths.logs
        #: Requests that the desk has in its hands; when it last said anything of them (monotonic seconds).
        self.busy = 0
        self.last_work = time.monotonic()
        self._stop = stop
        self._beat = beat
        self._desk: Desk | None = None
        self._desk_since = 0.0
        self._pulse = Pulse(0)
        self._gcp: process.Running | None = None
        self._renewal: Renewal | None = None
        self._claim: Claim | None = None
        self._said: set[str] = set()

    # -- starting ----------------------------------------------------------------------------------------------------

    def start_desk(self) -> None:
        """Start it if it does not run. It takes a third of a second, beside whatever else there is to do."""
        if self._desk is None:
            self._desk, self._desk_since = Desk(self.config), time.monotonic()
            self._pulse = Pulse(self._desk.pid)

    def keep_desk(self) -> None:
        """Another one where it has ended: for who waits for something else, during which it looks at sources."""
        if self._desk is None or time.monotonic() - self._desk_since < DESK_SECONDS:
            return
        try:
            self._check_desk()
        except Lost as lost:
            say(f"starting another desk: {lost}")
            self.start_desk()

    def renew(self, claim: Claim, demand: Callable[[], bool]) -> None:
        """Keep the lease from now on; ``demand`` says whether another place waits for it."""
        self._claim = claim
        self._renewal = Renewal(claim.lease, claim.began, self._renewed, demand)
        self._renewal.start()

    def is_wanted_elsewhere(self, idle: bool) -> bool:
        """Does another place wait for what we have, while we are ``idle``? Known within some seconds."""
        if self._renewal is None:
            return False
        self._renewal.idle = idle
        return idle and self._renewal.wanted

    def start_gcp(self, program: Program, prepared: Prepared) -> None:
        """Start it if it does not run, for as long as the lease allows.

        :raises ForeignGcp: another one of this user runs.
        :raises EndpointFailed, PoolEntryBroken, GcpMissing: it ended at once.
        """
        if self._gcp is not None and self._gcp.alive:
            return
        self.stop_gcp()
        self._gcp = process.start(
            program,
            self.config,
            prepared.working,
            list(prepared.exchanges.values()),
            f"{self.logs}/gcp.log",
            self.config.node_paths.guard_lock,
            timeout=START_SECONDS,
            allowed=self.lease_left,
        )

    @property
    def lease_left(self) -> float:
        """Seconds for which GCP may run; 0 or less: not at all."""
        return 0.0 if self._renewal is None else self._renewal.left

    def await_lease(self, on_wait: Callable[[], None]) -> None:
        """Until GCP may run again: the renewal goes on trying. ``on_wait`` is called every second, and may raise.

        :raises StepDown, LeaseLost, NodexferError: as :meth:`turn`. That the service does not see us now is known.
        """
        while self.lease_left <= 0:
            on_wait()
            try:
                self.turn(TURN_SECONDS)
            except Lost as lost:
                say(f"while the lease is not renewed: {lost}")

    # -- waiting -----------------------------------------------------------------------------------------------------

    def turn(self, seconds: float) -> None:
        """Sleep at most ``seconds`` or until something happens; then hear it out.

        :raises StepDown, LeaseLost: the term, or this lease, is over.
        :raises Lost: the service does not see the endpoint.
        :raises Unfenced: a task of an earlier lease can not be ended.
        :raises NodexferError: the desk said so, or ``beat`` did.
        """
        watched: list[Order | Desk | process.Running] = [self._stop]
        if self._desk is not None and self._desk.open:
            watched.append(self._desk)
        if self._gcp is not None and self._gcp.alive and self._gcp.can_be_watched:
            watched.append(self._gcp)
        ready = select.select(watched, [], [], seconds)[0]
        self._stop.drain()
        if self._stop.is_set:
            raise StepDown
        self._beat()
        if self._renewal is not None and self._renewal.lost is not None:
            raise self._renewal.lost
        if self._desk is not None and self._desk in ready:
            self._pulse.heard(time.monotonic())
            for message in self._desk.heard():
                self._hear(message)
        self._feel_pulse(time.monotonic())

    def _feel_pulse(self, now: float) -> None:
        """Ask the desk whether it goes on, where somebody would miss it; :meth:`check` sees that it does not."""
        self._pulse.look(now)
        if self._desk is None or "hello" not in self._said:
            return
        if (self.busy > 0 or work.requests(self.config.node_paths)) and self._pulse.asks(now):
            self._desk.say({"do": "ping"})

    def sleep(self, seconds: float) -> None:
        """Turns for ``seconds``."""
        deadline = Deadline(seconds)
        while not deadline.passed:
            self.turn(min(TURN_SECONDS, deadline.left))

    def await_word(self, word: str, seconds: float) -> None:
        """Until the desk has said ``word``.

        :raises Lost: a part has ended. :raises EndpointFailed: not in time.
        """
        deadline = Deadline(seconds)
        while word not in self._said:
            if deadline.passed:
                raise EndpointFailed(f"The desk did not say {word!r} within {seconds:g} s; see {self.logs}/desk.log.")
            self.turn(min(TURN_SECONDS, deadline.left))
            if word not in self._said:
                self.check()

    def check(self) -> None:
        """:raises Lost: a part has ended."""
        self._check_desk()
        if self._gcp is not None and not self._gcp.alive:
            raise Lost(f"GCP has ended: {self._last_words() or 'it said nothing'}")

    def _check_desk(self) -> None:
        if self._desk is not None:
            silent = self._pulse.is_lost()
            if silent or not self._desk.open:
                self._desk.kill()
                self._desk = None
                self._said.clear()
                self.busy = 0
                what = "gave no sign of life, and was ended" if silent else "has ended"
                raise Lost(f"the desk {what}; see {self.logs}/desk.log")

    def ask_desk(self, what: str, answer: str, seconds: float, *, margin: float = 5.0, **more: object) -> None:
        """Have the desk do ``what``, and wait for its ``answer``, a ``margin`` (s) longer than it may take.

        One that has just been started is waited for as long, before.

        :raises Lost, EndpointFailed: see await_word.
        """
        self.await_word("hello", seconds + margin)
        self._said.discard(answer)
        self.tell_desk(what, seconds=seconds, **more)
        self.await_word(answer, seconds + margin)

    def tell_desk(self, what: str, **more: object) -> None:
        if self._desk is not None and self._claim is not None:
            lease = self._claim.lease
            about = {"endpoint": lease.endpoint_id, "lease": lease.number, "entry": lease.entry}
            self._desk.say({"do": what, **about, **more})

    def _hear(self, message: Message) -> None:
        if message.get("unfenced"):
            raise Unfenced(error_of(message))
        if message.get("error"):
            raise self._quoting(error_of(message))
        if "busy" in message:
            self.busy = int(message["busy"])
            self.last_work = time.monotonic()
        self._said.update(message)
        if "lost" in message:
            raise self._lost(str(message["lost"]))

    def _lost(self, why: str) -> Lost:
        """The desk's word. It says "stalled" once for each task, whatever becomes of it."""
        if why == "stalled":
            return Lost("no bytes move, and Globus does not say why", restart=True, counts=False)
        said = self._last_words()
        quoted = f"; GCP said last: {said}" if said else ""
        return Lost(f"the service does not see the endpoint ({why}){quoted}", restart=True)

    def _quoting(self, error: NodexferError) -> NodexferError:
        """With GCP's last words where the endpoint failed: the desk, which says so, does not know them."""
        said = self._last_words()
        if not isinstance(error, EndpointFailed) or not said:
            return error
        return type(error)(f"{error.message} GCP said last: {said}", error.next)

    def _last_words(self) -> str:
        """What GCP wrote last, in one line; '' if it runs not, or wrote nothing."""
        lines = [] if self._gcp is None else self._gcp.log_tail(3).splitlines()
        return " / ".join(line.strip() for line in lines if line.strip())[-QUOTE_LENGTH:]

    def _renewed(self) -> None:
        """From the renewal's thread."""
        gcp, renewal = self._gcp, self._renewal
        if gcp is not None and renewal is not None and renewal.lost is None:
            gcp.allow(renewal.left)
        self._stop.nudge()

    # -- stopping ----------------------------------------------------------------------------------------------------

    def stop_desk(self) -> None:
        """At most 5 s for what it is writing."""
        desk, self._desk = self._desk, None
        self._said.clear()
        self.busy = 0
        if desk is not None:
            desk.stop()

    def stop_gcp(self) -> bool:
        """False: a process of it can not be killed. At most 14 s."""
        gcp, self._gcp = self._gcp, None
        return gcp is None or gcp.stop()

    def stop_renewal(self) -> None:
        renewal, self._renewal = self._renewal, None
        self._claim = None
        if renewal is not None:
            renewal.stop()
