"""What a user of the SDK does, as a program of its own: ``flows.py FLOW ENDPOINT ...``; prints one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from globus_compute_sdk import Client, Executor

SECONDS = 120.0


def double(number: int) -> tuple[int, int]:
    import os

    return 2 * number, os.getpid()


def divide(number: int) -> float:
    return 1 / number


def large(size: int) -> bytes:
    return b"x" * size


def _executor(endpoint: str) -> Any:
    executor: Any = Executor(endpoint_id=endpoint)
    executor.api_burst_limit = 10**6  # it limits itself to four submissions in 16 s
    return executor


def _outcome(executor: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """Its result, or how the future says that it failed."""
    future = executor.submit(function, *arguments)
    error = future.exception(SECONDS)
    if error is None:
        return future.result()
    return {"error": type(error).__name__, "message": str(error)}


def calls(endpoint: str) -> dict[str, Any]:
    """A result, several, an error, one that is too large; and what the service says of the tasks afterwards."""
    with _executor(endpoint) as executor:
        first = _outcome(executor, double, 21)
        futures = [executor.submit(double, number) for number in range(8)]
        several = [future.result(SECONDS)[0] for future in futures]
        error = _outcome(executor, divide, 0)
        too_large = _outcome(executor, large, 11 * 1024 * 1024)
        just_fits = executor.submit(large, 7 * 1024 * 1024).result(SECONDS)
        client, group = executor.client, str(executor.task_group_id)
        task = futures[0].task_id
    return {
        "first": first,
        "several": several,
        "error": error,
        "too_large": too_large,
        "just_fits": len(just_fits),
        "task": client.get_task(task)["status"],
        "batch": client.get_batch_result([task])[task]["result"],
        "group": len(client._compute_web_client.v2.get_task_group(group)["tasks"]),
        "status": client.get_endpoint_status(endpoint)["status"],
        "versions": _versions(),
    }


def one(endpoint: str) -> dict[str, Any]:
    with _executor(endpoint) as executor:
        return {"first": _outcome(executor, double, 21), "versions": _versions()}


def status(endpoint: str) -> dict[str, Any]:
    return {"status": Client().get_endpoint_status(endpoint)["status"]}


def leave(endpoint: str) -> dict[str, Any]:
    """Submit, and do not wait."""
    client: Any = Client()
    return {"task": client.run(21, endpoint_id=endpoint, function_id=client.register_function(double))}


def ask(_endpoint: str, task: str) -> dict[str, Any]:
    client: Any = Client()
    return {"status": client.get_task(task)["status"]}


def _versions() -> dict[str, str]:
    import globus_compute_sdk
    import globus_sdk

    return {"globus_sdk": globus_sdk.__version__, "globus_compute_sdk": globus_compute_sdk.__version__}


if __name__ == "__main__":
    flows: dict[str, Callable[..., Any]] = {"calls": calls, "one": one, "status": status, "leave": leave, "ask": ask}
    print(json.dumps(flows[sys.argv[1]](*sys.argv[2:])))
