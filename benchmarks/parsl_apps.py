"""What it costs a Parsl app that its input is staged, where it is on the node already; on a real block of workers."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import parsl
from parsl.app.app import python_app
from parsl.config import Config
from parsl.data_provider.files import File
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

from benchmarks.figures import Figure
from benchmarks.measure import interleaved
from nodexfer.integrations.parsl import storage_access
from nodexfer.sandbox.demo.offline import Offline, offline

ROUNDS = 200
#: A result that is not there by then never comes.
_SECONDS = 120.0


@python_app
def nothing(inputs: Any = ()) -> int:
    return len(inputs)


def figures() -> list[Figure]:
    directory = tempfile.mkdtemp(prefix="bench-")  # short: a worker's socket is made in it
    before = dict(os.environ)
    try:
        with offline(directory, prefix="parsl") as user:
            # The submit side is this process, and its block inherits what it has.
            os.environ.update(user.environment)
            os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
            os.environ["PYTHONPATH"] = os.getcwd()
            return [_added(user, directory)]
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(directory, ignore_errors=True)


def _added(user: Offline, directory: str) -> Figure:
    with open(f"{user.stage.site}/input", "wb") as file:
        file.write(b"x")
    executor = HighThroughputExecutor(
        label="node",
        address="127.0.0.1",
        max_workers_per_node=1,
        cores_per_worker=0.01,
        storage_access=storage_access(),
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),  # type: ignore[no-untyped-call]
    )
    config = Config([executor], run_dir=f"{directory}/run", strategy="none", usage_tracking=0, initialize_logging=False)
    with parsl.load(config):
        url = "nodexfer://site/input"
        found = interleaved(
            ROUNDS, {"plain": _timed(lambda: nothing(inputs=[])), "staged": _timed(lambda: nothing(inputs=[File(url)]))}
        )
    parsl.clear()
    middle = {name: statistics.median(values) * 1000 for name, values in found.items()}
    note = f"{middle['staged']:.1f} against {middle['plain']:.1f} ms, p50 of {ROUNDS}"
    name = "Parsl app with an input on the node, more than without"
    return Figure(name, middle["staged"] - middle["plain"], "ms", 5.0, note=note)


def _timed(submit: Callable[[], Any]) -> Callable[[], float]:
    def take() -> float:
        began = time.perf_counter()
        submit().result(_SECONDS)
        return time.perf_counter() - began

    return take
