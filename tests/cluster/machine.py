"""A machine of the cluster: namespaces of its own, and so its own host name, processes, network and /tmp.

The first process of its pid namespace dies with the tests, however they end (PR_SET_PDEATHSIG down the line), and
the kernel then ends everything in the namespace: no cluster outlives its tests.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from nodexfer import procs
from tests.cluster.packages import PATH, CanNotTest
from tests.support import eventually

#: The ordinary user that jobs run as. Known on the machines of the cluster only.
USER, UID = "user", 61000

_HERE = Path(__file__).resolve().parent
PROJECT = _HERE.parent.parent
_UP_SECONDS = 60.0


def hidden_and_shown() -> tuple[list[str], list[str]]:
    """Python, its environment and the project must be readable for the user wherever they are installed.

    Shown is each that lies below a directory which is not open to everybody, or which each machine has of its own.
    """
    closed: list[str] = []
    shown: list[str] = []
    for path in dict.fromkeys(os.path.realpath(path) for path in (PROJECT, sys.prefix, sys.base_prefix)):
        first = next((top for top in _above(path) if not os.stat(top).st_mode & 0o001), None)
        if first is not None:
            closed.append(first)
        if first is not None or path.startswith(("/tmp/", "/var/tmp/", "/run/")):
            shown.append(path)
    # What lies in another of them is seen with it.
    return list(dict.fromkeys(closed)), [path for path in shown if not any(_in(path, other) for other in shown)]


def _above(path: str) -> list[str]:
    """All directories above ``path`` but the root, the topmost first."""
    return [str(top) for top in reversed(Path(path).parents)][1:]


def _in(path: str, other: str) -> bool:
    return path.startswith(f"{other}/")


class Machine:
    """Started, and up.

    :param network: it has a network of its own, with nothing in it but a loopback that is down.
    :param one_cpu: it and its daemons run on one CPU. Linux (6.18) lets no mount namespace be bound in a newer one, and
        goes by numbers that grow on each CPU by itself: job_container/tmpfs fails every other time without.
    """

    def __init__(self, name: str, shared: str, *, network: bool = True, one_cpu: bool = False) -> None:
        self.name = name
        self._where = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))] if one_cpu else []
        self._daemons: list[procs.Process] = []
        hidden, shown = hidden_and_shown()
        environ = {"NAME": name, "SHARED": shared, "HIDDEN": ":".join(hidden), "SHOWN": ":".join(shown), "PATH": PATH}
        options = ["--mount", "--uts", "--ipc", "--pid", "--mount-proc", "--fork", "--kill-child"]
        self._log = f"{shared}/log/{name}.log"
        with open(self._log, "wb") as log:
            self._process = procs.spawn(
                [*self._where, "unshare", *options, *(["--net"] if network else []), "/bin/bash", f"{_HERE}/init.sh"],
                environ=environ,
                stdout=log,
                stderr=log,
                death_signal=signal.SIGKILL,
            )
        self._namespaces = ["--mount", "--uts", "--ipc", "--pid", *(["--net"] if network else [])]
        #: Its first process, by the number that it has outside.
        self.pid = 0
        eventually(lambda: self._is_up(f"{shared}/run/{name}.up"), _UP_SECONDS)

    def _is_up(self, mark: str) -> bool:
        if self._process.poll() is not None:
            said = Path(self._log).read_text(encoding="utf-8", errors="replace").strip()
            raise CanNotTest(f"No namespaces for {self.name} ({self._process.poll()}): {said}")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self.pid = int(children[0]) if children else 0
        return self.pid > 0 and os.path.exists(mark)

    @property
    def root(self) -> str:
        """Its file system, as it is seen from outside."""
        return f"/proc/{self.pid}/root"

    def argv(self, argv: Sequence[str], user: str = "root") -> list[str]:
        """What runs ``argv`` on this machine."""
        who = [] if user == "root" else ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        return ["nsenter", "--target", str(self.pid), *self._namespaces, "--wd=/", "--", *who, *argv]

    def run(
        self, *argv: str, user: str = "root", environ: Mapping[str, str] | None = None, timeout: float = 60.0
    ) -> procs.Completed:
        return procs.run(self.argv(argv, user), timeout=timeout, environ={"PATH": PATH, **(environ or {})})

    def daemon(self, *argv: str, environ: Mapping[str, str] | None = None) -> procs.Process:
        """Start what stays in the foreground; it goes with the machine."""
        with open(self._log, "ab") as log:
            started = procs.spawn(
                [*self._where, *self.argv(argv)],
                environ={"PATH": PATH, **(environ or {})},
                stdout=log,
                stderr=log,
                death_signal=signal.SIGKILL,
            )
        self._daemons.append(started)
        return started

    def processes(self, uid: int = UID) -> dict[int, str]:
        """What a user runs on this machine: number outside -> command line."""
        own = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.stat(f"/proc/{name}").st_uid != uid or os.readlink(f"/proc/{name}/ns/pid") != own:
                    continue
                words = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ")
                if _lives(name):
                    found[int(name)] = words.decode(errors="replace").strip()
            except OSError:  # it has ended meanwhile
                continue
        return found

    def stop(self) -> None:
        """Power off."""
        self._process.kill()
        self._process.wait(10.0)
        for daemon in self._daemons:
            if daemon.wait(10.0) is None:
                daemon.kill()
                daemon.wait(5.0)


def _lives(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return stat[stat.rindex(b")") + 2 : stat.rindex(b")") + 3] not in (b"Z", b"X")
