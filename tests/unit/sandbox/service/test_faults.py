"""Faults that are set and cleared while it runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from globus_sdk import TransferAPIError

from nodexfer import procs
from nodexfer.errors import ServiceRefused
from tests.support.sandbox import Gcp
from tests.support.waiting import eventually
from tests.unit.sandbox.service.support import Tasks, ask, token_of

DISCONNECTED = "ExternalError.DirListingFailed.GCDisconnected"


def refused(tasks: Tasks, gcp: Gcp) -> bool:
    """Whether the service answers 502 for the GCP's directory."""
    try:
        tasks.client.operation_ls(gcp.endpoint, path=f"{gcp.root}/")
    except TransferAPIError as error:
        return (error.http_status, error.code) == (502, DISCONNECTED)
    return False


def test_a_corrupted_file_is_sent_again_until_the_checksums_agree(tasks: Tasks) -> None:
    data = bytes(range(256)) * 1000
    (tasks.box.site / "f").write_bytes(data)
    tasks.box.sandbox.fault("corrupt", endpoint="other", count=2)
    task = tasks.submit(("/f", "/f"), verify_checksum=True)
    document = tasks.over(task)
    assert (tasks.box.other / "f").read_bytes() == data
    assert document["faults"] == 2
    assert document["bytes_transferred"] == 3 * len(data)
    assert tasks.codes(task).count("VERIFY_CHECKSUM") == 2


def test_without_a_checksum_nobody_sees_the_corruption(tasks: Tasks) -> None:
    (tasks.box.site / "f").write_text("text")
    tasks.box.sandbox.fault("corrupt", endpoint="other", count=1)
    tasks.over(tasks.submit(("/f", "/f"), verify_checksum=False))
    assert (tasks.box.other / "f").read_bytes() != b"text"


def test_a_path_fails_as_often_as_it_was_told(tasks: Tasks) -> None:
    (tasks.box.site / "f").write_text("text")
    tasks.box.sandbox.fault("fail_path", endpoint="site", path="/f", code="PERMISSION_DENIED", count=2)
    task = tasks.submit(("/f", "/f"))
    assert tasks.over(task)["faults"] >= 1
    assert "PERMISSION_DENIED" in tasks.codes(task)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_requests_are_answered_as_told(tasks: Tasks, status: int) -> None:
    token = token_of(tasks.client)
    tasks.box.sandbox.fault("http", status=status, count=1, prefix="/v0.10/submission_id")
    assert ask(tasks.box, "/v0.10/task_list", token).status == 200
    answer = ask(tasks.box, "/v0.10/submission_id", token)
    assert answer.status == status
    assert ("Retry-After" in answer.headers) == (status != 500)
    assert ask(tasks.box, "/v0.10/submission_id", token).status == 200


def test_tokens_expire_and_new_ones_can_be_refused(tasks: Tasks) -> None:
    token = token_of(tasks.client)
    fault = tasks.box.sandbox.fault("expire_tokens", refuse=True)
    answer = ask(tasks.box, "/v0.10/task_list", token)
    assert (answer.status, answer.json["code"]) == (401, "ClientError.AuthenticationFailed")
    tasks.box.sandbox.clear(fault)
    assert ask(tasks.box, "/v0.10/task_list", token).status == 401
    assert tasks.client.task_list()["total"] == 0


def test_an_unknown_fault_is_refused_in_words(tasks: Tasks) -> None:
    with pytest.raises(ServiceRefused, match="There is no fault 'earthquake'"):
        tasks.box.sandbox.fault("earthquake")
    with pytest.raises(ServiceRefused, match="needs bytes_per_second"):
        tasks.box.sandbox.fault("slow", endpoint="site")


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("corrupt", {"count": 0}, "from 1 on"),
        ("corrupt", {"count": 1.5}, "from 1 on"),
        ("corrupt", {"count": True}, "from 1 on"),
        ("fail_path", {"path": 5}, "a path for path"),
        ("fail_path", {"path": "relative"}, "a path for path"),
        ("fail_path", {"path": "/f", "code": "no code"}, "an event code"),
        ("http", {"status": 200}, "from 400 to 599"),
        ("http", {"status": 503, "prefix": 5}, "a path for prefix"),
        ("http", {"status": 503, "retry_after": "a\r\nb"}, "a number for retry_after"),
        ("expire_tokens", {"refuse": "maybe"}, "true or false"),
        ("slow", {"bytes_per_second": -1}, "a number"),
        ("disconnect", {"endpoint": "site"}, "is a site"),
        ("delay_ready", {"endpoint": "site", "seconds": 1}, "is a site"),
        ("switch", {"active_tasks": -1}, "can not be set so"),
        ("switch", {"concurrency": 0}, "can not be set so"),
        ("switch", {"submit_status": 500}, "can not be set so"),
        ("switch", {"resume_seconds": -0.1}, "can not be set so"),
    ],
)
def test_a_fault_of_the_wrong_shape_is_refused_in_words(
    tasks: Tasks, kind: str, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(ServiceRefused, match=words):
        tasks.box.sandbox.fault(kind, **fields)
    assert tasks.box.sandbox.status()["faults"] == []


def test_an_offline_gcp_is_accepted_unless_told_otherwise(tasks: Tasks) -> None:
    made = tasks.client.post("/v0.10/endpoint", data={"is_globus_connect": True, "display_name": "offline"})
    task = tasks.submit(("/f", "/f"), destination=made["id"])
    document = tasks.nice(task, "GC_NOT_CONNECTED")
    assert (document["status"], document["is_ok"]) == ("ACTIVE", False)
    tasks.box.sandbox.fault("refuse_offline")
    with pytest.raises(TransferAPIError, match="not currently connected"):
        tasks.submit(("/f", "/f"), destination=made["id"])


def test_a_task_resumes_from_the_last_confirmed_byte(tasks: Tasks, make_gcp: Callable[[], Gcp]) -> None:
    gcp = make_gcp()
    data = bytes(range(256)) * 40_000
    (tasks.box.site / "f").write_bytes(data)
    slow = tasks.box.sandbox.fault("slow", endpoint=gcp.name, bytes_per_second=500_000)
    task = tasks.submit(("/f", f"{gcp.root}/f"), destination=gcp.endpoint, verify_checksum=True)
    eventually(lambda: tasks.get(task)["bytes_transferred"] > 0)
    cut = tasks.box.sandbox.fault("disconnect", endpoint=gcp.name)
    document = tasks.nice(task, "GC_NOT_CONNECTED")
    assert document["status"] == "ACTIVE"
    tasks.box.sandbox.clear(slow)
    tasks.box.sandbox.clear(cut)
    document = tasks.over(task)
    assert (gcp.root / "f").read_bytes() == data
    assert document["bytes_transferred"] == len(data)
    assert {"STARTED", "GC_NOT_CONNECTED", "PROGRESS", "SUCCEEDED"} <= set(tasks.codes(task))


def test_who_is_disconnected_is_kept_out(tasks: Tasks, make_gcp: Callable[[], Gcp]) -> None:
    """It tries again every tenth of a second here, and is not let in: no visit begins."""
    gcp = make_gcp()
    cut = tasks.box.sandbox.fault("disconnect", endpoint=gcp.name)
    assert refused(tasks, gcp)
    visits = len(tasks.box.sandbox.status()["gcp"]["history"])
    log = procs.run([tasks.box.sandbox.gcp, "-status", "-dir", str(gcp.config_dir)], timeout=30.0)
    assert "connected\n" not in log.out.replace("disconnected", "")
    found = tasks.box.sandbox.status()["gcp"]
    assert (found["live"], len(found["history"])) == (0, visits)
    tasks.box.sandbox.clear(cut)
    eventually(lambda: not refused(tasks, gcp))


def test_a_killed_gcp_leaves_the_task_active(tasks: Tasks, make_gcp: Callable[[], Gcp]) -> None:
    gcp = make_gcp()
    (tasks.box.site / "f").write_bytes(bytes(1_000_000))
    tasks.box.sandbox.fault("slow", endpoint=gcp.name, bytes_per_second=100_000)
    task = tasks.submit(("/f", f"{gcp.root}/f"), destination=gcp.endpoint)
    eventually(lambda: tasks.get(task)["bytes_transferred"] > 0)
    gcp.stop()
    assert tasks.nice(task, "GC_NOT_CONNECTED")["status"] == "ACTIVE"
    assert tasks.client.cancel_task(task)["code"] == "Canceled"


def test_a_wedged_gcp_says_connected_and_is_not(tasks: Tasks, make_gcp: Callable[[], Gcp]) -> None:
    gcp = make_gcp()
    assert not refused(tasks, gcp)
    fault = tasks.box.sandbox.fault("wedge", endpoint=gcp.name)
    assert refused(tasks, gcp)
    assert tasks.client.get_endpoint(gcp.endpoint)["gcp_connected"] is True
    tasks.box.sandbox.clear(fault)
    assert not refused(tasks, gcp)


def test_readiness_can_lag_behind_the_connection(tasks: Tasks, make_gcp: Callable[[], Gcp]) -> None:
    gcp = make_gcp()
    tasks.box.sandbox.fault("delay_ready", endpoint=gcp.name, seconds=5)
    assert refused(tasks, gcp)
    eventually(lambda: not refused(tasks, gcp))


def test_two_personal_endpoints_need_a_subscription(tasks: Tasks) -> None:
    made = [
        tasks.client.post("/v0.10/endpoint", data={"is_globus_connect": True, "display_name": name})["id"]
        for name in ("one", "two")
    ]
    with pytest.raises(TransferAPIError, match="subscription") as answer:
        tasks.submit(("/f", "/f"), source=made[0], destination=made[1])
    assert answer.value.http_status == 403
    tasks.client.set_subscription_id(made[0], "DEFAULT")
    task = tasks.submit(("/f", "/f"), source=made[0], destination=made[1])
    assert tasks.client.cancel_task(task)["code"] == "Canceled"


def test_the_document_can_lag_behind_the_loss(tasks: Tasks, make_gcp: Callable[[], Gcp]) -> None:
    gcp = make_gcp()
    assert tasks.client.get_endpoint(gcp.endpoint)["gcp_connected"] is True
    tasks.box.sandbox.switch(offline_lag_seconds=60)
    gcp.stop()
    eventually(lambda: refused(tasks, gcp))
    assert tasks.client.get_endpoint(gcp.endpoint)["gcp_connected"] is True
    tasks.box.sandbox.switch(offline_lag_seconds=0)
    assert tasks.client.get_endpoint(gcp.endpoint)["gcp_connected"] is False


def test_a_setup_key_can_have_an_end(tasks: Tasks) -> None:
    made = tasks.client.post("/v0.10/endpoint", data={"is_globus_connect": True, "display_name": "late"})
    tasks.box.sandbox.switch(key_seconds=0.000001)
    answer = ask(tasks.box, "/sandbox/register", body={"setup_key": made["globus_connect_setup_key"]})
    assert answer.status == 404
