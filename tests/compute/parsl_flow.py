"""A Parsl workflow whose apps are functions of Globus Compute: ``parsl_flow.py ENDPOINT RUN_DIR``; prints a record."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import parsl
from globus_compute_sdk import Executor
from parsl.app.app import python_app
from parsl.config import Config
from parsl.data_provider.files import File
from parsl.executors import GlobusComputeExecutor

from nodexfer.integrations.parsl import storage_access

SECONDS = 200.0


@python_app
def upper(inputs: Any = (), outputs: Any = ()) -> int:
    import os

    with open(inputs[0]) as read, open(outputs[0], "w") as write:
        write.write(read.read().upper())
    return os.getpid()


def main() -> None:
    endpoint, run_dir = sys.argv[1:]
    made: Any = Executor(endpoint_id=endpoint)
    made.api_burst_limit = 10**6
    executor = GlobusComputeExecutor(made, storage_access=storage_access())
    with parsl.load(Config([executor], run_dir=run_dir, usage_tracking=0)):
        first = upper(inputs=[File("nodexfer://site/in")], outputs=[File("nodexfer://site/out/first")])
        second = upper(inputs=[first.outputs[0]], outputs=[File("nodexfer://site/out/second")])
        failed = upper(inputs=[File("nodexfer://site/none")], outputs=[File("nodexfer://site/out/third")])
        error = failed.exception(SECONDS)
        found = [first.result(SECONDS), second.result(SECONDS)]
    told = {"error": type(error).__name__, "module": type(error).__module__, "message": str(error)}
    print(json.dumps({**told, "here": os.getpid(), "there": found}))


if __name__ == "__main__":
    main()
