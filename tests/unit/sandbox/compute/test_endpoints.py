"""Registered, heard, locked, deleted."""

from __future__ import annotations

import pytest

from nodexfer.sandbox.compute.registry import LOCK_SECONDS
from tests.support.compute_app import ENDPOINT, App


def status(app: App, endpoint: str) -> str:
    return str(app.ask("GET", f"/v2/endpoints/{endpoint}/status").json["status"])


def test_an_endpoint_is_online_while_it_is_heard(app: App) -> None:
    endpoint = app.endpoint()
    assert status(app, endpoint) == "offline"
    app.report(endpoint)
    assert status(app, endpoint) == "online"
    app.now += 89.0
    assert status(app, endpoint) == "online"
    app.now += 2.0
    assert status(app, endpoint) == "offline"


def test_an_endpoint_that_says_that_it_ends_is_offline_at_once(app: App) -> None:
    endpoint = app.endpoint()
    for last in ({"heartbeat_period": 0}, {"active": False}):
        app.report(endpoint)
        assert status(app, endpoint) == "online"
        app.report(endpoint, **last)
        assert status(app, endpoint) == "offline"


def test_one_that_starts_again_keeps_its_id_and_its_queue(app: App) -> None:
    first = app.ask("POST", "/v3/endpoints", ENDPOINT).json
    again = app.ask("PUT", f"/v3/endpoints/{first['endpoint_id']}", {**ENDPOINT, "display_name": "other"}).json
    assert again == first
    assert app.ask("GET", f"/v2/endpoints/{first['endpoint_id']}").json["display_name"] == "other"


def test_what_was_stopped_from_afar_can_not_come_back_at_once(app: App) -> None:
    endpoint = app.endpoint()
    app.report(endpoint)
    assert app.ask("POST", f"/v3/endpoints/{endpoint}/lock").json["endpoint_id"] == endpoint
    assert f"{endpoint}.commands" not in app.queues.queues
    refused = app.ask("PUT", f"/v3/endpoints/{endpoint}", ENDPOINT)
    assert (refused.status, refused.json["code"]) == (423, "ENDPOINT_LOCKED")
    app.now += LOCK_SECONDS + 1
    assert app.ask("PUT", f"/v3/endpoints/{endpoint}", ENDPOINT).status == 200
    assert f"{endpoint}.commands" in app.queues.queues


def test_one_that_is_deleted_is_gone_with_its_queues(app: App) -> None:
    endpoint, function = app.endpoint(), app.function()
    child = app.submit(endpoint, function, "p", create_queue=False).json["endpoint_id"]
    assert app.queues.queues == {f"{endpoint}.commands", f"{child}.tasks"}
    assert app.ask("DELETE", f"/v2/endpoints/{endpoint}").json == {"result": 302}
    assert app.queues.queues == set()
    app.again()
    for gone in (endpoint, child):
        assert app.ask("GET", f"/v2/endpoints/{gone}").status == 404


@pytest.mark.parametrize("body", [{}, {"endpoint_name": ""}, {"endpoint_name": 3}])
def test_an_endpoint_has_a_name(app: App, body: object) -> None:
    found = app.ask("POST", "/v3/endpoints", body)
    assert (found.status, found.json["code"]) == (400, "REQUEST_MALFORMED")


@pytest.mark.parametrize("body", [{"function_name": "f"}, {"function_code": "x"}, []])
def test_a_function_has_a_name_and_code(app: App, body: object) -> None:
    assert app.ask("POST", "/v3/functions", body).status == 400


def test_a_fault_answers_in_this_services_words(app: App) -> None:
    app.world.faults.set("http", {"status": 503, "count": 1, "prefix": "/v2/endpoints"})
    found = app.ask("GET", "/v2/endpoints")
    assert (found.status, found.json["code"], found.json["http_status_code"]) == (503, "ServiceUnavailable", 503)
    assert app.ask("GET", "/v2/endpoints").status == 200


def test_after_a_reset_nothing_is_known(app: App) -> None:
    endpoint, function = app.endpoint(), app.function()
    app.submit(endpoint, function, "p")
    app.service.clear()
    assert app.queues.queues == set()
    app.again()
    assert app.ask("GET", "/v2/endpoints").json == []
    assert app.ask("GET", f"/v2/functions/{function}").status == 404
