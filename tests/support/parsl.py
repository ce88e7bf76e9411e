"""Parsl workflows of a sandbox's user, in this process: threads, or a real block of workers on this machine."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import parsl
import pytest
from parsl.config import Config
from parsl.data_provider.files import File
from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
from parsl.providers import LocalProvider

from nodexfer.integrations import worker
from nodexfer.integrations.parsl import storage_access
from tests.support.user import User

#: Seconds for a future: nothing is promised by it.
LONG = 300.0
#: Of a module whose workflows have bash apps: Parsl itself leaves their streams to the garbage collector.
BASH = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def threads(workers: int = 4, **options: Any) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(label="threads", max_threads=workers, storage_access=storage_access(**options))


def local(blocks: int = 1) -> Any:
    return LocalProvider(init_blocks=blocks, min_blocks=0, max_blocks=blocks)  # type: ignore[no-untyped-call]


def htex(workers: int = 2, provider: Any = None, **options: Any) -> HighThroughputExecutor:
    return HighThroughputExecutor(
        label="htex",
        address="127.0.0.1",
        max_workers_per_node=workers,
        cores_per_worker=0.01,
        heartbeat_period=2,
        heartbeat_threshold=60,
        storage_access=storage_access(**options),
        provider=provider or local(),
    )


#: The same must hold in a thread of the submit side, where nothing is pickled, and in a process on the node.
everywhere = pytest.mark.parametrize("make", [threads, htex])


def named(path: str) -> File:
    return File(f"nodexfer://site/{path}")


@contextmanager
def workflow(user: User, run_dir: Path, *executors: Any, **more: Any) -> Iterator[Any]:
    """Parsl with these executors, in the environment of ``user``. Their processes are at home where this one is.

    Their temporary directory goes with them: a manager of Parsl leaves something there. Sockets are in it, whose paths
    have 107 bytes.
    """
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="nx-", dir="/tmp", ignore_cleanup_errors=True) as temporary,
    ):
        patch.setenv("TMPDIR", temporary)
        for name, value in user.environ.items():
            patch.setenv(name, value)
        patch.setenv("NODEXFER_TIME", "600")
        # Parsl needs a name, and a container's user may have none.
        patch.setenv("USER", os.environ.get("USER") or "tester")
        # Workers import the tests' apps from here.
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        # Parsl looks its own programs up in PATH.
        patch.setenv("PATH", f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
        config = Config(
            executors=list(executors),
            run_dir=str(run_dir),
            strategy="none",
            usage_tracking=0,
            initialize_logging=False,
            **more,
        )
        try:
            with parsl.load(config) as kernel:
                yield kernel
        finally:
            parsl.clear()
            worker.release()
