"""The service loses the endpoint while data move: how soon it is noticed, mended, and told where it can not be mended.

Noticed is what ``nodexfer status`` says: the endpoint is being mended. Mended: it is ready again, after the service let
it in again at the moment when that was said. Told: the command whose data moved has ended, with an error of its own.
"""

from __future__ import annotations

import shutil
import tempfile
import time

from benchmarks.figures import Figure
from benchmarks.measure import wait_for
from nodexfer import procs
from nodexfer.errors import EndpointFailed
from nodexfer.node.leader import STEADY_SECONDS
from nodexfer.sandbox.demo.offline import Offline, offline
from nodexfer.sandbox.demo.watch import Sighting, Watch, moves
from nodexfer.scheduler import detect

ROUNDS = 3
SIZE, RATE = 256 * 1024 * 1024, 400_000
#: When we give up to wait for what must come within 15 or 60 s.
_PATIENCE = 180.0

#: Moves data for longer than all of this takes.
_SCRIPT = 'set -e; eval "$(nodexfer acquire --endpoint)"; nodexfer stage-in site:/input.dat "$NODEXFER_SCRATCH/"'


def figures() -> list[Figure]:
    directory = tempfile.mkdtemp(prefix="bench-")
    try:
        with offline(directory, prefix="bench") as user:
            with open(f"{user.stage.site}/input.dat", "wb") as file:
                file.truncate(SIZE)
            user.box.fault("slow", endpoint="all", bytes_per_second=RATE)
            noticed, mended, told = _measure(user)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return [
        Figure("endpoint lost: noticed", max(noticed), "s", 15.0, note=_all(noticed)),
        Figure("endpoint lost: mended", max(mended), "s", 60.0, note=_all(mended)),
        Figure("endpoint lost for good: told to the job", told, "s", 60.0, note="by the end of its command"),
    ]


def _all(seconds: list[float]) -> str:
    return f"the slowest of {', '.join(f'{one:.1f}' for one in seconds)}"


def _measure(user: Offline) -> tuple[list[float], list[float], float]:
    """(seconds until noticed, seconds until ready again, seconds until the command ended)."""
    environ = {**user.environment, "NODEXFER_JOB_ID": "bench", "NODEXFER_TIME": "3600"}
    key = detect(environ).key
    watch = Watch(user.stage.node_dir)
    watch.start()
    job = procs.spawn(["/bin/sh", "-c", _SCRIPT], environ=environ, new_session=True)
    noticed: list[float] = []
    mended: list[float] = []
    try:
        for _ in range(ROUNDS):
            at, fault = _lose(user, watch, key)
            mending = _seen(watch, "mending", at)
            noticed.append(mending.at - at)
            user.box.clear(fault)
            mended.append(_seen(watch, "ready", mending.at).at - at)
            # What is lost again within a minute is given up: that is measured last, and on purpose.
            time.sleep(STEADY_SECONDS + 1.0)
        at, _ = _lose(user, watch, key)
        noticed.append(_seen(watch, "mending", at).at - at)
        code = job.wait(_PATIENCE)
        told = time.monotonic() - at
        if code != EndpointFailed.exit_code:
            raise RuntimeError(f"the command was to fail with {EndpointFailed.exit_code}, and ended with {code}")
    finally:
        job.kill_group()
        job.wait(10)
        watch.stop()
    return noticed, mended, told


def _lose(user: Offline, watch: Watch, job: str) -> tuple[float, str]:
    """When bytes move over a ready endpoint, the service loses it: when (monotonic seconds), and by which fault."""

    def done() -> int:
        return sum(move.done for move in moves(user.stage.node_dir, job))

    wait_for(lambda: watch.now is not None and watch.now.state == "ready", 60, "a ready endpoint")
    before = done()
    wait_for(lambda: done() > before, 60, "bytes that move")
    at = time.monotonic()
    return at, user.box.fault("disconnect")


def _seen(watch: Watch, state: str, at: float) -> Sighting:
    """The first time that the leader said so after ``at``."""

    def found() -> list[Sighting]:
        return [seen for seen in list(watch.sightings) if seen.at >= at and seen.state == state]

    wait_for(lambda: bool(found()), _PATIENCE, f"an endpoint that is {state}")
    return found()[0]
