"""``nodexfer stage-in`` of one file, endpoint up, against ``globus transfer`` and ``globus task wait``."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Callable

from benchmarks.commands import GLOBUS
from benchmarks.figures import Figure
from benchmarks.measure import command, interleaved, medians
from nodexfer import procs
from nodexfer.sandbox.demo.offline import Offline, offline

ROUNDS = 5
SIZE = 64 * 1024 * 1024

#: The job: takes the endpoint, tells where, and stays until its stdin ends.
_SCRIPT = (
    'set -e; eval "$(nodexfer acquire --endpoint)"; '
    'printf "%s\\n" "$NODEXFER_SCRATCH" "$NODEXFER_ENDPOINT_ID" "$NODEXFER_ROOT"; read -r line || true'
)


def figures() -> list[Figure]:
    if not os.path.exists(GLOBUS):
        return [Figure("stage-in of 64 MiB / globus transfer + task wait", float("inf"), "x", 0.5, note="no .venv-cli")]
    directory = tempfile.mkdtemp(prefix="bench-")
    try:
        with offline(directory, prefix="bench") as user:
            with open(f"{user.stage.site}/input.dat", "wb") as file:
                file.write(os.urandom(SIZE))
            return _compare(user)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _compare(user: Offline) -> list[Figure]:
    environ = {**user.environment, "NODEXFER_JOB_ID": "bench"}
    job = procs.spawn(
        ["/bin/sh", "-c", _SCRIPT], environ=environ, stdin=procs.PIPE, stdout=procs.PIPE, new_session=True
    )
    try:
        assert job.stdout is not None
        scratch, endpoint, root = (job.stdout.readline().decode().strip() for _ in range(3))
        if not root:
            raise RuntimeError("the job got no endpoint")
        ours = _ours(user, environ, scratch)
        theirs = _theirs(user, environ, endpoint, root)
        found = medians(interleaved(ROUNDS, {"ours": ours, "theirs": theirs}))
    finally:
        job.close()
        if job.wait(20) is None:
            job.kill_group()
            job.wait(10)
    note = f"{found['ours']:.2f} against {found['theirs']:.2f} s"
    name = "stage-in of 64 MiB, endpoint up / globus transfer + task wait"
    return [Figure(name, found["ours"] / found["theirs"], "x", 0.5, note=note)]


def _ours(user: Offline, environ: dict[str, str], scratch: str) -> Callable[[], float]:
    def stage_in() -> float:
        taken = command([f"{user.stage.bin}/nodexfer", "stage-in", "site:/input.dat", f"{scratch}/input.dat"], environ)
        _check(f"{scratch}/input.dat")
        return taken

    return stage_in


def _theirs(user: Offline, environ: dict[str, str], endpoint: str, root: str) -> Callable[[], float]:
    site = user.box.site_id("site")

    def transfer() -> float:
        submit = [GLOBUS, "transfer", f"{site}:/input.dat", f"{endpoint}:{root}/input.dat", "--jmespath", "task_id"]
        line = f'task=$({shlex.join(submit)}) && {GLOBUS} task wait "$(echo "$task" | tr -d \'"\')"'
        taken = command(["/bin/sh", "-c", line], environ)
        _check(f"{root}/input.dat")
        return taken

    return transfer


def _check(path: str) -> None:
    """What was timed has arrived; it goes, so that the next round moves it again."""
    if os.path.getsize(path) != SIZE:
        raise RuntimeError(f"{path} did not arrive whole")
    os.unlink(path)
