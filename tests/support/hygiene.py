"""What must be as before when a test ends: signals, environment, directory, processes, the place in /tmp."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nodexfer import procs
from nodexfer.identity import ProcessId

#: Nothing of the developer's own may reach a test: neither an account, nor a job, a setting, or a terminal. Nor how
#: pipes are buffered: what works only without buffers fails everywhere else.
FOREIGN = (
    *("NODEXFER_", "GLOBUS_", "SLURM_", "PBS_", "_NODEXFER_", "TMPDIR", "PYTHONUNBUFFERED"),
    *("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM"),
)
#: Last on PATH: what others' programs call, and a minimal machine has not got.
BIN = Path(__file__).parent / "bin"
#: Not SIGALRM: pytest-timeout's own.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGUSR1)
#: What a command makes that was told nothing: a test that does so reached for the real node.
REAL_NODE_DIR = f"/tmp/nodexfer-{os.geteuid()}"
#: Seconds that processes have to end by themselves once a test has stopped them: a keeper whose place was removed looks
#: every 5 s, and a busy machine adds to that.
GRACE = 30.0


#: How often this process has reached for :data:`REAL_NODE_DIR`, or started a command that was told nothing. The
#: directory alone proves nothing: its user may be using nodexfer meanwhile, or run these tests a second time.
_reached = 0


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    global _reached
    if event == "os.mkdir":
        _reached += arguments[0] == REAL_NODE_DIR
    elif event == "subprocess.Popen":
        _, words, _, environ = arguments
        told = environ is None or any(os.fsdecode(name) == "NODEXFER_NODE_DIR" for name in environ)
        _reached += not told and any(os.path.basename(os.fsdecode(word)) == "nodexfer" for word in words)


sys.addaudithook(_audit)


def clean_environment(home: Path) -> dict[str, str]:
    """The process's environment without :data:`FOREIGN`, at home in ``home``, which is made."""
    (home / "node").mkdir(parents=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    path = f"{kept.get('PATH', os.defpath)}:{BIN}"
    return kept | {"HOME": str(home), "NODEXFER_NODE_DIR": f"{home}/node/nodexfer", "PATH": path}


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Run with exactly ``wanted``; whatever was before is put back."""
    before = dict(os.environ)
    _replace(wanted)
    try:
        yield
    finally:
        _replace(before)


def _replace(wanted: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(wanted)


class Before:
    """The state when a test starts; :meth:`faults` is what differs at its end, put right where possible."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._signals = {number: signal.getsignal(number) for number in SIGNALS}
        self._environ = dict(os.environ)
        self._directory = os.getcwd()
        self._processes = set(os.listdir("/proc"))
        self._node_dir = os.path.lexists(REAL_NODE_DIR)
        self._reached = _reached

    def faults(self) -> list[str]:
        found = [*self._changed_signals(), *self._changed_environment(), *self._changed_directory()]
        if not self._node_dir and _reached != self._reached and os.path.lexists(REAL_NODE_DIR):
            found.append(f"{REAL_NODE_DIR} was made: give the command a node_dir of its own")
        return found + [f"a process was left: {line}" for line in self.stop_processes()]

    def stop_processes(self) -> list[str]:
        """Wait for those that are ending; kill the rest and say which."""
        end = time.monotonic() + GRACE
        while (left := self._processes_left()) and time.monotonic() < end:
            time.sleep(0.02)
        lines = [f"{process.pid} {_command(process.pid)}" for process in left]
        for process in left:
            procs.signal(process, signal.SIGKILL)
        return lines

    def _processes_left(self) -> list[ProcessId]:
        """New processes at home in this test's home: also those that left the session or lost their parent."""
        mine = os.fsencode(f"HOME={self._home}")
        found = []
        for name in set(os.listdir("/proc")) - self._processes:
            if name.isdigit() and mine in _read(f"/proc/{name}/environ").split(b"\0"):
                try:
                    found.append(ProcessId.of(int(name)))
                except ProcessLookupError:
                    pass
        return found

    def _changed_signals(self) -> Iterator[str]:
        for number, handler in self._signals.items():
            if signal.getsignal(number) is not handler:
                yield f"the handler of {number.name} was changed"
                signal.signal(number, handler)

    def _changed_environment(self) -> Iterator[str]:
        for key in sorted(self._environ.keys() | os.environ.keys()):
            # pytest keeps the name of the running test and its phase here
            if key != "PYTEST_CURRENT_TEST" and self._environ.get(key) != os.environ.get(key):
                yield f"the environment variable {key} was changed"

    def _changed_directory(self) -> Iterator[str]:
        if os.getcwd() != self._directory:
            yield "the working directory was changed"
            os.chdir(self._directory)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # it has ended, or belongs to somebody else
        return b""


def _command(pid: int) -> str:
    return _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace")
