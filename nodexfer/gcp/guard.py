"""The guard: the small process that GCP runs under, so that GCP never outlives the leader.

    python -m nodexfer.gcp.guard --lock FILE --dir WORKING_DIR [--keep NAME]... [--wait SECONDS] -- ARGV...

Its stdin is a pipe whose only other end the leader holds. When that closes, whatever closed it, the whole tree is
SIGKILLed. Lines on it are orders: ``stop`` (SIGTERM, after 5 s SIGKILL) and ``until T`` (be over when CLOCK_BOOTTIME
reaches T seconds: the leader's lease is good until then; a suspended machine's time counts, and is looked at within
5 s after it wakes). SIGTERM, SIGINT and SIGHUP mean ``stop``.

It is a child subreaper, so that what GCP double-forks comes back to it, and it exits only when no descendant is left.
For all its life it holds the flock on ``--lock``: a free lock means that no GCP of this place runs (or that the guard
itself was SIGKILLed, which is why the next one clears strays before it starts anything). GCP inherits neither the lock
nor the pipe. The exit code is GCP's (128 + n for a signal); 75 when the lock could not be had.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import time
from typing import NamedTuple, NoReturn

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.gcp import environment
from nodexfer.gcp.strays import kill_strays
from nodexfer.identity import ProcessId

BUSY = 75
GRACE_SECONDS = 5.0
LOOK_SECONDS = 5.0


class Options(NamedTuple):
    lock: str
    working_dir: str
    keep: list[str]
    wait: float
    argv: list[str]


def parse(arguments: list[str]) -> Options:
    """Not argparse: the guard is on the path of every take-over, and only we call it."""
    split = arguments.index("--")
    given = list(zip(arguments[:split:2], arguments[1:split:2], strict=True))
    last = dict(given)
    keep = [value for name, value in given if name == "--keep"]
    return Options(last["--lock"], last["--dir"], keep, float(last.get("--wait", "10")), arguments[split + 1 :])


class Orders:
    """What we are to do, from the pipe, from signals and from the clock. ``wish`` is None, "stop" or "kill"."""

    def __init__(self, pipe: int) -> None:
        self.wish: str | None = None
        self.why = ""
        self._pipe = pipe
        self._open = True
        self._text = b""
        self._until: float | None = None
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._want("stop", signal.Signals(number).name))

    def wait(self, seconds: float | None) -> None:
        """Until something happens: an order, a signal, a child's end; at most ``seconds``."""
        if self._until is not None and self.wish is None:
            left = max(0.0, self._until - now())
            seconds = min(left, LOOK_SECONDS, seconds if seconds is not None else LOOK_SECONDS)
        ready = select.select([self._wake, *([self._pipe] if self._open else [])], [], [], seconds)[0]
        if self._wake in ready:
            os.read(self._wake, 4096)
        if self._pipe in ready:
            self._read()
        if self._until is not None and now() >= self._until:
            self._want("kill", "the lease was not renewed in time")

    def _read(self) -> None:
        data = os.read(self._pipe, 4096)
        if not data:
            self._open = False
            self._want("kill", "the leader is gone")
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            word, _, value = line.partition(b" ")
            if word == b"stop":
                self._want("stop", "the leader asked for it")
            elif word == b"until":
                self._until = float(value)

    def _want(self, wish: str, why: str) -> None:
        """A kill overrides a stop, never the other way round."""
        if self.wish is None or wish == "kill":
            self.wish, self.why = wish, why


def now() -> float:
    """Seconds since the boot, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def take_lock(path: str, orders: Orders, deadline: Deadline) -> int | None:
    """The locked descriptor, or None: an older guard is still killing, or we are not wanted any more."""
    while not orders.wish:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if deadline.passed:
                return None
            orders.wait(0.02)
            continue
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
        os.close(descriptor)  # the file was replaced between open and lock
    return None


def start(options: Options, orders: Orders) -> Tree | None:
    """GCP, started under the lock with nothing of an older one left; or None, and the log says why."""
    orders.wait(0)
    if take_lock(options.lock, orders, Deadline(options.wait)) is None:
        say(f"not started: {orders.why or 'an older guard still holds ' + options.lock}")
        return None
    if not kill_strays(options.working_dir):
        say("not started: a GCP process of a dead guard can not be killed")
        return None
    orders.wait(0)
    if orders.wish:
        say(f"not started: {orders.why}")
        return None
    child = procs.spawn(
        options.argv,
        environ=environment.clean(os.environ, options.keep, options.working_dir),
        stdout=1,
        stderr=2,
        cwd="/",
        new_group=True,
        death_signal=signal.SIGKILL,
    )
    return Tree(child)


class Tree:
    """All our descendants. We started one; the others come to us as orphans when their parents end."""

    def __init__(self, first: procs.Process) -> None:
        self.code: int | None = None
        # Kept, never asked: a Popen that goes away waits for its child itself, and takes the exit code with it.
        self._child = first
        self._first = first.pid

    def watch(self, orders: Orders) -> None:
        """Until GCP ends or an order comes; then end what is left. It sleeps meanwhile."""
        try:
            while self.reap() and self.code is None and orders.wish is None:
                orders.wait(None)
            if self.code is None:
                say(f"stopping: {orders.why}")
        finally:
            self.end(orders)

    def reap(self) -> bool:
        """Collect who has ended. False when we have no child, and so no descendant, left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._first:
                code = os.waitstatus_to_exitcode(status)
                self.code = code if code >= 0 else 128 - code

    def end(self, orders: Orders) -> None:
        """SIGTERM and up to 5 s if the wish is "stop"; then SIGKILL, until the kernel says that none is left."""
        grace = Deadline(GRACE_SECONDS)
        if orders.wish == "stop" and self.code is None:
            for process in self._all():
                procs.signal(process, signal.SIGTERM)
            while self.reap() and orders.wish == "stop" and not grace.passed:
                orders.wait(min(0.1, grace.left))
        pause = 0.01
        while self.reap():
            procs.kill_tree(self._all())
            if self.reap():
                orders.wait(pause)
                pause = min(1.0, pause * 1.5)

    def _all(self) -> list[ProcessId]:
        return procs.descendants([procs.this()])


def say(text: str) -> None:
    """A full disk loses it, and nothing else."""
    try:
        os.write(2, f"guard: {text}\n".encode())
    except OSError:
        pass


def main() -> NoReturn:
    options = parse(sys.argv[1:])
    procs.become_subreaper()
    orders = Orders(0)
    try:
        tree = start(options, orders)
    except OSError as error:
        say(f"not started: {error}")
        os._exit(BUSY)
    if tree is None:
        os._exit(BUSY)
    tree.watch(orders)
    os._exit(1 if tree.code is None else tree.code)


if __name__ == "__main__":
    main()
