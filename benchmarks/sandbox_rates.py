"""The sandbox's own rate between two site collections, against ``cp`` and ``rsync -r`` on the same disk."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable

from benchmarks.figures import Figure
from benchmarks.measure import command, interleaved, medians, wait_for
from nodexfer import config
from nodexfer.clock import utc
from nodexfer.globus.protocol import Globus, Submission, TransferItem
from nodexfer.globus.sdk import connect
from nodexfer.sandbox.demo.offline import Offline, offline

ROUNDS = 3
BIG = 1024 * 1024 * 1024
SMALL = 4096
MANY = 2000


def figures() -> list[Figure]:
    directory = tempfile.mkdtemp(prefix="bench-")
    try:
        os.mkdir(f"{directory}/other")
        with offline(directory, endpoints=0, sites={"other": f"{directory}/other"}) as user:
            return [_one_big(user), _many_small(user)]
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _one_big(user: Offline) -> Figure:
    source, copy = f"{user.stage.site}/big", f"{user.stage.directory}/copy"
    with open(source, "wb") as file:
        for _ in range(BIG // (16 * 1024 * 1024)):
            file.write(os.urandom(16 * 1024 * 1024))

    def cp() -> float:
        taken = command(["cp", source, copy], os.environ)
        os.unlink(copy)
        return taken

    arrived = f"{user.stage.directory}/other/big"
    found = medians(interleaved(ROUNDS, {"cp": cp, "sandbox": _task(user, "/big", arrived)}))
    os.unlink(source)
    note = f"{BIG / found['sandbox'] / 1e6:.0f} against {BIG / found['cp'] / 1e6:.0f} MB/s"
    name = "sandbox, one file of 1 GiB: rate / cp"
    return Figure(name, found["cp"] / found["sandbox"], "x", 0.1, "at least", note)


def _many_small(user: Offline) -> Figure:
    name = "sandbox, 2,000 files of 4 KiB / rsync -r"
    if shutil.which("rsync") is None:
        return Figure(name, float("inf"), "x", 15.0, note="no rsync: apt install rsync")
    source, copy = f"{user.stage.site}/many", f"{user.stage.directory}/copies"
    os.mkdir(source)
    for number in range(MANY):
        with open(f"{source}/{number}", "wb") as file:
            file.write(os.urandom(SMALL))

    def rsync() -> float:
        taken = command(["rsync", "-r", f"{source}/", f"{copy}/"], os.environ)
        shutil.rmtree(copy)
        return taken

    arrived = f"{user.stage.directory}/other/many"
    found = medians(interleaved(ROUNDS, {"rsync": rsync, "sandbox": _task(user, "/many", arrived, recursive=True)}))
    note = f"{found['sandbox']:.2f} against {found['rsync']:.2f} s"
    return Figure(name, found["sandbox"] / found["rsync"], "x", 15.0, note=note)


def _task(user: Offline, path: str, arrived: str, *, recursive: bool = False) -> Callable[[], float]:
    """One task from the one site to the other, checksums verified, as Globus does by default."""
    globus = connect(config.load(user.environment), user.environment)

    def move() -> float:
        began = time.perf_counter()
        submission = Submission(
            submission_id=globus.submission_id(),
            source_endpoint=user.box.site_id("site"),
            destination_endpoint=user.box.site_id("other"),
            items=(TransferItem(path, path, recursive),),
            label="benchmark",
            deadline=utc(time.time() + 300),
        )
        _succeeds(globus, globus.submit(submission))
        taken = time.perf_counter() - began
        if recursive:
            assert len(os.listdir(arrived)) == MANY
            shutil.rmtree(arrived)
        else:
            assert os.path.getsize(arrived) == BIG
            os.unlink(arrived)
        return taken

    return move


def _succeeds(globus: Globus, task: str) -> None:
    state = ""

    def over() -> bool:
        nonlocal state
        time.sleep(0.05)
        found = globus.tasks([task])[task]
        state = found.status
        return found.over

    wait_for(over, 300, "the task's end")
    if state != "SUCCEEDED":
        raise RuntimeError(f"the task is {state}")
