"""pulse: a desk is lost when it was asked, and has neither answered nor done anything for its time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from nodexfer import procs
from nodexfer.node import threads
from nodexfer.node.pulse import SPIN_SECONDS, Pulse
from tests.support.waiting import eventually

#: A thread that waits, and a main thread that works or waits as it is told.
BUSY = """
import sys, threading, time
threading.Thread(target=sys.stdin.read, daemon=True).start()
while sys.argv[1] == "works": pass
time.sleep(60)
"""


@pytest.fixture
def desk(request: pytest.FixtureRequest) -> Iterator[procs.Process]:
    child = procs.spawn(procs.python("-c", BUSY, getattr(request, "param", "waits")), stdin=procs.PIPE)
    eventually(lambda: len(os.listdir(f"/proc/{child.pid}/task")) == 2)
    yield child
    child.kill()
    child.wait(5.0)
    child.close()


@pytest.fixture
def quiet(desk: procs.Process) -> int:
    """Its pid; its main thread has used no time for a while."""
    seen: list[int] = []

    def still() -> bool:
        seen.append(threads.main_ran(desk.pid))
        return len(seen) > 5 and len(set(seen[-5:])) == 1 and threads.states(desk.pid) == {"S"}

    eventually(still)
    return desk.pid


def lost_at(pulse: Pulse, begin: int, end: int) -> list[int]:
    """At which seconds it is; asked whenever it wants to."""
    found = []
    for now in range(begin, end):
        pulse.look(float(now))
        pulse.asks(float(now))
        if pulse.is_lost():
            found.append(now)
    return found


def test_one_that_was_never_asked_is_not_lost(quiet: int) -> None:
    pulse = Pulse(quiet)
    for now in range(100):
        pulse.look(float(now))
        assert not pulse.is_lost()


def test_one_that_does_not_answer_is_lost_after_its_time(quiet: int) -> None:
    assert lost_at(Pulse(quiet), 0, 33) == [30, 31, 32]


def test_one_that_answers_is_asked_again_a_few_seconds_later(quiet: int) -> None:
    pulse = Pulse(quiet)
    assert pulse.asks(0.0)
    assert not pulse.asks(1.0), "one question at a time"
    pulse.heard(1.0)
    assert not pulse.asks(5.0)
    assert pulse.asks(6.0)
    pulse.heard(29.0)
    assert lost_at(pulse, 29, 60) == []


def test_our_own_sleep_is_not_its_silence(quiet: int) -> None:
    pulse = Pulse(quiet)
    assert pulse.asks(0.0)
    pulse.look(1.0)
    pulse.look(86400.0)
    assert not pulse.is_lost()


@pytest.mark.parametrize("desk", ["works"], indirect=True)
def test_one_that_works_is_not_lost_whatever_it_says(desk: procs.Process) -> None:
    pulse = Pulse(desk.pid)
    assert pulse.asks(0.0)
    before = threads.main_ran(desk.pid)
    eventually(lambda: threads.main_ran(desk.pid) > before)
    assert lost_at(pulse, 0, 31) == []


def test_one_that_works_and_never_answers_is_lost_in_the_end(quiet: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may turn in a circle; the next one goes on with what it was at."""
    ticks = iter(range(10**6))
    monkeypatch.setattr(threads, "main_ran", lambda _: next(ticks))
    pulse = Pulse(quiet)
    assert lost_at(pulse, 0, int(SPIN_SECONDS)) == []
    assert lost_at(pulse, int(SPIN_SECONDS), int(SPIN_SECONDS) + 40) != []
    answers = Pulse(quiet)
    for begin in range(0, 4 * int(SPIN_SECONDS), 400):
        assert lost_at(answers, begin, begin + 400) == []
        answers.heard(begin + 400.0)


def test_one_that_waits_for_a_disk_is_not_lost(quiet: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "states", lambda _: {"S", "D"})
    assert lost_at(Pulse(quiet), 0, 70) == []


# -- what it is known by


def test_the_states_of_all_threads_are_seen(quiet: int) -> None:
    eventually(lambda: threads.states(quiet) == {"S"})
    assert threads.states(0x7FFFFFFF) == set()
    assert threads.main_ran(0x7FFFFFFF) == -1


def test_a_thread_beside_the_main_one_is_seen() -> None:
    ended = threading.Event()
    threading.Thread(target=ended.wait, daemon=True).start()
    eventually(lambda: threads.states(os.getpid()) >= {"R", "S"})
    ended.set()


def test_only_the_time_of_the_main_thread_counts() -> None:
    """The desk's other threads hear its orders: that is no sign of its loop."""

    def work() -> None:
        begun = time.thread_time()
        while time.thread_time() < begun + 0.3:
            pass

    before = threads.main_ran(os.getpid())
    helper = threading.Thread(target=work)
    helper.start()
    helper.join()
    assert threads.main_ran(os.getpid()) - before < 0.25 * os.sysconf("SC_CLK_TCK")
