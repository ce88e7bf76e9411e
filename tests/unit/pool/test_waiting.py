"""The queue of waiters, by the file server's clock alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from nodexfer.pool.waiting import SILENT_SECONDS, Demand, Queue, forget_old, waiters
from tests.unit.pool.support import ME


def queue(pool: Path, place: str) -> Queue:
    return Queue(str(pool), ME._replace(place=place))


def age(pool: Path, place: str, seconds: float) -> None:
    [path] = (pool / "waiting").glob(f"*-{place}")
    stamp = path.stat().st_mtime - seconds
    os.utime(path, (stamp, stamp))


def test_the_oldest_waiter_is_first_whatever_its_clock_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = 5 * 3600.0
    now = time.time
    with queue(tmp_path, "first") as first, queue(tmp_path, "second") as second:
        monkeypatch.setattr(time, "time", lambda: now() + hours)
        first.join()
        time.sleep(0.01)  # the queue counts milliseconds
        monkeypatch.setattr(time, "time", lambda: now() - hours)
        second.join()
        assert (first.ahead(), second.ahead()) == (0, 1)
    assert list((tmp_path / "waiting").iterdir()) == []


def test_a_newcomer_whose_clock_is_ahead_sends_nobody_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with queue(tmp_path, "first") as first, queue(tmp_path, "second") as second:
        first.join()
        monkeypatch.setattr(time, "time", lambda: 2e10)
        assert second.ahead() == 1
        assert len(list((tmp_path / "waiting").iterdir())) == 1


def test_who_is_silent_is_passed_over_and_at_last_removed(tmp_path: Path) -> None:
    with queue(tmp_path, "silent") as silent, queue(tmp_path, "here") as here:
        silent.join()
        here.join()
        age(tmp_path, "silent", SILENT_SECONDS + 1)
        assert here.ahead() == 0
        age(tmp_path, "silent", 10 * SILENT_SECONDS)
        assert here.ahead() == 0
        assert len(list((tmp_path / "waiting").iterdir())) == 1


def test_a_death_while_joining_leaves_nothing_that_waits(tmp_path: Path) -> None:
    (tmp_path / "waiting").mkdir()
    (tmp_path / "waiting/.new-node1-dead").touch()
    with queue(tmp_path, "here") as here:
        assert here.ahead() == 0
        here.join()
        assert here.ahead() == 0
        os.utime(tmp_path / "waiting/.new-node1-dead", (1, 1))
        assert here.ahead() == 0
        assert len(list((tmp_path / "waiting").iterdir())) == 1


# -- who is idle gives way


def test_a_waiter_that_shows_itself_is_demand_and_a_dead_ones_mark_is_none(tmp_path: Path) -> None:
    demand = Demand([str(tmp_path), str(tmp_path / "turns")], "here")
    with queue(tmp_path, "there") as there:
        there.join()
        assert [demand.look(), demand.look()] == [False, False]
        age(tmp_path, "there", 5.0)
        there.join()
        assert demand.look()
        assert not demand.look(), "it has not been seen since"


def test_our_own_mark_is_no_demand(tmp_path: Path) -> None:
    demand = Demand([str(tmp_path)], "here")
    with queue(tmp_path, "here") as here:
        here.join()
        demand.look()
        age(tmp_path, "here", 5.0)
        assert not demand.look()


def test_waiters_are_told_by_host_and_job_the_oldest_first(tmp_path: Path) -> None:
    with queue(tmp_path, "b") as b, queue(tmp_path, "a") as a:
        b.join()
        time.sleep(0.01)  # the queue counts milliseconds
        a.join()
        (tmp_path / "waiting/000-broken").write_text("{")
        found = waiters(str(tmp_path))
        (tmp_path / "waiting/000-broken").unlink()
    assert [(waiter.host, waiter.job, waiter.place) for waiter in found] == [("node1", "17", "b"), ("node1", "17", "a")]
    assert abs(found[0].since - time.time()) < 60


def test_marks_of_a_boot_that_is_over_are_removed_by_who_waits_after_a_day(tmp_path: Path) -> None:
    places = [queue(tmp_path / name, name) for name in ("old", "other", "now")]
    for one in places:
        one.join()
    age(tmp_path / "old", "old", 2 * 86400)
    forget_old(str(tmp_path), str(tmp_path / "now"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["now", "other"]
    for one in places:
        one.__exit__()
