"""Deadlines run on the monotonic clock and never move."""

from __future__ import annotations

import time

import pytest

from nodexfer.clock import Deadline, utc


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    now = {"monotonic": 100.0, "time": 1_790_000_000.0}
    monkeypatch.setattr(time, "monotonic", lambda: now["monotonic"])
    monkeypatch.setattr(time, "time", lambda: now["time"])
    return now


def test_a_deadline_passes_after_its_seconds_and_never_has_less_than_none_left(clock: dict[str, float]) -> None:
    deadline = Deadline(5)
    assert (deadline.left, deadline.passed, deadline.at) == (5.0, False, 1_790_000_005.0)
    clock["monotonic"] += 7
    assert (deadline.left, deadline.passed) == (0.0, True)


def test_setting_the_wall_clock_moves_no_deadline(clock: dict[str, float]) -> None:
    deadline = Deadline.from_epoch(1_790_000_060.0)
    clock["time"] += 3600
    assert deadline.left == 60.0
    assert deadline.at == 1_790_003_660.0


def test_sooner_is_the_earlier_of_both(clock: dict[str, float]) -> None:
    assert Deadline(10).sooner(3).left == 3.0
    assert Deadline(3).sooner(10).left == 3.0
    assert Deadline(-1).sooner(10).passed
    assert Deadline(float("inf")).sooner(10).left == 10.0


def test_utc_is_what_globus_takes_for_a_deadline(clock: dict[str, float]) -> None:
    assert utc(0) == "1970-01-01T00:00:00+00:00"
    assert utc() == utc(1_790_000_000.0) == "2026-09-21T14:13:20+00:00"
