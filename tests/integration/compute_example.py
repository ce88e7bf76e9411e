"""A program for test_example_tomography: an example whose Globus Compute is the engine alone, in this process.

    python -m tests.integration.compute_example CONFIG RUN_DIR EXAMPLE ARGUMENT...

The example runs as it is, as the main program. Its Executor packs a function as the SDK does, hands it to the engine
that the endpoint would build of CONFIG, and unpacks what comes back; no web service.
"""

from __future__ import annotations

import os
import runpy
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import globus_compute_sdk

from nodexfer.integrations.compute_render import engine
from tests.integration.compute_block import ask


def executor(made: Any) -> type[ThreadPoolExecutor]:
    """A class in the place of ``globus_compute_sdk.Executor``."""

    class Executor(ThreadPoolExecutor):
        def __init__(self, endpoint_id: str) -> None:
            super().__init__(4)
            assert endpoint_id == "here"

        def submit(self, function: Callable[..., Any], /, *arguments: Any, **more: Any) -> Future[Any]:
            assert not more
            return super().submit(ask, made, function, list(arguments))

    return Executor


def main() -> None:
    config, run_dir, example, *arguments = sys.argv[1:]
    made: Any = engine(config, {"worker_init": f"export PATH={os.environ['PATH']}", "workers": 2})
    made.start(endpoint_id=uuid.uuid4(), run_dir=run_dir)
    try:
        globus_compute_sdk.Executor = executor(made)  # type: ignore[misc, assignment]
        sys.argv = [example, *arguments]
        runpy.run_path(example, run_name="__main__")
    finally:
        made.shutdown()


if __name__ == "__main__":
    main()
