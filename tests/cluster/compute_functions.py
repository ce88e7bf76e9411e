"""Functions on a real block of two nodes, by the shipped configuration for Slurm; no web service. Prints what they saw.

    python -m tests.cluster.compute_functions RUN_DIR URL

Runs on the cluster's login node until both nodes have computed.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from typing import Any

from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import Task
from globus_compute_endpoint.engines.base import GCFuture
from globus_compute_sdk.serialize import ComputeSerializer

import nodexfer
from nodexfer.integrations.compute_render import engine
from nodexfer.integrations.compute_setup import shipped

_SECONDS = 600.0


@nodexfer.staged(shared={"data": "{url}"})
def look(url, data):  # type: ignore[no-untyped-def]
    """A little work; the node, and how large the input is there."""
    import os
    import time

    time.sleep(0.2)
    return os.uname().nodename, os.path.getsize(data)


def send(made: Any, url: str) -> GCFuture:
    serializer = ComputeSerializer()
    parts: tuple[Any, ...] = (look, (url,), {})
    packed = serializer.pack_buffers([serializer.serialize(part) for part in parts])
    future = GCFuture(uuid.uuid4())
    task = messagepack.pack(Task(task_id=future.gc_task_id, task_buffer=packed))
    made.submit(future, task, resource_specification={})
    return future


def value(future: GCFuture) -> Any:
    result: Any = messagepack.unpack(future.result(_SECONDS))
    if result.is_error:
        raise RuntimeError(result.data)
    return ComputeSerializer().deserialize(result.data)


def main() -> None:
    run_dir, url = sys.argv[1:]
    os.makedirs(run_dir)
    options = {
        "queue": "main",
        "nodes": 2,
        "walltime": "00:10:00",
        "common": [url],
        "worker_init": f"export PATH={os.path.dirname(sys.executable)}:$PATH",
    }
    made: Any = engine(shipped("slurm"), options)
    made.start(endpoint_id=uuid.uuid4(), run_dir=run_dir)
    found: list[Any] = []
    deadline = time.monotonic() + _SECONDS
    try:
        while len({one["value"][0] for one in found}) < 2 and time.monotonic() < deadline:
            found += [value(future) for future in [send(made, url) for _ in range(16)]]
    finally:
        made.shutdown()
    sizes = sorted({one["value"][1] for one in found})
    brought = sum(len(one["receipts"]) for one in found)
    print(json.dumps({"nodes": sorted({one["value"][0] for one in found}), "sizes": sizes, "brought": brought}))


if __name__ == "__main__":
    main()
