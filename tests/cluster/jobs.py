"""Jobs as users submit them, and eyes on what they do: by Slurm's word, and by what lies on the nodes' disks."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from nodexfer.paths import NodePaths, safe_name
from nodexfer.scheduler import Job as Known
from tests.cluster import slurm
from tests.cluster.lab import SHARED, Cluster
from tests.cluster.machine import UID, USER
from tests.support import eventually

#: What was sent before a connection was lost may still be written.
_UNDER_WAY_SECONDS = 0.1

#: Slurm's words for a run that is over.
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY"}


class Job:
    """One job, or one task of an array: ``name`` for Slurm's commands, ``number`` in its own environment."""

    def __init__(self, cluster: Cluster, number: str, log: str, name: str = "") -> None:
        self.number = number
        self.name = name or number
        self._cluster = cluster
        self._log = log

    def key(self, run: int = 0) -> str:
        """By what nodexfer knows its run."""
        return Known("slurm", slurm.CLUSTER, self.number, run).key

    @property
    def state(self) -> str:
        return self._cluster.slurm("squeue", "-h", "-r", "-j", self.name, "-t", "all", "-o", "%T")

    @property
    def log(self) -> str:
        try:
            return Path(self._log).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def ends(self, seconds: float = 60.0) -> str:
        """Wait until it is over; how. :raises AssertionError: it is not; the message has its log."""
        try:
            return eventually(lambda: found if (found := self.state) in OVER else "", seconds, every=0.1)
        except AssertionError:
            raise AssertionError(f"job {self.number} is {self.state} after {seconds:g} s:\n{self.told()}") from None

    def succeeds(self, seconds: float = 60.0) -> None:
        state = self.ends(seconds)
        assert state == "COMPLETED", f"job {self.number} is {state}:\n{self.told()}"

    def told(self) -> str:
        """Its log, and what Slurm's daemons complain of."""
        return f"{self.log}\n{slurm.complaints(SHARED)}"

    def says(self, pattern: str, seconds: float = 30.0) -> str:
        """Wait until a line of its log matches; the line. :raises AssertionError: none does, or it is over."""

        def line() -> str:
            return next((line for line in self.log.splitlines() if re.search(pattern, line)), "")

        try:
            return eventually(line, seconds, every=0.05)
        except AssertionError:
            raise AssertionError(f"job {self.number} ({self.state}) does not say {pattern!r}:\n{self.log}") from None


class User:
    """Who submits: with a pool of their own for this test, so that nothing of another test's is in the way."""

    def __init__(self, cluster: Cluster, pool: str, endpoints: int) -> None:
        self.cluster = cluster
        self.pool = pool
        self.jobs: list[Job] = []
        self._environ = cluster.environ(NODEXFER_POOL=pool, NODEXFER_LINGER="2")
        self._directory = cluster.home / pool
        self._directory.mkdir()
        os.chown(self._directory, UID, UID)
        cluster.nodexfer("pool", "create", "--count", str(endpoints), "--prefix", pool, NODEXFER_POOL=pool)

    def submit(self, script: str, *options: str, name: str = "job", **more: str) -> Job:
        """One job. ``script`` is bash's."""
        number = self._submit(script, name, [*options, "-o", f"{self._directory}/%j.log"], more)
        job = Job(self.cluster, number, f"{self._directory}/{number}.log")
        self.jobs.append(job)
        return job

    def submit_array(self, script: str, count: int, *options: str) -> list[Job]:
        log = f"{self._directory}/%A_%a.log"
        number = self._submit(script, "array", [*options, f"--array=0-{count - 1}", "-o", log], {})

        def jobs() -> list[Job]:
            rows = self.cluster.slurm("squeue", "-h", "-r", "-j", number, "-t", "all", "-o", "%K %A %T").splitlines()
            found = [row.split() for row in rows]
            # A task of an array has its own number from its start on.
            assert len(found) == count, found
            assert not any(state == "PENDING" for _, _, state in found), found
            return [
                Job(self.cluster, own, f"{self._directory}/{number}_{task}.log", f"{number}_{task}")
                for task, own, _ in found
            ]

        made = eventually(jobs, 30.0, every=0.1)
        self.jobs += made
        return made

    def _submit(self, script: str, name: str, options: list[str], more: dict[str, str]) -> str:
        path = self._directory / f"{name}-{len(self.jobs)}.sh"
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
        words = ["sbatch", "--parsable", "-n1", f"--chdir={self._directory}", f"--job-name={name}", *options]
        return self.cluster.slurm(*words, str(path), environ={**self._environ, **more}).split(";")[0]

    def nodexfer(self, *arguments: str) -> object:
        return self.cluster.nodexfer(*arguments, NODEXFER_POOL=self.pool)

    def leases(self) -> dict[str, str]:
        """Endpoint -> what ``pool list`` calls its state."""
        found = self.cluster.nodexfer("pool", "list", NODEXFER_POOL=self.pool)
        rows = found["endpoints"] if isinstance(found, dict) else found
        return {str(row["name"]): str(row["state"]) for row in rows}

    def end(self) -> None:
        """Cancel what still runs, and see the nodes without a process of ours."""
        self.cluster.slurm("scancel", "--quiet", "--user", USER)
        eventually(lambda: not self.cluster.slurm("squeue", "-h", "--user", USER), 60.0, every=0.1)


class Visits(NamedTuple):
    """Who was connected to the service as GCP: which endpoints, and how many at most at once by node."""

    endpoints: set[str]
    live_max: int


def visits(cluster: Cluster, since: float) -> Visits:
    """``since`` (seconds since the epoch) is for the endpoints; the most at once is over all times."""
    gcp = cluster.box.status()["gcp"]
    endpoints = {visit["endpoint"] for visit in gcp["history"] if visit["since"] >= since}
    return Visits(endpoints, max(gcp["user_live_max"].values(), default=0))


def lost_at(cluster: Cluster, since: float) -> float:
    """When the first connection that ended after ``since`` did (seconds since the epoch)."""
    ends = [visit["until"] for visit in cluster.box.status()["gcp"]["history"] if visit["until"] is not None]
    return min((end for end in ends if end >= since), default=0.0)


class Flow(threading.Thread):
    """Looks every 20 ms how many bytes of some jobs' requests have arrived in the exchanges of a node."""

    def __init__(self, cluster: Cluster, node: str, jobs: Iterable[Job]) -> None:
        super().__init__(name="flow", daemon=True)
        self._base = cluster.node_dir(node)
        self._keys = [job.key() for job in jobs]
        self._over = threading.Event()
        self.samples: list[tuple[float, int]] = []

    def run(self) -> None:
        while not self._over.wait(0.02):
            self.samples.append((time.time(), self.bytes()))

    def stop(self) -> None:
        self._over.set()
        self.join(5.0)

    def bytes(self) -> int:
        paths = NodePaths(self._base)
        requests = [name for key in self._keys for name in _names(f"{paths.spool}/{safe_name(key)}")]
        tops = [f"{self._base}/exchange/{lease}" for lease in _names(f"{self._base}/exchange")]
        return sum(_size(f"{top}/{request}") for top in tops for request in requests)

    def moves_again(self, after: float) -> float | None:
        """When more had arrived than ever before ``after``."""
        after += _UNDER_WAY_SECONDS
        before = max((size for at, size in list(self.samples) if at <= after), default=0)
        return next((at for at, size in list(self.samples) if at > after and size > before), None)


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _size(top: str) -> int:
    total = 0
    for where, _, names in os.walk(top):
        for name in names:
            try:
                total += os.stat(f"{where}/{name}").st_size
            except OSError:
                pass
    return total
