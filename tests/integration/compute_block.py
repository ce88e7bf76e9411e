"""A program for test_endpoint_configs: one function on a real block of a shipped configuration, no web service.

    python -m tests.integration.compute_block CONFIG RUN_DIR SOURCE DESTINATION

The engine is the one that the endpoint would build; the task is packed as the SDK packs it.
"""

from __future__ import annotations

import os
import pathlib
import sys
import uuid
from typing import Any

from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import Task
from globus_compute_endpoint.engines.base import GCFuture
from globus_compute_sdk.serialize import ComputeSerializer

from tests.integration.test_endpoint_configs import render


def turn_round(source: str, destination: str) -> tuple[str, str]:
    """What the README of the configuration shows; gives the block's hold and the endpoint."""
    import os

    import nodexfer

    with nodexfer.hold() as node:
        node.stage_in([source], "input.dat")
        (node.scratch / "output.dat").write_bytes((node.scratch / "input.dat").read_bytes()[::-1])
        receipt = node.stage_out(["output.dat"], destination)
    return os.environ["NODEXFER_HOLD"], str(receipt.endpoint)


def main() -> None:
    config, run_dir, *arguments = sys.argv[1:]
    serializer = ComputeSerializer()
    worker_init = f"export PATH={os.environ['PATH']}"
    engine: Any = render(pathlib.Path(config), {"worker_init": worker_init, "workers": 1}).engine
    engine.start(endpoint_id=uuid.uuid4(), run_dir=run_dir)
    try:
        parts: tuple[Any, ...] = (turn_round, tuple(arguments), {})
        packed = serializer.pack_buffers([serializer.serialize(part) for part in parts])
        future = GCFuture(uuid.uuid4())
        task = Task(task_id=future.gc_task_id, task_buffer=packed)
        engine.submit(future, messagepack.pack(task), resource_specification={})
        result: Any = messagepack.unpack(future.result(90))
        if result.is_error:
            raise RuntimeError(result.data)
        print(*serializer.deserialize(result.data))
    finally:
        engine.shutdown()


if __name__ == "__main__":
    main()
