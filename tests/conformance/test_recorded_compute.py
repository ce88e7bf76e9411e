"""The sandbox's Globus Compute answers with the fields that both lines of globus-sdk have recorded of the real one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.support import PYTHONS, run_script
from tests.support.compute_app import ENDPOINT, FUNCTION, Answer, App, app_in

pytestmark = pytest.mark.conformance

#: What the SDK of Globus Compute asked in earlier versions.
NOT_OFFERED = {("v2", "register_endpoint"), ("v2", "submit")}


class Calls:
    """Each call of the SDK, with something there to be asked for."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._endpoint, self._function = app.endpoint(), app.function()
        made = app.submit(self._endpoint, self._function, "p").json
        [self._task], self._group = made["tasks"][self._function], made["task_group_id"]
        app.report(self._endpoint)
        app.result(self._task, "10000")

    def make(self, version: str, call: str, case: str) -> Answer:
        ask, ids = self._app.ask, (self._endpoint, self._function, self._task, self._group)
        endpoint, function, task, group = ids
        role = "?role=any" if case == "any" else ""
        calls: dict[str, tuple[Any, ...]] = {
            "register_endpoint": ("POST", f"/{version}/endpoints", ENDPOINT),
            "update_endpoint": ("PUT", f"/{version}/endpoints/{endpoint}", ENDPOINT),
            "get_endpoint": ("GET", f"/{version}/endpoints/{endpoint}"),
            "get_endpoints": ("GET", f"/{version}/endpoints{role}"),
            "get_endpoint_status": ("GET", f"/{version}/endpoints/{endpoint}/status"),
            "get_endpoint_allowlist": ("GET", f"/{version}/endpoints/{endpoint}/allowed_functions"),
            "lock_endpoint": ("POST", f"/{version}/endpoints/{endpoint}/lock"),
            "delete_endpoint": ("DELETE", f"/{version}/endpoints/{endpoint}"),
            "register_function": ("POST", f"/{version}/functions", FUNCTION),
            "get_function": ("GET", f"/{version}/functions/{function}"),
            "delete_function": ("DELETE", f"/{version}/functions/{function}"),
            "submit": ("POST", f"/{version}/endpoints/{endpoint}/submit", {"tasks": {function: ["p"]}}),
            "get_task": ("GET", f"/{version}/tasks/{task}"),
            "get_task_batch": ("POST", f"/{version}/batch_status", {"task_ids": [task]}),
            "get_task_group": ("GET", f"/{version}/taskgroup/{group}"),
            "get_result_amqp_url": ("GET", f"/{version}/get_amqp_result_connection_url"),
            "get_version": ("GET", f"/{version}/version{'?service=all' if case == 'all' else ''}"),
        }
        return ask(*calls[call])


def shape(found: Any) -> Any:
    """Names and types all the way down, of a list by its first row; ids are names where they are keys."""
    if isinstance(found, dict):
        return {("id" if len(name) == 36 else name): shape(value) for name, value in found.items()}
    if isinstance(found, list):
        return [shape(row) for row in found[:1]]
    return type(found).__name__


def missing(recorded: Any, ours: Any, where: str = "") -> list[str]:
    """What the recorded answer has and ours has not."""
    if isinstance(recorded, dict):
        if not isinstance(ours, dict):
            return [f"{where}: {ours!r}"]
        return [line for name in sorted(recorded) for line in _named(name, recorded, ours, where)]
    if isinstance(recorded, list) and recorded:
        return missing(recorded[0], ours[0], f"{where}[]") if ours else []
    return [] if recorded == ours or "NoneType" in (recorded, ours) else [f"{where}: {ours} instead of {recorded}"]


def _named(name: str, recorded: dict[str, Any], ours: dict[str, Any], where: str) -> list[str]:
    if name not in ours:
        return [f"{where}.{name} is missing"]
    return missing(recorded[name], ours[name], f"{where}.{name}")


#: What an endpoint says of itself, and what is told of the worker: not the service's.
OF_OTHERS = {"get_endpoint_status": "details", "get_task": "details", "get_task_batch": "details"}


@pytest.mark.parametrize("sdk", sorted(PYTHONS))
def test_every_recorded_answer_has_its_fields(tmp_path: Path, sdk: str) -> None:
    done = run_script(sdk, "recorded_compute.py", dict(os.environ))
    assert done.code == 0, done.err
    rows = [row for row in json.loads(done.out) if (row[0], row[1]) not in NOT_OFFERED]
    wrong = []
    for number, (version, call, case, method, path, recorded) in enumerate(rows):
        (tmp_path / str(number)).mkdir()
        with app_in(tmp_path / str(number)) as app:
            found = Calls(app).make(version, call, case)
        assert found.status == 200, (version, call, found)
        lines = missing(shape(recorded), shape(found.json))
        wrong += [f"{version} {call} {case} ({method} {path}){line}" for line in lines if not _of_others(call, line)]
    assert wrong == []
    assert len(rows) >= 18


def _of_others(call: str, line: str) -> bool:
    return call in OF_OTHERS and f".{OF_OTHERS[call]}." in line
