"""Processes: the only module that starts one, and the only one that sends a signal.

Every child gets no descriptor but the ones named (``close_fds``): a lock that a child inherits is a lock that outlives
its owner. Arguments are lists; nothing goes through a shell. A signal goes to a process, never to a number: a pidfd is
opened first, then the start time is compared, then the signal is sent to what the descriptor holds (pidfd_open(2)).
Only where the kernel has no pidfds the number is signalled, at once after the comparison.

Imports of subprocess, signal and ctypes are inside the functions: a command that starts nothing does not pay for them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, NamedTuple

from nodexfer.identity import ProcessId, pid_namespace
from nodexfer.identity import descendants as descendants
from nodexfer.identity import parents_now as parents_now
from nodexfer.identity import session_leader as session_leader
from nodexfer.identity import this as this

if TYPE_CHECKING:
    import subprocess

#: The values of the standard library, here so that callers need not import subprocess.
PIPE = -1
STDOUT = -2
DEVNULL = -3

#: Seconds for a killed program to be gone.
KILLED_SECONDS = 5.0

#: signal(7): the same on every Linux.
_SIGKILL, _SIGTERM = 9, 15
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class Completed(NamedTuple):
    """How a program ended. ``code`` is negative where a signal ended it."""

    code: int
    out: str
    err: str


class ProgramTimeout(TimeoutError):
    """The program did not end in time; it has been killed."""


class Process:
    """A child of ours. Nothing is sent to it once it has been waited for, so its number can not be somebody else's."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid: int = child.pid
        self.stdin: IO[bytes] | None = child.stdin
        self.stdout: IO[bytes] | None = child.stdout
        self.stderr: IO[bytes] | None = child.stderr

    def poll(self) -> int | None:
        """The exit code (negative: the signal), or None while it runs."""
        return self._child.poll()

    def wait(self, timeout: float) -> int | None:
        """The exit code, or None when it still runs after ``timeout`` seconds."""
        import subprocess

        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, signum: int) -> None:
        """Send ``signum``, unless it has ended."""
        self._child.send_signal(signum)

    def terminate(self) -> None:
        self.signal(_SIGTERM)

    def kill(self) -> None:
        self.signal(_SIGKILL)

    def kill_group(self) -> None:
        """SIGKILL the whole group of a child that was started as the leader of one, unless it was waited for."""
        if self._child.returncode is None:
            os.killpg(self.pid, _SIGKILL)

    def close(self) -> None:
        """Close our ends of its pipes (a child that reads stdin sees its end). It is neither stopped nor waited for."""
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was still buffered for a child that is gone
                    pass


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    environ: Mapping[str, str] | None = None,
    input: str | None = None,
    cwd: str | None = None,
) -> Completed:
    """Run a program to its end, with its output as text (bytes that are no UTF-8 are replaced).

    It gets a process group of its own, which is killed as a whole when ``timeout`` (seconds) has passed: a shell's
    children would otherwise keep the pipes open. One that hangs in the kernel is waited for 5 s more, and left there.
    Without ``input``, its stdin is empty.

    :raises FileNotFoundError, PermissionError: it can not be started.
    :raises ProgramTimeout: it was killed.
    """
    import subprocess

    child = subprocess.Popen(
        list(argv),
        env=None if environ is None else dict(environ),
        cwd=cwd,
        stdin=DEVNULL if input is None else PIPE,
        stdout=PIPE,
        stderr=PIPE,
        preexec_fn=_before_exec(new_group=True, death_signal=None),
    )
    try:
        out, err = child.communicate(None if input is None else input.encode(), timeout)
    except BaseException as error:
        # The group lives as long as its leader has not been waited for: the number is still ours.
        if child.returncode is None:
            os.killpg(child.pid, _SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                child.wait(KILLED_SECONDS)
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        if isinstance(error, subprocess.TimeoutExpired):
            raise ProgramTimeout(f"{argv[0]} did not end within {timeout:g} s and was killed.") from error
        raise
    return Completed(child.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def spawn(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] = DEVNULL,
    stdout: int | IO[bytes] = DEVNULL,
    stderr: int | IO[bytes] = DEVNULL,
    pass_fds: Sequence[int] = (),
    new_group: bool = False,
    new_session: bool = False,
    death_signal: int | None = None,
    cwd: str | None = None,
) -> Process:
    """Start a program and come back at once.

    :param death_signal: what the kernel sends it when **the thread that calls this** ends (prctl(2),
        PR_SET_PDEATHSIG): call it from the main thread, or from one that lives as long as the child may.
    :param new_group: it leads a process group of its own, in our session.
    :raises FileNotFoundError, PermissionError: it can not be started.
    """
    import subprocess

    return Process(
        subprocess.Popen(
            list(argv),
            env=None if environ is None else dict(environ),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            start_new_session=new_session,
            preexec_fn=_before_exec(new_group, death_signal),
        )
    )


def _before_exec(new_group: bool, death_signal: int | None) -> Callable[[], None] | None:
    """What the child does between fork and exec. Only system calls, through names looked up before the fork.

    (``process_group=`` of Popen does not exist in Python 3.10.)
    """
    if not new_group and death_signal is None:
        return None
    prctl = None if death_signal is None else _prctl()
    parent = os.getpid()

    def before_exec() -> None:
        if new_group:
            os.setpgid(0, 0)
        if prctl is not None and death_signal is not None:
            prctl(_PR_SET_PDEATHSIG, death_signal)
            if os.getppid() != parent:  # it died before we asked for the signal
                os._exit(127)

    return before_exec


def _prctl() -> Callable[[int, int], int]:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(option: int, value: int) -> int:
        return int(libc.prctl(option, value, 0, 0, 0))

    return prctl


def become_subreaper() -> None:
    """Orphans among our descendants become our children (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    if _prctl()(_PR_SET_CHILD_SUBREAPER, 1) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER) failed")


def signal(process: ProcessId, signum: int) -> bool:
    """Send ``signum`` to exactly this process; False when it has ended, or is not ours to signal from here.

    Where the kernel has no pidfds it is looked at first, and the number is signalled at once after that.
    """
    from nodexfer import pidfds

    if process.namespace != pid_namespace():
        return False
    try:
        descriptor = pidfds.watch(process)
    except ValueError:
        return _signal_number(process, signum)
    if descriptor is None:
        return False
    try:
        pidfds.send(descriptor, signum)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(descriptor)
    return True


def _signal_number(process: ProcessId, signum: int) -> bool:
    if not process.alive:
        return False
    try:
        os.kill(process.pid, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def kill_tree(roots: Sequence[ProcessId]) -> int:
    """SIGKILL these processes and all their descendants of our user; how many were hit.

    Looked up again until a pass finds none, so that a child forked meanwhile is found as well (at most ten passes).
    """
    hit: set[ProcessId] = set()
    known = set(roots)
    for _ in range(10):
        known |= set(descendants(known))
        new = [process for process in known - hit if signal(process, _SIGKILL)]
        hit.update(new)
        if not new:
            break
    return len(hit)


def python(*arguments: str) -> list[str]:
    """The argv that runs this very interpreter.

    With ``-m`` it looks into the working directory first, which may be anybody's scratch with a ``json.py`` in it: give
    ``cwd="/"`` to :func:`spawn`.
    """
    return [sys.executable, *arguments]
