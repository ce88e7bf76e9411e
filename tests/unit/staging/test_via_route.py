"""Which way a request takes, and when it changes its mind."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodexfer.config import load
from nodexfer.errors import EndpointFailed, PoolExhausted, SourceMissing
from nodexfer.node import hold, silence
from nodexfer.staging import client, spool, via, via_route
from nodexfer.staging.client import Client, Route
from nodexfer.staging.request import InItem, Request, Result
from tests.support.place import SITE, Place

BY_VIA = [Result(tasks=("by via",))]


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
    assert ask(who._replace(on_progress=lambda news: said.append(news.state)), "auto") == BY_VIA
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
    assert ask(who, "auto") == BY_VIA
