"""Executor, service, broker, endpoint, worker and back: nothing is doubled but the service itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.compute import Endpoint

pytestmark = [pytest.mark.compute, pytest.mark.timeout(400)]

FLOWS = Path(__file__).with_name("flows.py")


def run(endpoint: Endpoint, flow: str) -> dict[str, Any]:
    done = endpoint.python(FLOWS, flow, endpoint.id)
    assert done.code == 0, f"{done.err}\n{endpoint.log()}"
    return dict(json.loads(done.out.splitlines()[-1]))


def test_calls_come_back_with_results_and_errors(compute_endpoint: Endpoint) -> None:
    found = run(compute_endpoint, "calls")
    assert found["first"][0] == 42
    assert found["several"] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert found["error"]["error"] == "TaskExecutionFailed"
    assert "ZeroDivisionError: division by zero" in found["error"]["message"]
    assert "MaxResultSizeExceeded" in found["too_large"]["message"]
    assert found["just_fits"] == 7 * 1024 * 1024
    assert (found["task"], found["batch"][0], found["group"]) == ("success", 0, 12)
    assert found["status"] == "online"
