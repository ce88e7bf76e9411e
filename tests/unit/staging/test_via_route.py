"""Which way a request takes, and when it changes its mind."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodexfer.config import load
from nodexfer.errors import DeadlinePassed, EndpointFailed, PoolExhausted, SourceMissing
from nodexfer.node import endpoint, hold, locks, silence
from nodexfer.staging import client, spool, via, via_route
from nodexfer.staging.client import Client, Route
from nodexfer.staging.request import InItem, Progress, Request, Result
from tests.support.place import SITE, Place
from tests.support.waiting import eventually

BY_VIA = [Result(tasks=("by via",))]


def by_via(why: str) -> list[Result]:
    return [msgspec.structs.replace(BY_VIA[0], warnings=(f"it went via the site's own collection: {why}",))]


@pytest.fixture
def who(place: Place, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Of a configuration that has a collection to go by; what is asked of via is answered."""
    config = place.top / "home/config.toml"
    config.write_text(f'[collections.home]\nid = "{SITE}"\nlocal_path = "{place.top}/home"\n')
    place.config = load({"HOME": str(place.top / "home"), **place.environ})
    monkeypatch.setattr(via, "results", lambda *_: BY_VIA)
    monkeypatch.setattr(hold, "ensure_keeper", lambda *_: False)
    return place.client(seconds=5.0)


def ask(who: Client, route: Route, gathered: tuple[str, ...] = ()) -> list[Result]:
    request = Request(
        id=spool.new_id(),
        job=who.job.key,
        owner=client.owner(),
        direction="in",
        ins=(InItem(0, SITE, "/f", "/"),),
        deadline=who.deadline,
        created=0.0,
    )
    return via_route.results(who._replace(route=route), [request], [], gathered)


def refused(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: object) -> list[Result]:
        raise error

    monkeypatch.setattr(client, "results", refuse)


def test_auto_goes_via_where_no_endpoint_can_be_had(who: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(monkeypatch, PoolExhausted("All are out."))
    said: list[str] = []
    assert ask(who._replace(on_progress=lambda news: said.append(news.state)), "auto") == by_via("All are out")
    assert said == ["going via the site's own collection: All are out."]
    assert spool.directories(who.config.node_paths.spool) == []


def test_direct_and_what_is_no_fault_of_the_endpoint_stay_as_they_are(
    who: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(monkeypatch, PoolExhausted("All are out."))
    with pytest.raises(PoolExhausted):
        ask(who, "direct")
    refused(monkeypatch, SourceMissing("None."))
    with pytest.raises(SourceMissing):
        ask(who, "auto")


def test_what_was_gathered_and_is_gone_can_not_be_sent_again(
    who: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refused(monkeypatch, EndpointFailed("Lost."))
    with pytest.raises(EndpointFailed):
        ask(who, "auto", (str(tmp_path / "gone"),))


def test_without_a_collection_to_go_by_the_first_error_stands(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(monkeypatch, PoolExhausted("All are out."))
    with pytest.raises(PoolExhausted):
        ask(place.client(), "auto")


def test_nobody_waits_for_a_leader_that_can_not_be_ended(who: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "blocked", lambda _: EndpointFailed("Its leader is frozen."))
    assert ask(who, "auto") == by_via("Its leader is frozen")


@pytest.fixture
def exhausted(who: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A leader waits for the pool."""
    who.config.via_after = 0.5
    monkeypatch.setattr(via_route, "_LOOK_SECONDS", 0.05)
    paths = who.config.node_paths
    lock = os.open(paths.node_dir, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    endpoint.Notice(paths, "k", 0.0).say(endpoint.WAITING, waiting=PoolExhausted("No endpoint is free: n1 has it."))
    yield who
    os.close(lock)


def test_who_says_nothing_waits_for_the_time_of_the_configuration_and_then_goes_via(exhausted: Client) -> None:
    said: list[str] = []
    begun = time.monotonic()
    found = ask(exhausted._replace(on_progress=lambda news: said.append(news.state)), "auto")
    assert time.monotonic() - begun >= 0.5
    assert found == by_via("No endpoint is free: n1 has it")
    words = "waiting: No endpoint is free: n1 has it. Else in 0 s it goes via the site's own collection"
    assert {re.sub(r"in [0-9.]+ m?s", "in 0 s", state) for state in said[:-1]} >= {words}
    assert said[-1] == "going via the site's own collection: No endpoint is free: n1 has it."


def test_at_most_half_of_the_time_is_waited(exhausted: Client) -> None:
    exhausted.config.via_after = 3600.0
    begun = time.time()
    who = exhausted._replace(deadline=begun + 2.0)
    assert ask(who, "auto") == by_via("No endpoint is free: n1 has it")


def test_half_of_the_time_is_over_though_another_leader_has_just_begun_to_wait(exhausted: Client) -> None:
    exhausted.config.via_after = 3600.0
    notice = endpoint.Notice(exhausted.config.node_paths, "k", 0.0)
    notice.say(endpoint.STARTING)
    begun = time.time()
    patience = via_route._Patience(exhausted._replace(deadline=begun + 1.0), [])
    patience.tell(Progress(state="waiting"))
    eventually(lambda: time.time() > begun + 0.6)
    notice.say(endpoint.WAITING, waiting=PoolExhausted("No endpoint is free: n1 has it."))
    with pytest.raises(PoolExhausted):
        patience.tell(Progress(state="waiting"))


def test_what_globus_hears_of_meanwhile_is_not_taken_back(exhausted: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_CANCEL_SECONDS", 0.0)

    def begin(news: Progress) -> None:
        if "Else in" in news.state:
            for directory in spool.directories(exhausted.config.node_paths.spool):
                Path(directory, spool.BATCH).write_text("{}")

    with pytest.raises(DeadlinePassed):
        ask(exhausted._replace(deadline=time.time() + 2.0, grace=0.0, on_progress=begin), "auto")


def test_a_leader_that_gets_an_endpoint_meanwhile_is_waited_for(exhausted: Client) -> None:
    def get_one(news: Progress) -> None:
        if "Else in" in news.state:
            endpoint.Notice(exhausted.config.node_paths, "k", 0.0).say(endpoint.STARTING)

    with pytest.raises(DeadlinePassed):
        ask(exhausted._replace(deadline=time.time() + 2.0, grace=0.0, on_progress=get_one), "auto")


@pytest.mark.parametrize("change", ["direct", "patient", "begun", "blocked", "starting", "dead", "closed"])
def test_otherwise_an_endpoint_is_waited_for_to_the_deadline(
    exhausted: Client, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    who = exhausted._replace(deadline=time.time() + 2.0, grace=0.0)
    paths = who.config.node_paths
    if change == "patient":  # then the leader refuses, in its time
        who = who._replace(wait_endpoint=60.0)
    elif change in ("begun", "blocked"):  # nor is what Globus works on, although nobody leads
        blocks = EndpointFailed("Its leader is frozen.") if change == "blocked" else None
        monkeypatch.setattr(silence, "blocked", lambda _: blocks)
        monkeypatch.setattr(client, "_CANCEL_SECONDS", 0.0)
        put = client.ask

        def begin(*arguments: Any) -> str:
            directory = put(*arguments)
            Path(directory, spool.BATCH).write_text("{}")
            return directory

        monkeypatch.setattr(client, "ask", begin)
    elif change == "starting":
        endpoint.Notice(paths, "k", 0.0).say(endpoint.STARTING)
    elif change == "dead":
        monkeypatch.setattr(locks, "taken", lambda _: False)
    elif change == "closed":
        monkeypatch.setattr(via, "is_open", lambda _: False)
    with pytest.raises(DeadlinePassed):
        ask(who, "direct" if change == "direct" else "auto")
