"""leader: what a term waits for while parts of it are away, and for whom."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nodexfer.config import Config
from nodexfer.errors import LeaseLost
from nodexfer.node import endpoint, work
from nodexfer.node.leader import Term
from nodexfer.node.order import Order
from nodexfer.node.parts import Lost, StepDown
from tests.support.holding import job, place


@pytest.fixture
def config() -> Config:
    found = place()
    found.node_paths.make()
    return found


class Renewal:
    """One that does not come through, until it is told to."""

    def __init__(self) -> None:
        self.left = -1.0
        self.lost: LeaseLost | None = None


@pytest.fixture
def renewal() -> Renewal:
    return Renewal()


@pytest.fixture
def term(config: Config, renewal: Renewal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Term]:
    """Its lease has run out, and its desk is never started."""
    descriptor = os.open(config.node_dir, os.O_RDONLY)
    made = Term(config, job(), descriptor, time.time(), Order(), 0.0)
    made._parts._renewal = renewal  # type: ignore[assignment]
    monkeypatch.setattr(made._parts, "start_desk", lambda: None)
    yield made
    os.close(descriptor)


def request(config: Config, name: str, patience: str, *more: str) -> Path:
    directory = Path(config.node_paths.request(job().key, name))
    directory.mkdir(parents=True)
    said = f'{{"format": 1, "created": 1, "wait_endpoint": {patience}, "deadline": 1e12}}'
    (directory / "request.json").write_text(said)
    for also in more:
        (directory / also).touch()
    return directory


def at_turn(term: Term, monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], object]) -> list[int]:
    """Have the turns do that, one after the other, and no more of them; the list has one item for each."""
    turns: list[int] = []
    todo = iter(steps)

    def turn(_: float) -> None:
        turns.append(1)
        next(todo)()

    monkeypatch.setattr(term._parts, "turn", turn)
    return turns


GCP_ENDED = Lost("GCP has ended: the lease was not renewed in time")


def test_who_does_not_want_to_wait_is_refused_while_the_lease_is_not_renewed(
    config: Config, term: Term, renewal: Renewal, monkeypatch: pytest.MonkeyPatch
) -> None:
    tired, patient = request(config, "tired", "0"), request(config, "patient", "null")
    moves = request(config, "moves", "0", "batch.json")
    said: list[Any] = []

    def renewed() -> None:
        said.append(endpoint.read(config.node_paths))
        renewal.left = 10.0

    at_turn(term, monkeypatch, renewed)
    term._mend(GCP_ENDED)
    assert "not renewed in time" in (tired / "result.json").read_text()
    assert not (patient / "result.json").exists()
    assert not (moves / "result.json").exists(), "its task goes on by itself"
    assert said[0].state == endpoint.WAITING
    assert said[0].waiting["error"] == "EndpointFailed"
    found = endpoint.read(config.node_paths)
    assert found is not None
    assert (found.state, found.waiting) == (endpoint.MENDING, None)


def test_a_lease_that_is_not_renewed_is_waited_for_only_while_anybody_wants_it(
    config: Config, term: Term, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = request(config, "one", "null")
    turns = at_turn(term, monkeypatch, lambda: None, lambda: (directory / "result.json").write_text("{}"))
    with pytest.raises(StepDown):
        term._mend(GCP_ENDED)
    assert len(turns) == 2
    assert work.requests(config.node_paths) == []


def test_what_the_desk_says_of_an_endpoint_whose_lease_is_not_renewed_ends_nothing(
    config: Config, term: Term, renewal: Renewal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been said before the desk heard that it is to pause."""
    request(config, "one", "null")

    def lost() -> None:
        raise Lost("the service does not see the endpoint (GCDisconnected)", restart=True)

    turns = at_turn(term, monkeypatch, lost, lambda: setattr(renewal, "left", 10.0))
    term._mend(GCP_ENDED)
    assert len(turns) == 2


def test_a_lease_that_is_lost_is_not_waited_for(config: Config, term: Term, renewal: Renewal) -> None:
    request(config, "one", "null")
    renewal.lost = LeaseLost("The endpoint node-1 was taken over by job 7 on elsewhere.")
    with pytest.raises(LeaseLost):
        term._mend(GCP_ENDED)
