"""A program for test_endpoint_configs: one function on a real block of a shipped configuration, no web service.

    python -m tests.integration.compute_block CONFIG RUN_DIR SOURCE DESTINATION

The engine is the one that the endpoint would build; the task is packed as the SDK packs it.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from typing import Any

from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import Task
from globus_compute_endpoint.engines.base import GCFuture
from globus_compute_sdk.serialize import ComputeSerializer

from nodexfer.integrations.compute_render import engine


def turn_round(source: str, destination: str) -> dict[str, object]:
    """What the README of the configuration shows; whether a wrapper holds this node, and the endpoint."""
    import os

    import nodexfer
    from nodexfer.config import load
    from nodexfer.node import registry

    with nodexfer.hold() as node:
        node.stage_in([source], "input.dat")
        (node.scratch / "output.dat").write_bytes((node.scratch / "input.dat").read_bytes()[::-1])
        receipt = node.stage_out(["output.dat"], destination)
        # The worker's grandparent: what started the manager is the owner of the hold that the worker finds.
        with registry.Transaction(load().node_paths) as table:
            hold = table.get(os.environ["NODEXFER_HOLD"])
    wrapped = hold is not None and hold.owner is not None
    return {"wrapped": wrapped, "endpoint": receipt.endpoint}


def main() -> None:
    config, run_dir, *arguments = sys.argv[1:]
    serializer = ComputeSerializer()
    worker_init = f"export PATH={os.environ['PATH']}"
    made: Any = engine(config, {"worker_init": worker_init, "workers": 1})
    made.start(endpoint_id=uuid.uuid4(), run_dir=run_dir)
    try:
        parts: tuple[Any, ...] = (turn_round, tuple(arguments), {})
        packed = serializer.pack_buffers([serializer.serialize(part) for part in parts])
        future = GCFuture(uuid.uuid4())
        task = Task(task_id=future.gc_task_id, task_buffer=packed)
        made.submit(future, messagepack.pack(task), resource_specification={})
        result: Any = messagepack.unpack(future.result(240))
        if result.is_error:
            raise RuntimeError(result.data)
        print(json.dumps(serializer.deserialize(result.data)))
    finally:
        made.shutdown()


if __name__ == "__main__":
    main()
