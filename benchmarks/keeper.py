"""What an idle keeper costs, for as long as a job computes."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time

from benchmarks.figures import Figure
from nodexfer import procs
from nodexfer.sandbox.demo.offline import Offline, offline

SECONDS = 8.0

_SCRIPT = 'set -e; eval "$(nodexfer acquire)"; echo held; exec sleep 600'


def figures() -> list[Figure]:
    directory = tempfile.mkdtemp(prefix="bench-")
    try:
        with offline(directory, prefix="bench") as user:
            environ = {**user.environment, "NODEXFER_JOB_ID": "bench"}
            job = procs.spawn(["/bin/sh", "-c", _SCRIPT], environ=environ, stdout=procs.PIPE, new_session=True)
            try:
                assert job.stdout is not None
                if job.stdout.readline() != b"held\n":
                    raise RuntimeError("the job got no hold")
                return _look(user, _keeper(user), directory)
            finally:
                job.kill_group()
                job.wait(10)
                job.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _keeper(user: Offline) -> int:
    """The one process of ``nodexfer.node.keeper`` that works on this node_dir."""
    mark = f"NODEXFER_NODE_DIR={user.stage.node_dir}".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        if b"nodexfer.node.keeper" in _read(f"/proc/{name}/cmdline") and mark in _read(f"/proc/{name}/environ"):
            return int(name)
    raise RuntimeError("there is no keeper")


def _read(path: str) -> bytes:
    """Blank where the process is gone or not ours."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _look(user: Offline, pid: int, directory: str) -> list[Figure]:
    time.sleep(2.0)  # what it does at its start is not idle; there is nothing to wait for but time
    requests = _requests(user)
    before = _switches(pid)
    time.sleep(SECONDS)
    wakeups = (_switches(pid) - before) / SECONDS
    asked = _requests(user) - requests
    shared, how = _shared_calls(pid, user, directory)
    return [
        Figure("idle keeper: resident memory", _resident(pid) / 1e6, "MB", 30.0),
        Figure("idle keeper: wake-ups", wakeups, "/s", 1.0, note="voluntary context switches of all its threads"),
        Figure("idle keeper: calls to the shared file system and the network", shared, "", 0, note=how),
        Figure("idle keeper: requests to Globus", asked, "", 0, note="counted by the sandbox"),
    ]


def _requests(user: Offline) -> int:
    return int(user.box.admin("requests")["count"])


def _switches(pid: int) -> int:
    """Times that its threads went to sleep by themselves (proc(5) status): each is followed by one wake-up."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/status"):
        with open(path, encoding="ascii", errors="replace") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    return total


def _resident(pid: int) -> int:
    """Bytes (proc(5) statm, field 2, in pages)."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _shared_calls(pid: int, user: Offline, directory: str) -> tuple[int, str]:
    """Calls with a path below the home, to a descriptor of a file there, or to a socket that is no unix socket.

    With strace(1), every call is seen. Without, only what is open is looked at: descriptors that lead there.
    """
    strace = shutil.which("strace")
    if strace is None:
        return len(_leads_to(pid, user.stage.home)), "open descriptors; strace is not there"
    trace = f"{directory}/trace.keeper"
    tracer = subprocess.Popen(
        [strace, "-qq", "-f", "-yy", "-e", "trace=%file,%desc,%network", "-o", trace, "-p", str(pid)]
    )
    time.sleep(SECONDS / 2)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(10)
    with open(trace, encoding="utf-8", errors="replace") as file:
        return sum(1 for line in file if user.stage.home in line or "<TCP" in line or "<UDP:" in line), "strace"


def _leads_to(pid: int, home: str) -> list[str]:
    targets = [os.readlink(path) for path in glob.glob(f"/proc/{pid}/fd/*")]
    return [target for target in targets if target.startswith(home)]
