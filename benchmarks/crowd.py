"""Many processes of one job take a hold at once; sixteen go on taking and releasing for ten seconds."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.baseline import Bare
from benchmarks.figures import Figure
from benchmarks.local import Here, job
from benchmarks.measure import quantile

CROWD = 64
ROUNDS = 6
FAIR = 16
FAIR_SECONDS = 10.0


def figures() -> list[Figure]:
    directory = tempfile.mkdtemp(prefix="bench-")
    try:
        with job(directory, "bench") as here:
            return [*_crowd(here, directory), *_fairness(here)]
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Crowd:
    """Forked children that all start to work when :meth:`go` is called, and stay until :meth:`end`."""

    def __init__(self, count: int, work: Callable[[], float], warm: Callable[[], object] | None = None) -> None:
        """Each child runs ``work`` once and tells what it gives.

        :param warm: what each does before the gate: a fork's first steps are page faults, which are nobody's figure.
        """
        self._warm = warm
        self._gate, self._open = os.pipe()
        self._leave, self._bye = os.pipe()
        self._told, say = os.pipe()
        self._children = [self._child(work, say) for _ in range(count)]
        os.close(say)
        os.close(self._gate)
        os.close(self._leave)

    def _child(self, work: Callable[[], float], say: int) -> int:
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            os.close(self._open)
            os.close(self._bye)
            if self._warm is not None:
                self._warm()
            os.write(say, b"w" * 8)
            os.read(self._gate, 1)  # ends when the parent closes the other side: for all at once
            os.write(say, struct.pack("d", work()))
            os.read(self._leave, 1)
            code = 0
        finally:
            os._exit(code)

    def go(self) -> list[float]:
        """What each of them gave. :raises RuntimeError: a child failed."""
        self._hear()
        os.close(self._open)
        return [struct.unpack("d", one)[0] for one in self._hear()]

    def _hear(self) -> list[bytes]:
        told = [os.read(self._told, 8) for _ in self._children]
        if not all(told):
            raise RuntimeError("one of the processes failed")
        return told

    def end(self) -> None:
        """:raises RuntimeError: a child failed."""
        os.close(self._bye)
        os.close(self._told)
        for child in self._children:
            if os.waitpid(child, 0)[1] != 0:
                raise RuntimeError("one of the processes failed")


def _timed(work: Callable[[], object]) -> Callable[[], float]:
    def timed() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return timed


def _crowd(here: Here, directory: str) -> list[Figure]:
    ours: list[float] = []
    least: list[float] = []
    lost = 0
    for number in range(ROUNDS + 1):
        crowd = Crowd(CROWD, _timed(here.take), lambda: here.release(here.take()))
        found = crowd.go()
        lost += CROWD + 1 - len(here.registry()["holds"])
        record = _half(here.registry())
        crowd.end()
        here.release(here.take())  # a transaction of the living: the holds of the dead go
        bare = _bare_crowd(f"{directory}/bare", record)
        if number:
            ours += found
            least += bare.go()
        else:
            bare.go()
        bare.end()
    value, base = quantile(ours, 0.99), quantile(least, 0.99)
    note = f"{value * 1e3:.0f} against {base * 1e3:.0f} ms"
    return [
        Figure(f"{CROWD} processes take a hold at once, p99 / bare p99", value / base, "x", 2.0, note=note),
        Figure(f"{CROWD} processes take a hold at once: updates lost", lost, "", 0),
    ]


def _bare_crowd(path: str, record: object) -> Crowd:
    return Crowd(CROWD, lambda: Bare(path, record).timed(), lambda: Bare(path, record).once())


def _half(record: dict[str, Any]) -> dict[str, Any]:
    """The record as it is in the middle of the crowd: what a write writes on average."""
    return {**record, "holds": dict(list(record["holds"].items())[: CROWD // 2])}


def _fairness(here: Here) -> list[Figure]:
    def served() -> float:
        end = time.monotonic() + FAIR_SECONDS
        count = 0
        while time.monotonic() < end:
            here.release(here.take())
            count += 1
        return count

    crowd = Crowd(FAIR, served)
    counts = crowd.go()
    crowd.end()
    ratio = max(counts) / min(counts) if min(counts) else float("inf")
    note = f"{min(counts):.0f} to {max(counts):.0f} holds each"
    return [Figure(f"{FAIR} processes, {FAIR_SECONDS:.0f} s: most served / least served", ratio, "x", 2.0, note=note)]
