"""outcome: from a task's document and events to a decision."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nodexfer.errors import (
    DeadlinePassed,
    DiskFull,
    NodexferError,
    PermissionRefused,
    SourceMissing,
    TransferFailed,
    TransferUnproven,
)
from nodexfer.globus.events import CODES
from nodexfer.globus.protocol import Event, Submission, Task
from nodexfer.staging.outcome import Going, Hopeless, Succeeded, judge, prove, troubles, wants_events
from nodexfer.staging.request import BatchItem, MovedFile, OutItem
from tests.support.local_globus import Job


def task(**fields: Any) -> Task:
    document = Job(Submission("s", "a", "b", (), "label", "")).document
    return msgspec.structs.replace(document, **fields)


def error(code: str) -> Event:
    return Event(code, True, "what", f"Path: /x\n{code} it is", "now")


def test_a_task_that_moves_or_queues_goes_on() -> None:
    assert judge(task()) == Going("moving", None)
    assert judge(task(nice_status="Queued")) == Going("queued by Globus", None)


def test_a_lost_endpoint_is_trouble_and_not_the_end() -> None:
    assert judge(task(nice_status="GC_NOT_CONNECTED"), [error("GC_NOT_CONNECTED")]) == Going(
        "Globus is trying again after GC_NOT_CONNECTED", "GC_NOT_CONNECTED"
    )


@pytest.mark.parametrize(
    ("code", "cls", "shared"),
    [
        ("FILE_NOT_FOUND", SourceMissing, False),
        ("PERMISSION_DENIED", PermissionRefused, False),
        ("NO_SPACE_LEFT", DiskFull, True),
        ("QUOTA_EXCEEDED", DiskFull, True),
    ],
)
def test_a_fatal_event_ends_an_active_task(code: str, cls: type[NodexferError], shared: bool) -> None:
    for decision in (
        judge(task(faults=1), [error("CONNECTION_RESET"), error(code)]),
        judge(task(nice_status=code, nice_details="it is")),
        judge(task(status="FAILED", fatal_code=code, fatal_description="it is")),
    ):
        assert isinstance(decision, Hopeless)
        assert type(decision.error) is cls
        assert decision.shared == shared
        assert "it is" in decision.error.message
        assert decision.error.next


@pytest.mark.parametrize(
    ("fields", "cls"),
    [
        ({"status": "FAILED", "fatal_code": "EXPIRED"}, DeadlinePassed),
        ({"status": "FAILED", "fatal_code": "CANCELED"}, TransferFailed),
        ({"status": "FAILED"}, TransferFailed),
        ({"status": "INACTIVE", "nice_status": "PAUSED_BY_ADMIN"}, TransferFailed),
        ({"status": "SUCCEEDED", "skipped_errors": 1}, TransferUnproven),
        ({"status": "SUCCEEDED", "files_skipped": 1}, TransferUnproven),
    ],
)
def test_no_other_end_counts_as_success(fields: dict[str, Any], cls: type[NodexferError]) -> None:
    decision = judge(task(**fields))
    assert isinstance(decision, Hopeless)
    assert type(decision.error) is cls
    assert decision.shared


def test_success_is_only_what_says_so() -> None:
    assert judge(task(status="SUCCEEDED", faults=3), [error("CONNECTION_RESET")]) == Succeeded()


def test_events_are_asked_for_only_when_something_is_new() -> None:
    assert not wants_events(task(), 0)
    assert not wants_events(task(faults=2), 2)
    assert wants_events(task(faults=3), 2)
    assert wants_events(task(nice_status="CONNECT_FAILED"), 0)


def test_every_file_must_have_been_moved() -> None:
    file, directory = BatchItem(0, False, "l0", "r0", 5), BatchItem(1, True, "l1", "r1")
    outs = [OutItem(0, "c", "r0", "/", False, 1, 5), OutItem(1, "c", "r1", "/", True, 2, 9)]
    whole = [MovedFile(0, ""), MovedFile(1, "a"), MovedFile(1, "b")]
    prove("out", [file, directory], outs, whole)
    prove("in", [file, directory], (), whole[:1])
    for some in (whole[1:], whole[:-1], [*whole, MovedFile(1, "c")]):
        with pytest.raises(TransferUnproven):
            prove("out", [file, directory], outs, some)
    with pytest.raises(TransferUnproven):
        prove("in", [file], (), [])


def test_what_went_wrong_is_named_once_in_the_order_in_which_it_came() -> None:
    seen = [error("TIMEOUT"), Event("PROGRESS", False, "", "", ""), error("CONNECTION_RESET"), error("TIMEOUT")]
    assert troubles(seen, []) == ["TIMEOUT", "CONNECTION_RESET"]
    assert troubles(seen, ["TIMEOUT"]) == ["CONNECTION_RESET"]


def test_an_error_says_why_such_a_thing_happens_and_what_to_type() -> None:
    decision = judge(task(status="INACTIVE", nice_status="PAUSED_BY_ADMIN"))
    assert isinstance(decision, Hopeless)
    assert CODES["INACTIVE"].cause in decision.error.message
    assert decision.error.next.startswith("globus task pause-info ")
