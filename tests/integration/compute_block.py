"""A program for test_endpoint_configs: functions on a real block of a shipped configuration, no web service.

    python -m tests.integration.compute_block CONFIG RUN_DIR SOURCE DESTINATION

The engine is the one that the endpoint would build; the task is packed as the SDK packs it.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import Task
from globus_compute_endpoint.engines.base import GCFuture
from globus_compute_sdk.serialize import ComputeSerializer

import nodexfer
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


@nodexfer.staged(inputs={"data": "{source}"}, outputs={"result": "{destination}.staged"}, shared={"common": "{source}"})
def turned(source, destination, data, result, common):  # type: ignore[no-untyped-def]
    result.write_bytes(data.read_bytes()[::-1] + common.read_bytes())


def main() -> None:
    config, run_dir, *arguments = sys.argv[1:]
    init = f"export PATH={os.environ['PATH']}\n{os.environ.get('COMPUTE_BLOCK_INIT', '')}"
    made: Any = engine(config, {"worker_init": init, "workers": 1, "common": [arguments[0]]})
    made.start(endpoint_id=uuid.uuid4(), run_dir=run_dir)
    try:
        told = {"first": ask(made, turn_round, arguments), "staged": ask(made, turned, arguments)}
        scripts = Path(run_dir, "submit_scripts")
        told["blocks"] = len(list(scripts.glob("*.sh")))
        told["stderr"] = "".join(path.read_text() for path in scripts.glob("*.err"))
        print(json.dumps(told))
    finally:
        made.shutdown()


def ask(made: Any, function: Any, arguments: list[str]) -> Any:
    """The function's result, or the text of its error: packed, carried and unpacked as the SDK and the endpoint do."""
    serializer = ComputeSerializer()
    parts: tuple[Any, ...] = (function, tuple(arguments), {})
    packed = serializer.pack_buffers([serializer.serialize(part) for part in parts])
    future = GCFuture(uuid.uuid4())
    task = Task(task_id=future.gc_task_id, task_buffer=packed)
    made.submit(future, messagepack.pack(task), resource_specification={})
    result: Any = messagepack.unpack(future.result(240))
    return result.data if result.is_error else serializer.deserialize(result.data)


if __name__ == "__main__":
    main()
