"""stall: a task that stands still is told and, where that can help and harms nobody, tried once more."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from nodexfer.globus.protocol import Submission, Task
from nodexfer.staging import intents, stall
from nodexfer.staging.batches import Key
from nodexfer.staging.bring import bring
from nodexfer.staging.cases import Case, Move, Serving
from nodexfer.staging.outcome import Going
from nodexfer.staging.request import BatchItem, Owner, Request
from tests.support.local_globus import Job
from tests.support.place import Place
from tests.support.waiting import eventually
from tests.unit.staging.test_take_up import Following


def task(**fields: Any) -> Task:
    document = Job(Submission("s", "a", "b", (), "label", "")).document
    return msgspec.structs.replace(document, **fields)


def moving(stall_seconds: float = 10.0, size: int | None = 100, begun: float = 0.0) -> Move:
    """A task that moves one item, begun at ``begun``."""
    request = Request(id="r1", job="j", owner=Owner(1, 1, 1), direction="in", deadline=1.0, created=0.0)
    case = Case("/nowhere", msgspec.structs.replace(request, stall=stall_seconds), None)
    case.items = [BatchItem(0, size is None, "/a", "/b", size)]
    move = Move(Key("in", "c"), "s", "l", "", Serving("e", 1, {}, 0.0))
    move.stage, move.cases, move.task = "moving", {"r1": case}, "t"
    move.pulse = stall.Pulse(begun)
    seen(move, [(begun, task())])
    return move


def seen(move: Move, polls: Sequence[tuple[float, Task]]) -> None:
    for at, document in polls:
        move.seen = document
        move.pulse.see(document, at)


def test_a_task_without_a_byte_for_the_time_is_stalled_and_tried_again_once() -> None:
    move = moving()
    assert not stall.wants_restart([move], 9.9)
    assert stall.wants_restart([move], 10.0)
    move.pulse.retried = True
    assert stall.is_stalled(move, 1000.0)
    assert not stall.wants_restart([move], 1000.0)


@pytest.mark.parametrize(
    "fields",
    [
        {"bytes_transferred": 1},
        {"bytes_checksummed": 1},
        {"files_transferred": 1},
        {"files": 7},
        {"nice_status": "Queued"},
        {"nice_status": "PAUSED"},
    ],
)
def test_what_moves_or_waits_for_its_turn_does_not_stand_still(fields: dict[str, Any]) -> None:
    move = moving()
    seen(move, [(9.0, task(**fields))])
    assert not stall.is_stalled(move, 18.0)
    assert stall.is_stalled(move, 19.0)


def test_failing_again_and_again_is_no_progress() -> None:
    move = moving()
    seen(move, [(5.0, task(faults=3, nice_status="TIMEOUT")), (9.0, task(faults=4, nice_status="TIMEOUT"))])
    assert stall.wants_restart([move], 10.0)


def test_others_that_move_are_not_disturbed() -> None:
    still, other = moving(), moving()
    seen(other, [(8.0, task(bytes_transferred=5))])
    assert stall.is_stalled(still, 12.0)
    assert not stall.wants_restart([still, other], 12.0)
    assert stall.wants_restart([still, other], 18.0)


def test_what_only_compares_checksums_is_left_alone() -> None:
    move = moving()
    seen(move, [(1.0, task(bytes_transferred=100))])
    assert stall.is_stalled(move, 12.0)
    assert not stall.wants_restart([move], 12.0)
    whole = moving(size=None)  # a directory: only Globus knows how much that is
    seen(whole, [(1.0, task(bytes_transferred=100))])
    assert stall.wants_restart([whole], 12.0)


def test_it_is_told_and_kept_with_the_code_of_globus_where_there_is_one() -> None:
    move = moving()
    calm = Going("moving", None)
    assert stall.judge(move, 9.0, calm) is calm
    assert stall.judge(move, 10.0, calm) == Going("no bytes for 10 s", "STALLED")
    move.pulse.retried = True
    told = stall.judge(move, 30.0, Going("Globus is trying again after TIMEOUT", "TIMEOUT"))
    assert told == Going("no bytes for 10 s after TIMEOUT, also not since the endpoint was restarted", "TIMEOUT")
    assert move.cases["r1"].troubles == ["STALLED"]


def test_the_desk_asks_for_the_endpoint_once_and_goes_on_when_it_is_back(place: Place) -> None:
    (place.site / "a").write_text("a")
    place.globus.held = True
    states: list[str] = []
    who = place.client(on_progress=lambda news: states.append(news.state))
    wanted = intents.fetches(["site:/a"], "here", place.config, base=str(place.node))
    lost = {"lost": "stalled"}
    with place.desk() as inbox:
        following = Following(lambda: bring(who, wanted, stall=0.2))
        eventually(lambda: lost in place.said)
        inbox.put({"do": "pause"})
        time.sleep(0.5)  # the endpoint is away: nothing is asked for twice meanwhile
        assert place.said.count(lost) == 1
        place.serve(inbox)
        eventually(lambda: any("since the endpoint was restarted" in state for state in states))
        assert lost not in place.said
        place.globus.held = False
        receipt = following.result()
    assert [trouble.code for trouble in receipt.troubles] == ["STALLED"]
    assert len(place.globus.jobs) == 1
    assert os.path.exists(place.node / "here")
