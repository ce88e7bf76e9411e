"""Who runs when: slots, queue, deadlines, limits."""

from __future__ import annotations

import datetime as dt
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from globus_sdk import DeleteData, TransferAPIError

from tests.support.waiting import eventually
from tests.unit.sandbox.service.support import Tasks, ask, token_of


def soon(seconds: float) -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=seconds)


def test_three_transfers_run_and_the_fourth_is_queued(tasks: Tasks) -> None:
    (tasks.box.site / "f").write_bytes(bytes(1_000_000))
    tasks.box.sandbox.fault("slow", endpoint="site", bytes_per_second=1000)
    running = [tasks.submit(("/f", f"/{number}")) for number in range(3)]
    eventually(lambda: all(tasks.codes(task) == ["STARTED"] for task in running))
    fourth = tasks.submit(("/f", "/4"))
    document = tasks.get(fourth)
    assert (document["status"], document["nice_status"], document["is_ok"]) == ("ACTIVE", "Queued", True)
    assert tasks.codes(fourth) == []
    delete = DeleteData(tasks.box.site_id, ignore_missing=True)
    delete.add_item("/nothing")
    tasks.over(tasks.client.submit_delete(delete)["task_id"])
    tasks.box.sandbox.clear()
    for task in (*running, fourth):
        tasks.over(task)


def test_a_task_that_backs_off_gives_its_slot_away(tasks: Tasks) -> None:
    (tasks.box.site / "f").touch()
    tasks.box.sandbox.switch(resume_seconds=60)
    stuck = [tasks.submit(("/missing", "/x")) for _ in range(3)]
    for task in stuck:
        tasks.nice(task, "FILE_NOT_FOUND")
    tasks.over(tasks.submit(("/f", "/f")))
    assert all(tasks.client.cancel_task(task)["code"] == "Canceled" for task in stuck)


def test_a_missing_source_that_appears_is_moved(tasks: Tasks) -> None:
    task = tasks.submit(("/late", "/late"))
    tasks.nice(task, "FILE_NOT_FOUND")
    (tasks.box.site / "late").write_text("here")
    document = tasks.over(task)
    assert (tasks.box.other / "late").read_text() == "here"
    assert document["faults"] >= 1


def test_a_deadline_that_passes_fails_the_task(tasks: Tasks) -> None:
    task = tasks.submit(("/missing", "/x"), deadline=soon(0.3))
    document = tasks.over(task, "FAILED")
    assert document["fatal_error"]["code"] == "EXPIRED"
    assert tasks.codes(task)[-1] == "EXPIRED"
    assert document["subtasks_expired"] == 1


def test_a_deadline_ends_a_task_that_moves(tasks: Tasks) -> None:
    (tasks.box.site / "f").write_bytes(bytes(1_000_000))
    tasks.box.sandbox.fault("slow", endpoint="site", bytes_per_second=1000)
    tasks.over(tasks.submit(("/f", "/f"), deadline=soon(0.3)), "FAILED")


def test_a_deadline_can_be_moved(tasks: Tasks) -> None:
    task = tasks.submit(("/missing", "/x"), deadline=soon(600))
    tasks.client.update_task(task, {"DATA_TYPE": "task", "deadline": soon(0.1).isoformat()})
    assert tasks.over(task, "FAILED")["fatal_error"]["code"] == "EXPIRED"


def test_cancel_returns_when_nothing_moves_any_more(tasks: Tasks) -> None:
    (tasks.box.site / "f").write_bytes(bytes(1_000_000))
    tasks.box.sandbox.fault("slow", endpoint="site", bytes_per_second=50_000)
    task = tasks.submit(("/f", "/f"))
    eventually(lambda: tasks.get(task)["bytes_transferred"] > 0)
    assert tasks.client.cancel_task(task)["code"] == "Canceled"
    size = (tasks.box.other / "f").stat().st_size
    document = tasks.over(task, "FAILED")
    assert document["fatal_error"]["code"] == "CANCELED"
    assert (tasks.box.other / "f").stat().st_size == size


def test_more_pending_tasks_than_allowed_are_refused(tasks: Tasks) -> None:
    tasks.box.sandbox.switch(pending_tasks=2)
    for _ in range(2):
        tasks.submit(("/missing", "/x"))
    with pytest.raises(TransferAPIError, match="may not have more") as refused:
        tasks.submit(("/missing", "/x"))
    assert refused.value.http_status == 409


def test_too_many_requests_are_answered_with_429(tasks: Tasks) -> None:
    token = token_of(tasks.client)
    tasks.box.sandbox.switch(requests_per_second=1)
    answers = [ask(tasks.box, "/v0.10/submission_id", token) for _ in range(10)]
    assert [answer.status for answer in answers] == [200] * 10
    # One is allowed again each second, so on a machine that is slow some more are answered.
    refused = eventually(lambda: (answer := ask(tasks.box, "/v0.10/submission_id", token)).status != 200 and answer)
    assert refused
    assert refused.status == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 10


def test_a_small_task_is_done_at_once(tasks: Tasks) -> None:
    (tasks.box.site / "f").write_text("x")
    began = time.monotonic()
    tasks.over(tasks.submit(("/f", "/f")))
    assert time.monotonic() - began < 30.0


def test_a_reset_stops_what_runs_and_forgets_it(tasks: Tasks) -> None:
    (tasks.box.site / "f").write_bytes(bytes(1_000_000))
    tasks.box.sandbox.fault("slow", endpoint="site", bytes_per_second=50_000)
    running = tasks.submit(("/f", "/f"))
    eventually(lambda: tasks.get(running)["bytes_transferred"] > 0)
    tasks.box.sandbox.reset()
    size = (tasks.box.other / "f").stat().st_size
    with pytest.raises(TransferAPIError) as refused:
        tasks.get(running)
    assert refused.value.http_status == 404
    status = tasks.box.sandbox.status()
    assert (status["tasks"]["ACTIVE"], status["faults"]) == (0, [])
    (tasks.box.site / "f").write_text("after")
    tasks.over(tasks.submit(("/f", "/g")))
    assert (tasks.box.other / "f").stat().st_size == size


def test_two_resets_at_a_time_are_one_after_the_other(tasks: Tasks) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: tasks.box.sandbox.reset(), range(4)))
    (tasks.box.site / "f").write_text("after")
    tasks.box.sandbox.add_site("site", str(tasks.box.site))
    tasks.over(tasks.submit(("/f", "/f")))
    assert tasks.box.sandbox.status()["tasks"] == {"ACTIVE": 0, "SUCCEEDED": 1, "FAILED": 0}


def test_events_come_in_pages(tasks: Tasks) -> None:
    (tasks.box.site / "f").write_text("text")
    tasks.box.sandbox.fault("corrupt", endpoint="other", count=25)
    task = tasks.submit(("/f", "/f"), verify_checksum=True)
    tasks.over(task)
    first = tasks.client.task_event_list(task)
    assert (len(first["DATA"]), first["limit"], first["total"]) == (10, 10, 28)
    codes = [event["code"] for event in tasks.client.paginated.task_event_list(task).items()]
    assert codes == ["SUCCEEDED", "PROGRESS", *["VERIFY_CHECKSUM"] * 25, "STARTED"]
    errors = tasks.client.task_event_list(task, query_params={"filter": "is_error:1", "limit": 100})
    assert {event["code"] for event in errors} == {"VERIFY_CHECKSUM"}
