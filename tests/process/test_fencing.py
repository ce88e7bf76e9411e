"""A task of an earlier lease that the service does not cancel: its endpoint is passed over, and said to be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodexfer.config import Config
from nodexfer.node import endpoint
from nodexfer.pool import lease as leases
from tests.support import eventually
from tests.support.holding import is_cleared, job, nodexfer, script
from tests.support.leading import held, make_pool, quiet, ready, tops, user
from tests.support.sandbox import Box

if TYPE_CHECKING:
    from globus_sdk import TransferClient

__all__ = ["user"]


@pytest.fixture
def stray(user: Config, box: Box, transfer: TransferClient) -> Iterator[str]:
    """The pool's first endpoint was this place's last one, and has a task of somebody whom nobody knows any more."""
    make_pool()
    with script("by") as bystander, script("0") as one:
        bystander.acquire()  # the place stays as it is as long as somebody holds
        one.acquire("--endpoint")
        found = ready(user).endpoint_id
        one.must("release")
        eventually(lambda: held(user) == [])
        (box.site / "old").write_text("old")
        yield leave_a_task(box, transfer, str(found))
        bystander.must("release")
    eventually(lambda: quiet(user))
    assert is_cleared(user)


def leave_a_task(box: Box, transfer: TransferClient, endpoint_id: str) -> str:
    """One that waits for the endpoint, and that the service does not cancel."""
    from globus_sdk import TransferData

    data = TransferData(source_endpoint=box.site_id, destination_endpoint=endpoint_id, label="somebody's own")
    data.add_item("/old", "/somewhere")
    task = str(transfer.submit_transfer(data)["task_id"])
    box.sandbox.fault("http", status=403, method="POST", prefix=f"/v0.10/task/{task}/cancel")
    return task


def top(config: Config, entry: str) -> leases.Lease:
    [found] = [one for one in tops(config) if one.entry == entry]
    return found


def test_another_endpoint_is_taken_and_it_is_said_which_was_passed_over_and_why(
    user: Config, box: Box, stray: str, transfer: TransferClient
) -> None:
    make_pool()
    (box.site / "a").write_bytes(b"data")
    with script("1") as one:
        one.acquire("--endpoint")
        found = ready(user)
        assert (found.entry, top(user, "p-2").released) == ("p-2", False)
        passed = top(user, "p-1")
        assert (passed.number, passed.released) == (2, True)
        assert f"While cancelling the task {stray}" in passed.trouble
        one.must("stage-in site:/a $NODEXFER_SCRATCH/")
        assert Path(user.node_paths.scratch(job("1").key), "a").read_bytes() == b"data"
        said = " ".join(one.must("status").split())
        assert f"p-1 was passed over: While cancelling the task {stray}" in said
        assert "free   passed over by 1: While can" in one.must("pool list")
        log = "".join(path.read_text() for path in Path(user.node_paths.logs).glob("keeper*"))
        assert f"p-1 is passed over: While cancelling the task {stray}" in log
        assert transfer.get_task(stray)["status"] == "ACTIVE", "its endpoint never came up"
        one.must("release")
    eventually(lambda: held(user) == [])
    with script("2") as two:  # the next leader reads it, and does not try in vain
        two.acquire("--endpoint")
        assert ready(user, job("2").key).entry == "p-2"
        assert top(user, "p-1").number == 2
        two.must("release")


@pytest.mark.parametrize("count", [1, 2])
def test_where_there_is_no_other_the_task_is_named_and_nothing_is_kept(
    user: Config, box: Box, stray: str, transfer: TransferClient, count: int
) -> None:
    if count == 2:
        make_pool()
        other = next(one["id"] for one in box.sandbox.status()["endpoints"] if one["name"].startswith("p-2"))
        leave_a_task(box, transfer, other)
    with script("1") as one:
        code, text = one.run(f"'{sys.executable}' -m nodexfer acquire --endpoint")
        assert code == 44, text
        assert "While cancelling the task " in text
        assert count == 2 or stray in text
        eventually(lambda: held(user) == [] and endpoint.read(user.node_paths) is None)
        assert [(found.number, found.trouble != "") for found in tops(user)] == [(2, True), (1, True)][:count]


def test_an_endpoint_that_was_passed_over_is_used_again_when_its_task_has_ended(
    user: Config, box: Box, stray: str
) -> None:
    with script("1") as one:
        assert one.run(f"'{sys.executable}' -m nodexfer acquire --endpoint")[0] == 44
    eventually(lambda: held(user) == [])
    assert "p-1 was passed over" in nodexfer("status").out
    box.sandbox.clear()
    with script("2") as two:
        two.acquire("--endpoint")
        assert ready(user).entry == "p-1"
        assert "passed over" not in two.must("status")
        two.must("release")
