"""Somebody's program in our place: its terminal, its signals, its exit code; and its end when the time is over.

Of the standard library only: ``nodexfer hold`` runs its program by this, too.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, TracebackType
from typing import NamedTuple

from nodexfer import pidfds, procs
from nodexfer.clock import Deadline
from nodexfer.errors import Interrupted
from nodexfer.identity import ProcessId

#: What reaches the program. Schedulers send some of them as warnings; XCPU is also the kernel's (setrlimit(2)).
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
#: sh(1), EXIT STATUS: not found, and found but not to be run.
NOT_FOUND, NOT_RUNNABLE = 127, 126

#: Seconds between two looks at a program that is being stopped.
_LOOK_SECONDS = 0.1
#: Seconds for a killed program to be gone. One that hangs in the kernel is left there.
_KILLED_SECONDS = 5.0

#: Seconds until it wants to be asked again; None: the program is to be stopped now.
Watch = Callable[[], "float | None"]


class Ended(NamedTuple):
    """``code`` as a shell has it: 128 + n where signal n ended it.

    ``stopped``: by us, for time. ``told``: TERM came while it ran, and KILL will follow in seconds.
    """

    code: int
    stopped: bool = False
    told: bool = False


class NotStarted(Exception):
    """There is no such program, or it can not be run; ``code`` as a shell has it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Signals:
    """What becomes of signals: while a program runs they are its own; else TERM, HUP and INT end what we do.

    A context manager for the main thread. What has nobody to reach (a warning during a transfer) ends nothing, and is
    noted in ``missed``.
    """

    def __init__(self) -> None:
        self.missed: list[str] = []
        #: Whether only a keyboard ends what we do: results are being saved, and who sent TERM will send KILL.
        self.saving = False
        #: Whether TERM came for the program.
        self.told = False
        self._child: procs.Process | None = None
        #: While a program is being started: what came meanwhile.
        self._early: list[int] | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        self._before = {number: signal.signal(number, self._take) for number in FORWARDED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as it came from signal.signal

    def start(self, command: Sequence[str], environ: Mapping[str, str], stdout: int) -> procs.Process:
        """Start the program; from now on signals are its own. :raises NotStarted: they are ours again."""
        self._early = []
        try:
            self._child = _start(command, environ, stdout)
        finally:
            early, self._early = self._early, None
        for number in early:
            self._child.signal(number)
        return self._child

    def over(self) -> None:
        """The program has ended."""
        self._child = None

    def _take(self, number: int, _: FrameType | None) -> None:
        if self._early is not None:
            self._early.append(number)
        elif self._child is not None:
            self.told = self.told or number == signal.SIGTERM
            if number != signal.SIGINT or not _has_terminal():
                self._child.signal(number)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        elif number in (signal.SIGTERM, signal.SIGHUP) and not self.saving:
            name = signal.Signals(number).name
            raise Interrupted(f"Stopped by {name}; the transfer was cancelled.", "nodexfer status")
        else:
            self.missed.append(signal.Signals(number).name)


def run(
    command: Sequence[str],
    environ: Mapping[str, str],
    signals: Signals,
    *,
    stdout: int = 1,
    watch: Watch = lambda: 3600.0,
    grace: Callable[[], float] = lambda: 10.0,
) -> Ended:
    """Run ``command`` with our stdin and stderr to its end, or until ``watch`` says that the time is over.

    Then it and all its descendants get TERM, and KILL after ``grace()`` seconds, as PBS does to a job. What a keyboard
    interrupts, the terminal has sent to the program itself.

    :raises NotStarted: there is no such program, or it can not be run.
    """
    child = signals.start(command, environ, stdout)
    end = _watch(child)
    try:
        while (code := child.poll()) is None:
            pause = watch()
            if pause is None:
                return Ended(_shell_code(_stop(child, grace())), stopped=True)
            _wait(end, min(pause, 3600.0))
        return Ended(_shell_code(code), told=signals.told)
    finally:
        if end is not None:
            os.close(end)
        signals.over()


def _watch(child: procs.Process) -> int | None:
    """A pidfd: the child is ours, and not waited for yet, so its number is its own. None where there can be none."""
    try:
        return pidfds.open_pidfd(child.pid)
    except OSError:
        return None


def _wait(descriptor: int | None, seconds: float) -> None:
    """Until the program has ended; a signal's handler runs meanwhile. Nothing wakes up for it where it is watched."""
    if descriptor is None:
        time.sleep(min(seconds, _LOOK_SECONDS))
    else:
        pidfds.readable(descriptor, seconds)


def _start(command: Sequence[str], environ: Mapping[str, str], stdout: int) -> procs.Process:
    try:
        return procs.spawn(command, environ=environ, stdin=0, stdout=stdout, stderr=2)
    except FileNotFoundError as error:
        here = "/" not in command[0] and os.path.isfile(command[0])
        meant = f" The one in the present directory is ./{command[0]}." if here else ""
        raise NotStarted(f"{command[0]} was not found.{meant}", NOT_FOUND) from error
    except OSError as error:
        raise NotStarted(f"{command[0]} can not be run: {error.strerror}.", NOT_RUNNABLE) from error


def _stop(child: procs.Process, grace: float) -> int | None:
    """TERM to the whole tree, KILL to what is left after ``grace`` seconds; the exit code, None where it hangs.

    A shell that TERM ends leaves its own program behind: the tree is looked up before the first of it can go, and
    grown while it goes. (What has left the tree before is not the program's any more.)
    """
    try:
        family = _grown({ProcessId.of(child.pid)})
    except ProcessLookupError:  # it has ended by itself, just now
        return child.wait(_KILLED_SECONDS)
    code = None
    for process in family:
        procs.signal(process, signal.SIGTERM)
    deadline = Deadline(grace)
    while not deadline.passed:
        code = child.poll() if code is None else code
        family = _grown(family)
        if code is not None and not family:
            return code
        time.sleep(min(_LOOK_SECONDS, max(deadline.left, 0.001)))
    procs.kill_tree(list(family))
    killed = Deadline(_KILLED_SECONDS)
    code = child.wait(_KILLED_SECONDS) if code is None else code
    while not killed.passed and any(process.alive for process in family):
        time.sleep(_LOOK_SECONDS)  # a busy machine takes its time to end what it was told to kill
    return code


def _grown(family: set[ProcessId]) -> set[ProcessId]:
    """Those of them that live, and their descendants."""
    alive = {process for process in family if process.alive}
    return alive | set(procs.descendants(alive))


def _shell_code(code: int | None) -> int:
    if code is None:
        return 128 + signal.SIGKILL
    return code if code >= 0 else 128 - code


def _has_terminal() -> bool:
    """Whether we are in a terminal's foreground group, whose interrupts the program gets as well."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(descriptor)
