"""Executor, service, broker, endpoint, worker and back: nothing is doubled but the service itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.compute import OLD, SECONDS, TEMPLATE, Endpoint, running_endpoint
from tests.support.sandbox import Box
from tests.support.waiting import eventually

pytestmark = [pytest.mark.compute, pytest.mark.timeout(400)]

FLOWS = Path(__file__).with_name("flows.py")


def run(endpoint: Endpoint, flow: str, *more: str) -> dict[str, Any]:
    done = endpoint.python(FLOWS, flow, endpoint.id, *more)
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


def test_the_newest_service_serves_the_old_endpoint_and_sdk(compute_box: Box, tmp_path: Path) -> None:
    """globus-compute-endpoint 4.6 with globus-sdk 3.65: what people have installed who have not moved on yet."""
    assert (OLD / "globus-compute-endpoint").exists(), f"{OLD} is missing; `make test-compute` sets it up"
    with running_endpoint(compute_box.sandbox, tmp_path / "globus_compute", bin=OLD) as endpoint:
        found = run(endpoint, "one")
    assert found["first"][0] == 42
    assert found["versions"] == {"globus_compute_sdk": "4.6.0", "globus_sdk": "3.65.0"}


def test_an_endpoint_that_can_not_start_its_user_endpoint_says_why_in_the_future(
    compute_box: Box, tmp_path: Path
) -> None:
    broken = TEMPLATE.replace("type: GlobusComputeEngine", "type: NoSuchEngine")
    with running_endpoint(compute_box.sandbox, tmp_path / "globus_compute", template=broken) as endpoint:
        found = run(endpoint, "one")
    assert found["first"]["error"] == "TaskExecutionFailed"
    assert "NoSuchEngine" in found["first"]["message"]


def test_what_is_submitted_to_an_endpoint_that_is_out_waits_for_it(compute_box: Box, tmp_path: Path) -> None:
    """Stopped, offline, started again under its old id, deleted."""
    directory = tmp_path / "globus_compute"
    with running_endpoint(compute_box.sandbox, directory) as first:
        assert run(first, "status") == {"status": "online"}
        first.stop()
        eventually(lambda: run(first, "status") == {"status": "offline"}, SECONDS, every=0.5)
        task = run(first, "leave")["task"]
        assert run(first, "ask", task)["status"] == "waiting-for-ep"
        with running_endpoint(compute_box.sandbox, directory) as second:
            assert second.id == first.id
            eventually(lambda: run(second, "ask", task)["status"] == "success", SECONDS, every=0.5)
        deleted = second.command("delete", "--yes", second.name)
        assert deleted.code == 0, deleted
        assert not compute_box.sandbox.status()["compute"]["endpoints"]
