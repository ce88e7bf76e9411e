"""What wakes a keeper, and what it only counts once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.errors import NodeError
from nodexfer.identity import ProcessId
from nodexfer.node import bell, keeper, registry
from nodexfer.node.alarm import Alarm
from tests.support.holding import job, place

LONG = 60.0


@pytest.fixture
def alarm(tmp_path: Path) -> Iterator[Alarm]:
    made = Alarm()
    made.hang(f"{tmp_path}/bell")
    made.news = False
    yield made
    made.watch([])
    made.take_down()


@pytest.fixture
def other() -> Iterator[procs.Process]:
    process = procs.spawn(["sleep", "600"])
    yield process
    process.kill()
    process.wait(60.0)


def slept(alarm: Alarm, seconds: float) -> float:
    deadline = Deadline(seconds)
    alarm.sleep(seconds)
    return seconds - deadline.left


def test_the_bell_wakes_and_is_news(alarm: Alarm, tmp_path: Path) -> None:
    assert bell.ring(f"{tmp_path}/bell")
    assert slept(alarm, LONG) < LONG / 2
    assert alarm.news


def test_holds_that_come_together_are_looked_at_together(alarm: Alarm, tmp_path: Path) -> None:
    bell.ring(f"{tmp_path}/bell", bell.HOLD)
    ringer = threading.Timer(0.01, bell.ring, (f"{tmp_path}/bell", bell.HOLD))
    ringer.start()
    assert slept(alarm, LONG) < LONG / 2
    ringer.join(10)
    assert alarm.news


def test_another_thread_wakes_without_news(alarm: Alarm) -> None:
    threading.Timer(0.01, alarm.wake).start()
    assert slept(alarm, LONG) < LONG / 2
    assert not alarm.news


def test_nothing_wakes_before_the_time(alarm: Alarm) -> None:
    alarm.watch([procs.this()])
    assert slept(alarm, 0.05) >= 0.05
    assert not alarm.news


def test_a_process_that_ends_wakes_once(alarm: Alarm, other: procs.Process) -> None:
    """While the registry can not be read its hold stays: a keeper that were told again would not sleep any more."""
    alarm.watch([ProcessId.of(other.pid)])
    other.kill()
    assert slept(alarm, LONG) < LONG / 2
    assert alarm.news
    alarm.news = False
    assert slept(alarm, 0.05) >= 0.05
    assert not alarm.news


def test_a_process_that_has_ended_before_it_is_watched_is_news(alarm: Alarm) -> None:
    alarm.watch([procs.this()._replace(start=1)])
    assert alarm.news


def test_who_is_no_longer_watched_costs_no_descriptor(alarm: Alarm) -> None:
    before = pidfds()
    alarm.watch([procs.this()])
    (opened,) = pidfds() - before
    alarm.watch([])
    assert opened not in pidfds()


def pidfds() -> set[str]:
    """The open pidfds of this process that watch this process."""
    found = set()
    for number in os.listdir("/proc/self/fdinfo"):
        try:
            if f"Pid:\t{os.getpid()}\n" in Path(f"/proc/self/fdinfo/{number}").read_text(encoding="ascii"):
                found.add(number)
        except FileNotFoundError:  # the one that lists them
            pass
    return found


def test_what_could_not_be_read_is_looked_at_again_though_its_stamp_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = place()
    with registry.Transaction(config.node_paths, create=True) as table:
        table.clear()
        table.add(registry.new_hold(job().key, procs.this(), procs.this(), True))
    kept = keeper.Keeper(config, job(), procs.this())
    assert kept.begin() == b"holds\n"
    try:
        assert not kept._look()
        with registry.Transaction(config.node_paths) as table:
            again = registry.new_hold(job().key, procs.this(), procs.this(), False)
            table.add(again)
        with monkeypatch.context() as patch:
            patch.setattr(registry, "Transaction", refused)
            assert not kept._look()
        assert again not in kept.holds
        assert not kept._look()
        assert again in kept.holds
    finally:
        kept.alarm.take_down()


def refused(*_: object) -> None:
    raise NodeError("No space left on device.")
