"""What is left behind, looked for where it would be: in /proc, in the pool, in the directories, at the site."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterator
from typing import NamedTuple

from nodexfer.clock import Deadline

_HALF_FILE = re.compile(r"^\.nodexfer-|^\.tmp-")


class Found(NamedTuple):
    """A process that is still there; ``words`` is its command line."""

    pid: int
    words: str

    def __str__(self) -> str:
        return f"process {self.pid}: {self.words}"


def processes(directory: str, sessions: Collection[int], but: Collection[int] = ()) -> list[Found]:
    """Living processes of our user that belong to this demonstration, this one and ``but`` (pids) left out.

    Three independent marks: the session of one of its jobs, its directory in the environment, or in the arguments (GCP
    gets a clean environment). Zombies are dead.
    """
    mark = os.fsencode(directory)
    ignored = {os.getpid(), *but}
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in ignored:
            continue
        words, environ, session, alive = _look(int(name))
        if alive and (mark in words or mark in environ or session in sessions):
            found.append(Found(int(name), words.replace(b"\0", b" ").decode(errors="replace").strip()))
    return found


def _look(pid: int) -> tuple[bytes, bytes, int, bool]:
    """(arguments, environment, session, alive): proc(5) cmdline, environ, stat. Blank where it is gone or not ours."""
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return b"", b"", 0, False
    fields = stat[stat.rindex(b")") + 2 :].split()
    alive = fields[0] not in (b"Z", b"X")
    return _read(f"/proc/{pid}/cmdline"), _read(f"/proc/{pid}/environ"), int(fields[3]), alive


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def wait_until_gone(directory: str, sessions: Collection[int], seconds: float) -> bool:
    """Wait until nothing but the sandbox is left; False: not in time.

    The last keeper gives the lease back and goes: it takes a moment.
    """
    deadline = Deadline(seconds)
    while not deadline.passed:
        if all("nodexfer.sandbox.server" in found.words for found in processes(directory, sessions)):
            return True
        time.sleep(0.05)
    return False


def leases(pool_list: list[dict[str, object]]) -> list[str]:
    """The pool's entries that ``nodexfer pool list --json`` does not call free."""
    return [f"{entry.get('name')}: {entry.get('state')}" for entry in pool_list if entry.get("state") != "free"]


def files(node_dir: str, site: str) -> list[str]:
    """Files and links that should be gone: what jobs and requests had on the node, and half files at the site."""
    own = ("exchange", "jobs", "spool", "outgoing", "keepers")
    left = [path for name in own for path in _below(f"{node_dir}/{name}")]
    left += [path for name in _names(node_dir) if name.startswith("gcp-") for path in _below(f"{node_dir}/{name}")]
    left += [path for path in _below(site) if _half(path, site)]
    return left


def _half(path: str, top: str) -> bool:
    return any(_HALF_FILE.match(part) for part in os.path.relpath(path, top).split("/"))


def _below(top: str) -> Iterator[str]:
    for where, _, names in os.walk(top):
        for name in names:
            yield f"{where}/{name}"


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []
