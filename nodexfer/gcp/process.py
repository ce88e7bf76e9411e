"""GCP as the leader has it: started under a guard, watched, stopped; everything that it was, ended."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from nodexfer import pidfds, procs
from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import EndpointError, EndpointFailed, ForeignGcp, GcpMissing, PoolEntryBroken
from nodexfer.gcp import address
from nodexfer.gcp.guard import BUSY, now
from nodexfer.gcp.install import Program
from nodexfer.gcp.strays import clear_strays, kill_strays
from nodexfer.identity import ProcessId

POLL_SECONDS = 0.01
LOG_LIMIT_BYTES = 1024 * 1024
#: Seconds for a guard to start GCP, beside those that it is told to wait for an older one. It takes a tenth of one.
GUARD_SECONDS = 30.0
#: What the real one says (globus-facts: GCP 2.3.5 gc-ctrl.py and gc.py; 3.x as users saw it).
RUNNING_ALREADY = "Another Globus Connect Personal is currently running"
NOT_SET_UP = "Please run setup"
NOT_AS_ROOT = "as root is not supported"


def command(config: Config, program: Program, working_dir: str, exchanges: Sequence[str]) -> list[str]:
    """The command line of GCP. With ``-restrict-paths`` given, GCP reads no config-paths and shares nothing."""
    paths = ",".join(f"rw{path}" for path in exchanges)
    return [*config.gcp_prefix, program.path, "-start", "-dir", working_dir, "-restrict-paths", paths]


class Running:
    """One GCP and its guard. ``working_dir`` names it; ``fileno()`` becomes readable when the guard has ended."""

    def __init__(self, guard: procs.Process, working_dir: str, log_path: str, log_start: int) -> None:
        self.guard = guard
        self.working_dir = working_dir
        self._log_path = log_path
        self._log_start = log_start
        try:
            self._pidfd = pidfds.watch(ProcessId.of(guard.pid))
        except (ProcessLookupError, ValueError):
            self._pidfd = None

    @property
    def alive(self) -> bool:
        """The guard lives; it ends as soon as GCP does and nothing of GCP is left."""
        return self.guard.poll() is None

    @property
    def returncode(self) -> int | None:
        """GCP's exit code (128 + n for a signal), None while it runs; negative when the guard itself was killed."""
        return self.guard.poll()

    @property
    def can_be_watched(self) -> bool:
        """False: it had ended before, was closed, or the kernel can not (:func:`nodexfer.pidfds.watch`)."""
        return self._pidfd is not None

    def fileno(self) -> int:
        """:raises ValueError: see ``can_be_watched``."""
        if self._pidfd is None:
            raise ValueError("there is nothing to watch")
        return self._pidfd

    def allow(self, seconds: float) -> None:
        """Let GCP run for at most ``seconds`` from now (suspended time counts), unless allowed again.

        The guard sees to it, also when this process stalls. Never called: there is no limit. Does not block.
        """
        self._order(f"until {now() + seconds:.3f}\n")

    def stop(self, timeout: float = 10.0) -> bool:
        """SIGTERM, after 5 s (or at ``timeout``) SIGKILL. True when nothing of this GCP is left.

        False: a process can not be killed (frozen, or in D state). Its guard goes on trying and holds its lock.
        Worst case ``timeout`` + 4 s.
        """
        self._order("stop\n")
        if self.guard.wait(timeout) is None:
            self.kill()
        return self._ended()

    def kill(self) -> None:
        """SIGKILL everything, without waiting: the guard does it when the pipe closes."""
        self.guard.close()

    def _ended(self) -> bool:
        code = self.guard.wait(2.0)
        self.guard.close()
        if code is None:
            return False
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        return code >= 0 or kill_strays(self.working_dir, 2.0)

    def log_tail(self, lines: int = 10) -> str:
        """The last lines that this GCP and its guard wrote."""
        try:
            with open(self._log_path, "rb") as file:
                file.seek(max(self._log_start, os.fstat(file.fileno()).st_size - 16384))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def holds_address(self, config: Config) -> bool:
        """Whether GCP's per-user address is held by a process of this very GCP."""
        held = address.sockets(config.gcp_address)
        if not held or not self.alive:
            return False
        family = procs.descendants([ProcessId.of(self.guard.pid)])
        return address.held_by(held, [process.pid for process in family])

    def _order(self, line: str) -> None:
        try:
            assert self.guard.stdin is not None
            os.write(self.guard.stdin.fileno(), line.encode())
        except (OSError, ValueError):  # it has ended, or its pipe was closed: there is nobody to tell
            pass


def start(
    program: Program,
    config: Config,
    working_dir: str,
    exchanges: Sequence[str],
    log_path: str,
    guard_lock: str,
    *,
    timeout: float = 15.0,
    settle: float = 2.0,
    allowed: float | None = None,
) -> Running:
    """Start GCP under a guard and see it own the per-user address.

    Comes back as soon as it does, or after ``settle`` seconds when it runs without (another version's address). Waits
    for an older guard and for a held address at most ``timeout`` seconds, and for a guard that does nothing 44 s more
    (30, and 14 to end it). Anybody's ``-status`` holds the address for
    a moment and makes a start fail: with the address free again, GCP is started again.

    :param allowed: as :meth:`Running.allow`, from before the start on.
    :raises ForeignGcp: another GCP of this user holds the address.
    :raises EndpointFailed, PoolEntryBroken, GcpMissing: GCP ended at once; the message says with what words.
    """
    deadline = Deadline(timeout)
    argv = command(config, program, working_dir, exchanges)
    while True:
        _wait_until_free(config, working_dir, guard_lock, deadline)
        running = _spawn(argv, config, working_dir, log_path, guard_lock, deadline)
        if allowed is not None:
            running.allow(allowed)
        if _settled(running, config, Deadline(settle), Deadline(deadline.left + GUARD_SECONDS)):
            return running
        code, text = running.returncode, running.log_tail()
        running.stop()
        if RUNNING_ALREADY not in text or deadline.passed:
            raise explain(code, text, program, working_dir)


def _wait_until_free(config: Config, working_dir: str, guard_lock: str, deadline: Deadline) -> None:
    while address.holder(config) != "free":
        clear_strays(working_dir, guard_lock)
        if deadline.passed:
            raise ForeignGcp(
                "Another Globus Connect Personal of yours runs on this node, and a node can have only one; it was "
                "neither joined nor stopped.",
                "globusconnectpersonal -stop",
            )
        time.sleep(POLL_SECONDS)


def _spawn(
    argv: list[str], config: Config, working_dir: str, log_path: str, guard_lock: str, deadline: Deadline
) -> Running:
    keep = [word for name in config.gcp_environment for word in ("--keep", name)]
    options = ["--lock", guard_lock, "--dir", working_dir, "--wait", f"{deadline.left:.1f}", *keep]
    log = _open_log(log_path)
    try:
        log_start = os.fstat(log).st_size
        guard = procs.spawn(
            procs.python("-m", "nodexfer.gcp.guard", *options, "--", *argv),
            stdin=procs.PIPE,
            stdout=log,
            stderr=log,
            cwd="/",
            new_group=True,
        )
    finally:
        os.close(log)
    return Running(guard, working_dir, log_path, log_start)


def _open_log(path: str) -> int:
    """Appended to; a large one makes room first, and the one before it goes."""
    try:
        if os.stat(path).st_size > LOG_LIMIT_BYTES:
            os.replace(path, f"{path}.1")
    except FileNotFoundError:
        pass
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _settled(running: Running, config: Config, settle: Deadline, late: Deadline) -> bool:
    """True when it owns the address, or runs on without; False when it has ended, or its guard does nothing.

    A guard that does not get its lock ends by itself, within what :func:`_spawn` told it and 5 s; one that is stopped
    (SIGSTOP), or waits for a disk, is waited for until it is ``late``.
    """
    while running.alive and not late.passed:
        if running.holds_address(config) or (settle.passed and _has_child(running)):
            return True
        time.sleep(POLL_SECONDS)
    return False


def _has_child(running: Running) -> bool:
    """Whether the guard got its lock and started GCP: until then it waits for an older guard."""
    return running.alive and bool(procs.descendants([ProcessId.of(running.guard.pid)]))


def explain(code: int | None, text: str, program: Program, working_dir: str) -> EndpointError:
    """Why GCP ended, as an error with the next command to type. Pure."""
    if RUNNING_ALREADY in text:
        return ForeignGcp(
            "Another Globus Connect Personal of yours runs on this node, and a node can have only one; it was neither "
            "joined nor stopped.",
            f"{program.path} -stop",
        )
    if NOT_SET_UP in text:
        return PoolEntryBroken(f"GCP says that {working_dir} was not set up: {_one_line(text)}")
    if NOT_AS_ROOT in text:
        return EndpointFailed("Globus Connect Personal refuses to run as root; run the job as an ordinary user.", "id")
    if code == BUSY and "No such file" in text:
        return GcpMissing(f"The GCP program {program.path} could not be started: {_one_line(text)}")
    if code is None:
        return EndpointFailed(f"The guard of GCP did not start it in time: {_one_line(text) or 'it said nothing'}")
    if code < 0:
        return EndpointFailed(f"The guard of GCP was killed (signal {-code}).")
    return EndpointFailed(f"GCP ended with exit code {code}: {_one_line(text) or 'it said nothing'}")


def _one_line(text: str) -> str:
    return " / ".join(line.strip() for line in text.splitlines()[-4:] if line.strip())
