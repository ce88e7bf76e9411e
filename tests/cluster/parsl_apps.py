"""A workflow on the cluster's login node: real blocks of two nodes, by Slurm. Prints a record of what it saw.

    python -m tests.cluster.parsl_apps RUN_DIR ADDRESS APPS URL

Three times in turn: the apps without files, which is the computing alone; the transfer alone, on each node one; and the
apps with the one shared input. Inputs of another URL are another file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import parsl
from parsl.app.app import python_app
from parsl.config import Config
from parsl.data_provider.files import File
from parsl.executors import HighThroughputExecutor
from parsl.launchers import SrunLauncher
from parsl.providers import SlurmProvider

from nodexfer.integrations.parsl import LAUNCH_CMD, storage_access

WORKERS = 4
_SECONDS = 600.0


@python_app
def look(inputs: Sequence[Any] = ()) -> tuple[str, int]:
    """A little work; the node, and how large the input is there."""
    import os
    import time

    time.sleep(0.05)
    return os.uname().nodename, sum(os.path.getsize(file) for file in inputs)


def run(count: int, *urls: str) -> tuple[float, list[tuple[str, int]]]:
    began = time.monotonic()
    futures = [look(inputs=[File(url) for url in urls]) for _ in range(count)]
    found = [future.result(_SECONDS) for future in futures]
    return time.monotonic() - began, found


def main() -> None:
    run_dir, address, count, url = sys.argv[1:]
    provider = SlurmProvider(
        partition="main",
        nodes_per_block=2,
        init_blocks=1,
        max_blocks=1,
        walltime="00:10:00",
        worker_init=f"export PATH={os.path.dirname(sys.executable)}:$PATH",
        launcher=SrunLauncher(),
    )
    executor = HighThroughputExecutor(
        label="slurm",
        address=address,
        max_workers_per_node=WORKERS,
        cores_per_worker=0.01,
        storage_access=storage_access(),
        launch_cmd=LAUNCH_CMD,
        provider=provider,
    )
    config = Config([executor], run_dir=run_dir, strategy="none", usage_tracking=0, initialize_logging=False)
    with parsl.load(config):
        # Until both nodes compute, and their endpoints are up.
        while len({node for node, _ in run(8 * WORKERS, f"{url}.warm")[1]}) < 2:
            time.sleep(0.5)
        computing, _ = run(int(count))
        transfer, _ = run(8 * WORKERS, f"{url}.alone")
        began = time.time()
        total, found = run(int(count), url)
    nodes = {node: sum(where == node for where, _ in found) for node, _ in found}
    sizes = sorted({size for _, size in found})
    print(
        json.dumps(
            {
                "computing": computing,
                "transfer": transfer,
                "total": total,
                "nodes": nodes,
                "sizes": sizes,
                "began": began,
            }
        )
    )


if __name__ == "__main__":
    os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    main()
