"""A hold and its release in process, nobody else there, beside the least that can do it: flock, write, rename."""

from __future__ import annotations

import shutil
import tempfile
import time

from benchmarks.baseline import Bare
from benchmarks.figures import Figure
from benchmarks.local import job
from benchmarks.measure import interleaved, quantile

ROUNDS = 400


def figures() -> list[Figure]:
    directory = tempfile.mkdtemp(prefix="bench-")
    try:
        with job(directory, "bench") as here:
            bare = Bare(f"{directory}/bare", here.registry())

            def hold_and_release() -> float:
                began = time.perf_counter()
                here.release(here.take())
                return time.perf_counter() - began

            found = interleaved(ROUNDS, {"ours": hold_and_release, "bare": bare.timed})
        ours, least = quantile(found["ours"], 0.5), quantile(found["bare"], 0.5)
        note = f"{ours * 1e6:.0f} against {least * 1e6:.0f} us"
        return [Figure("hold + release in process, p50 / flock + write + rename", ours / least, "x", 3.0, note=note)]
    finally:
        shutil.rmtree(directory, ignore_errors=True)
