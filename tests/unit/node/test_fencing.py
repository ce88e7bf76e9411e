"""fencing: an endpoint whose tasks do not end is passed over, the last one is waited for, and all in two minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nodexfer.errors import EndpointFailed
from nodexfer.node import fencing
from nodexfer.node.parts import Unfenced
from nodexfer.pool import choose
from nodexfer.pool.lease import Lease
from tests.unit.pool.support import ME, add_entry, config


class Clock:
    """In the place of the module ``time``."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Desk:
    """In the place of the parts: says of each endpoint in ``left`` that a task of it does not end, in all the time."""

    def __init__(self, clock: Clock, left: set[str]) -> None:
        self.clock = clock
        self.left = left
        self.lease: Lease | None = None
        self.asked: list[tuple[str, float, float]] = []

    def ask_desk(self, what: str, answer: str, seconds: float, *, margin: float) -> None:
        assert self.lease is not None
        assert (what, answer) == ("fence", "fenced")
        self.asked.append((self.lease.entry, seconds, seconds + margin))
        if self.lease.entry in self.left:
            self.clock.now += seconds
            raise Unfenced(EndpointFailed(f"A task of {self.lease.entry} does not end."))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (fencing, choose):
        monkeypatch.setattr(module, "time", made)
    return made


def lease(directory: Path) -> Lease:
    return Lease(7, "endpoint", directory.name, str(directory), *ME, 300.0, 0.0, False)


def end(made: fencing.Fencing, desk: Desk, directory: Path) -> Unfenced | None:
    desk.lease = lease(directory)
    try:
        made.end_old_tasks(desk.lease)
    except Unfenced as error:
        return error
    return None


def fencing_of(home: Path, desk: Any) -> fencing.Fencing:
    return fencing.Fencing(config(home), desk)


def test_the_only_endpoint_is_waited_for_as_long_as_ever(tmp_path: Path, clock: Clock) -> None:
    only, desk = add_entry(tmp_path, "p-1"), Desk(clock, {"p-1"})
    found = end(fencing_of(tmp_path, desk), desk, only)
    assert found is not None
    assert found.last
    assert found.error.message == "A task of p-1 does not end."
    assert clock.now == 1000.0 + fencing.FENCE_SECONDS
    assert [asked for _, asked, _ in desk.asked] == [fencing.TRY_SECONDS, fencing.FENCE_SECONDS - fencing.TRY_SECONDS]


def test_an_endpoint_is_passed_over_where_there_is_another_and_that_one_is_taken(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "pool/default/p-0").mkdir(parents=True)  # broken: not one that could be had
    first, second = add_entry(tmp_path, "p-1", 1), add_entry(tmp_path, "p-2", 2)
    desk = Desk(clock, {"p-1"})
    made = fencing_of(tmp_path, desk)
    found = end(made, desk, first)
    assert found is not None
    assert not found.last
    assert str(found) == "p-1 is passed over: A task of p-1 does not end."
    assert clock.now == 1000.0 + fencing.TRY_SECONDS
    assert end(made, desk, second) is None


def test_all_of_them_take_no_longer_than_one_alone(tmp_path: Path, clock: Clock) -> None:
    pool = [add_entry(tmp_path, f"p-{number}", number) for number in range(1, 8)]
    desk = Desk(clock, {directory.name for directory in pool})
    made = fencing_of(tmp_path, desk)
    tried = 0
    for directory in pool:
        tried += 1
        found = end(made, desk, directory)
        assert found is not None
        if found.last:
            break
    assert tried == fencing.FENCE_SECONDS / fencing.TRY_SECONDS
    assert clock.now == 1000.0 + fencing.FENCE_SECONDS


def test_the_last_of_them_has_what_the_others_left(tmp_path: Path, clock: Clock) -> None:
    pool = [add_entry(tmp_path, f"p-{number}", number) for number in (1, 2)]
    desk = Desk(clock, {"p-1", "p-2"})
    made = fencing_of(tmp_path, desk)
    assert [found.last for directory in pool if (found := end(made, desk, directory))] == [False, True]
    assert clock.now == 1000.0 + fencing.FENCE_SECONDS


def test_a_slow_service_has_as_much_time_as_ever(tmp_path: Path, clock: Clock) -> None:
    """Only a task that does not end is given up early."""
    first, _ = add_entry(tmp_path, "p-1", 1), add_entry(tmp_path, "p-2", 2)
    desk = Desk(clock, set())
    assert end(fencing_of(tmp_path, desk), desk, first) is None
    assert desk.asked == [("p-1", fencing.TRY_SECONDS, fencing.FENCE_SECONDS + 5.0)]


@pytest.mark.parametrize("since", ["a fence that went well", "a long wait for another"])
def test_the_time_begins_anew_after(tmp_path: Path, clock: Clock, since: str) -> None:
    pool = [add_entry(tmp_path, f"p-{number}", number) for number in (1, 2)]
    desk = Desk(clock, {"p-1"})
    made = fencing_of(tmp_path, desk)
    assert end(made, desk, pool[0]) is not None
    if since == "a long wait for another":
        clock.now += choose.REST_SECONDS
    else:
        assert end(made, desk, pool[1]) is None
    desk.asked.clear()
    end(made, desk, pool[1])
    assert desk.asked[0][2] == fencing.FENCE_SECONDS + 5.0
