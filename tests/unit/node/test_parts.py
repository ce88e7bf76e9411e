"""parts: what the desk says of the endpoint comes with what GCP said last."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from nodexfer.config import load
from nodexfer.errors import EndpointFailed, NodexferError, TokenExpired
from nodexfer.node import parts as parts_module
from nodexfer.node.order import Order
from nodexfer.node.parts import Lost, Parts, Unfenced


class Gcp:
    """One that runs, and has written a log."""

    def __init__(self, log: str) -> None:
        self.log = log

    def log_tail(self, lines: int) -> str:
        return "\n".join(self.log.splitlines()[-lines:])


@pytest.fixture
def parts() -> Parts:
    made = Parts(load(os.environ), Order(), lambda: None)
    made._gcp = Gcp("long ago\nrelay: connecting\n\nrelay: refused by 1.2.3.4\n")  # type: ignore[assignment]
    return made


def heard(parts: Parts, message: dict[str, Any]) -> BaseException:
    with pytest.raises((NodexferError, Lost)) as caught:
        parts._hear(message)
    return caught.value


def test_an_endpoint_that_did_not_become_ready_is_told_with_gcps_last_words(parts: Parts) -> None:
    error = heard(parts, {"error": EndpointFailed("It did not become ready.", "nodexfer status").as_record()})
    assert isinstance(error, EndpointFailed)
    assert error.message == "It did not become ready. GCP said last: relay: connecting / relay: refused by 1.2.3.4"
    assert error.next == "nodexfer status"


def test_what_is_not_about_the_endpoint_stays_as_it_is(parts: Parts) -> None:
    assert str(heard(parts, {"error": TokenExpired("No.", "x").as_record()})) == "No."


def test_an_endpoint_that_is_lost_is_told_with_gcps_last_words_and_counts(parts: Parts) -> None:
    lost = heard(parts, {"lost": "GCDisconnected"})
    assert isinstance(lost, Lost)
    assert (lost.restart, lost.counts) == (True, True)
    assert "GCP said last: relay: connecting / relay: refused by 1.2.3.4" in str(lost)


def test_a_stall_restarts_the_endpoint_and_does_not_count_as_a_loss(parts: Parts) -> None:
    lost = heard(parts, {"lost": "stalled"})
    assert isinstance(lost, Lost)
    assert (lost.restart, lost.counts) == (True, False)


def test_without_a_word_of_gcp_nothing_is_quoted(parts: Parts) -> None:
    parts._gcp = None
    assert "GCP said" not in str(heard(parts, {"lost": "GCDisconnected"}))


@pytest.mark.parametrize(("busy", "asked"), [(0, []), (1, [{"do": "ping"}])])
def test_a_desk_is_asked_whether_it_goes_on_only_while_it_has_work(
    parts: Parts, busy: int, asked: list[dict[str, Any]]
) -> None:
    class Silent:
        def __init__(self) -> None:
            self.told: list[dict[str, Any]] = []
            self.say = self.told.append

    desk = Silent()
    parts._desk, parts._said, parts.busy = desk, {"hello"}, busy  # type: ignore[assignment]
    for now in (100.0, 101.0):
        parts._feel_pulse(now)
    assert desk.told == asked


def test_a_task_that_can_not_be_ended_is_told_apart_from_what_ends_the_term(parts: Parts) -> None:
    error = EndpointFailed("Task t does not end.", "globus task cancel t")
    with pytest.raises(Unfenced) as caught:
        parts._hear({"unfenced": True, "error": error.as_record()})
    assert isinstance(caught.value.error, EndpointFailed)
    assert (caught.value.error.message, caught.value.error.next) == (error.message, error.next)
    assert not caught.value.last


def test_a_desk_is_waited_for_longer_than_it_may_take(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does ends by itself; what takes longer is its start, and a service that answers slowly."""
    waited: list[tuple[str, float]] = []
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(parts, "await_word", lambda word, seconds: waited.append((word, seconds)))
    monkeypatch.setattr(parts, "tell_desk", lambda what, **more: told.append({"do": what, **more}))
    parts.ask_desk("fence", "fenced", 30.0, margin=95.0)
    parts.ask_desk("serve", "ready", 60.0, exchanges={})
    assert waited == [("hello", 125.0), ("fenced", 125.0), ("hello", 65.0), ("ready", 65.0)]
    assert told == [{"do": "fence", "seconds": 30.0}, {"do": "serve", "seconds": 60.0, "exchanges": {}}]


def test_a_desk_that_dies_at_once_each_time_is_not_started_all_the_while(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a pool is waited for, that may take days."""

    class Dead:
        open = False
        pid = 0
        kill = staticmethod(lambda: None)

        def __init__(self, _: object) -> None:
            started.append(clock[0])

    started: list[float] = []
    clock = [1000.0]
    monkeypatch.setattr(parts_module, "Desk", Dead)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    parts.keep_desk()
    assert started == [], "there was none"
    parts.start_desk()
    for _ in range(12):
        parts.keep_desk()
        clock[0] += 1.0
    assert started == [1000.0, 1005.0, 1010.0]
