"""claim: what a leader has on both file systems; what it can not read now is neither lost nor taken for nothing."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from nodexfer.config import Config
from nodexfer.errors import EndpointFailed, NodeError
from nodexfer.node import claim, leader
from nodexfer.node.order import Order
from nodexfer.node.parts import Lost, Parts, StepDown, Unfenced
from nodexfer.pool import entries
from nodexfer.pool.lease import Lease
from tests.support.holding import job, place
from tests.unit.pool.support import add_entry


@pytest.fixture
def entry() -> Path:
    home = Path(place().home)
    directory = add_entry(home, "node-1")
    (directory / "config/lta/key").write_text("old")
    for private in (home, directory / "config"):
        private.chmod(0o700)
    return directory


@pytest.fixture
def config(entry: Path) -> Config:
    found = place()
    found.node_paths.make()
    return found


def take(config: Config) -> Lease:
    def wait(_: object) -> None:
        raise AssertionError("it was not taken")

    return claim.take(config, job(), wait, wait).lease


def test_credentials_that_can_not_be_read_now_are_not_replaced_by_older_ones(config: Config) -> None:
    """The working copy of a leader that was killed: GCP may have changed them since."""
    lease = take(config)
    working = Path(claim.prepare(config, lease).working)
    (working / "lta/key").write_text("new")
    (working / "lta/client-id.txt").rename(working / "kept")
    (working / "lta/client-id.txt").mkdir()  # EISDIR, also for root
    with pytest.raises(NodeError, match="can not be used: Is a directory"):
        claim.prepare(config, lease)
    assert (working / "lta/key").read_text() == "new"
    (working / "lta/client-id.txt").rmdir()
    (working / "kept").rename(working / "lta/client-id.txt")
    assert claim.prepare(config, lease).working == str(working)
    claim.give_back(config, lease)
    assert Path(lease.directory, "config/lta/key").read_text() == "new"


def test_a_place_whose_pool_can_not_be_looked_at_waits_for_its_turn_all_the_same(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(entries, "read_pool", refuse)
    assert "Another Globus Connect Personal of yours" in claim.Turn(config, job()).foreign().message
    with pytest.raises(OSError, match="Stale file handle"):
        claim.left_here(config)


def test_a_term_takes_nothing_that_it_has_passed_over(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    term = leader.Term(config, job(), -1, 0.0, Order(), 0.0)
    seen = []

    def take(*arguments: Any) -> None:
        seen.append(arguments[-1])
        raise StepDown

    monkeypatch.setattr(claim, "take", take)
    monkeypatch.setattr(term, "_wait_for_turn", lambda: None)
    with pytest.raises(StepDown):
        term._take_lease()
    assert seen == [term._fencing.passed]


@pytest.mark.parametrize("last", [False, True])
def test_where_no_other_endpoint_is_to_be_tried_a_term_ends_with_what_is_wrong(
    config: Config, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    """In any case the lease says it, when it is given back."""
    term = leader.Term(config, job(), -1, 0.0, Order(), 0.0)
    lease = take(config)
    found = Unfenced(EndpointFailed("Task t does not end."))
    found.last = last

    def end_old_tasks(_: Lease) -> None:
        raise found

    monkeypatch.setattr(term._fencing, "end_old_tasks", end_old_tasks)
    with pytest.raises((Unfenced, EndpointFailed)) as caught:
        term._fence(lease)
    assert caught.value is (found.error if last else found)
    assert term._lease == lease._replace(trouble="Task t does not end.")


@pytest.fixture
def fencing(config: Config, monkeypatch: pytest.MonkeyPatch) -> tuple[leader.Term, list[Exception | None], list[str]]:
    """A term; what becomes of each look at old tasks (None: well); and what was done meanwhile."""
    term = leader.Term(config, job(), -1, 0.0, Order(), 0.0)
    said: list[Exception | None] = []
    done: list[str] = []

    def end_old_tasks(_: Lease) -> None:
        done.append("asked")
        if (error := said.pop(0)) is not None:
            raise error

    monkeypatch.setattr(term._fencing, "end_old_tasks", end_old_tasks)
    monkeypatch.setattr(term._parts, "start_desk", lambda: done.append("another desk"))
    monkeypatch.setattr(Parts, "lease_left", 100.0)
    return term, said, done


def test_a_desk_that_dies_while_it_looks_for_old_tasks_is_replaced_and_asked_again(
    config: Config, fencing: tuple[leader.Term, list[Exception | None], list[str]]
) -> None:
    term, said, done = fencing
    said += [Lost("the desk has ended"), None]
    term._fence(take(config))
    assert done == ["asked", "another desk", "asked"]


def test_desks_that_die_one_after_the_other_end_the_term_in_words(
    config: Config, fencing: tuple[leader.Term, list[Exception | None], list[str]]
) -> None:
    term, said, _ = fencing
    said += [Lost("the desk has ended"), Lost("the desk has ended")]
    with pytest.raises(EndpointFailed, match="mended, and lost again: the desk has ended"):
        term._fence(take(config))
