"""The leader is SIGKILLed: how soon the next one leads, how soon the endpoint is ready again."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time

from benchmarks.baseline import flock_hand_over
from benchmarks.figures import Figure
from benchmarks.measure import quantile, wait_for
from benchmarks.standin import connect_seconds
from nodexfer import procs
from nodexfer.procs import Process
from nodexfer.sandbox.demo.offline import Offline, offline
from nodexfer.sandbox.demo.watch import TakeOver, Watch
from nodexfer.scheduler import detect

KILLS = 10

#: A job that wants the endpoint to be up, and lives until it is killed.
_SCRIPT = 'set -e; eval "$(nodexfer acquire --endpoint)"; exec sleep 600'


def figures() -> list[Figure]:
    directory = tempfile.mkdtemp(prefix="bench-")
    try:
        with offline(directory, prefix="bench") as user:
            connect = statistics.median(connect_seconds(user) for _ in range(3))
            bare: list[float] = []
            found = _kills(user, f"{directory}/lock", bare)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    leads = quantile([one.leads for one in found], 0.9)
    ready = quantile([one.ready for one in found], 0.9)
    least = quantile(bare, 0.9)
    return [
        Figure(
            "take-over: the next one leads, p90 / bare flock hand-over p90",
            leads / least,
            "x",
            5.0,
            note=f"{leads * 1e3:.1f} against {least * 1e3:.1f} ms",
        ),
        Figure(
            "take-over: endpoint ready again, p90, beyond GCP's own connect time",
            ready - connect,
            "s",
            2.0,
            note=f"{ready:.2f} s, of which connecting {connect:.2f} s",
        ),
    ]


def _kills(user: Offline, lock: str, bare: list[float]) -> list[TakeOver]:
    """Kill the leader's whole job ten times; ``bare`` gets a bare hand-over measured beside each."""
    watch = Watch(user.stage.node_dir, period=0.0002)
    watch.start()
    jobs: dict[str, Process] = {}
    try:
        for number in range(KILLS + 1):
            environ = {**user.environment, "NODEXFER_JOB_ID": f"bench-{number}"}
            jobs[detect(environ).key] = procs.spawn(["/bin/sh", "-c", _SCRIPT], environ=environ, new_session=True)
        wait_for(lambda: _all_hold(user, len(jobs)), 60, "all jobs' holds")
        return [_kill(watch, jobs, lock, bare) for _ in range(KILLS)]
    finally:
        for job in jobs.values():
            job.kill_group()
            job.wait(10)
        watch.stop()


def _all_hold(user: Offline, count: int) -> bool:
    time.sleep(0.2)
    return len(user.nodexfer("status", "--json")["holds"]) == count


def _kill(watch: Watch, jobs: dict[str, Process], lock: str, bare: list[float]) -> TakeOver:
    wait_for(lambda: watch.now is not None and watch.now.state == "ready", 60, "a ready endpoint")
    assert watch.now is not None
    bare.append(flock_hand_over(lock))
    leader = watch.now.leader
    job = jobs.pop(leader)
    at, since = time.monotonic(), time.time()
    job.kill_group()
    wait_for(lambda: watch.take_over(leader, at) is not None, 60, "a take-over")
    job.wait(10)
    found = watch.take_over(leader, at)
    assert found is not None
    # The new leader's own time, as the bare one's: not when it was seen.
    return found._replace(leads=found.since - since)
