"""Who may do what with whose endpoints, functions, tasks and groups."""

from __future__ import annotations

import uuid

import pytest

from tests.support.compute_app import App
from tests.support.sandbox import TRANSFER_SCOPE

NOBODYS = str(uuid.uuid4())


def test_without_a_living_token_for_compute_nothing_is_said(app: App) -> None:
    for token in ("", "no token", app.token_of("client", TRANSFER_SCOPE)):
        found = app.ask("GET", "/v2/endpoints", token=token)
        assert (found.status, found.json["code"]) == (401, "USER_UNAUTHENTICATED")
    app.world.accounts.expire_access_tokens()
    assert app.ask("GET", "/v2/endpoints").status == 401
    assert app.ask("GET", "/v2/version", token="").status == 200


def test_an_endpoint_is_its_owners(app: App) -> None:
    mine, function, other = app.endpoint(), app.function(public=True), app.another()
    asked = [
        app.ask("GET", f"/v2/endpoints/{mine}", token=other),
        app.ask("GET", f"/v2/endpoints/{mine}/status", token=other),
        app.ask("PUT", f"/v3/endpoints/{mine}", {"endpoint_name": "tep"}, token=other),
        app.ask("POST", f"/v3/endpoints/{mine}/lock", token=other),
        app.ask("DELETE", f"/v2/endpoints/{mine}", token=other),
        app.submit(mine, function, "p", token=other),
    ]
    assert {(found.status, found.json["code"]) for found in asked} == {(403, "ENDPOINT_ACCESS_FORBIDDEN")}
    assert asked[0].json["reason"] == f"Unauthorized access to endpoint {mine}"
    assert app.ask("GET", "/v2/endpoints", token=other).json == []
    assert [found["uuid"] for found in app.ask("GET", "/v2/endpoints").json] == [mine]


def test_a_public_endpoint_of_many_users_is_for_everybody_to_use(app: App) -> None:
    shared, function, other = app.endpoint(public=True, multi_user=True), app.function(public=True), app.another()
    assert app.submit(shared, function, "p", token=other).status == 200
    [command] = app.queues.take(".commands")
    assert command.json["globus_effective_identity"] not in ("client", "")
    assert app.ask("DELETE", f"/v2/endpoints/{shared}", token=other).status == 403
    assert [found["uuid"] for found in app.ask("GET", "/v2/endpoints?role=any", token=other).json] == [shared]


def test_two_submitters_have_two_user_endpoints(app: App) -> None:
    shared, function, other = app.endpoint(multi_user=True), app.function(public=True), app.another()
    mine = app.submit(shared, function, "p").json["endpoint_id"]
    assert app.submit(shared, function, "p", token=other).json["endpoint_id"] != mine


def test_a_task_of_another_is_not_yours(app: App) -> None:
    endpoint, function, other = app.endpoint(), app.function(), app.another()
    found = app.submit(endpoint, function, "p").json
    [task], group = found["tasks"][function], found["task_group_id"]
    app.result(task, "secret")
    asked = app.ask("GET", f"/v2/tasks/{task}", token=other)
    assert (asked.status, asked.json["code"]) == (404, "TASK_NOT_FOUND")
    assert "secret" not in str(app.ask("POST", "/v2/batch_status", {"task_ids": [task]}, token=other).json)
    asked = app.ask("GET", f"/v2/taskgroup/{group}", token=other)
    assert (asked.status, asked.json["code"]) == (403, "TASK_GROUP_ACCESS_FORBIDDEN")
    public = app.endpoint(multi_user=True)
    refused = app.submit(public, app.function(public=True), "p", token=other, task_group_id=group)
    assert (refused.status, refused.json["code"]) == (403, "TASK_GROUP_ACCESS_FORBIDDEN")


def test_a_function_is_its_owners_unless_it_is_public(app: App) -> None:
    mine, shared, other = app.function(), app.function(public=True), app.another()
    endpoint = app.endpoint(multi_user=True)
    asked = app.submit(endpoint, mine, "p", token=other)
    assert (asked.status, asked.json["code"]) == (403, "FUNCTION_ACCESS_FORBIDDEN")
    assert app.ask("GET", f"/v2/functions/{shared}", token=other).status == 200
    assert app.ask("DELETE", f"/v2/functions/{shared}", token=other).status == 403
    assert app.ask("DELETE", f"/v2/functions/{shared}").status == 200
    assert app.submit(endpoint, shared, "p").json["code"] == "FUNCTION_NOT_FOUND"


def test_an_endpoint_runs_the_functions_that_it_allows(app: App) -> None:
    allowed, other = app.function(), app.function()
    endpoint = app.endpoint(allowed_functions=[allowed])
    assert app.submit(endpoint, allowed, "p").status == 200
    refused = app.submit(endpoint, other, "p")
    assert (refused.status, refused.json["code"]) == (403, "FUNCTION_NOT_PERMITTED")
    listed = app.ask("GET", f"/v3/endpoints/{endpoint}/allowed_functions").json
    assert (listed["restricted"], listed["functions"]) == (True, [allowed])


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v2/endpoints/{}", "ENDPOINT_NOT_FOUND"),
        ("GET", "/v2/endpoints/{}/status", "ENDPOINT_NOT_FOUND"),
        ("DELETE", "/v2/endpoints/{}", "ENDPOINT_NOT_FOUND"),
        ("POST", "/v3/endpoints/{}/lock", "ENDPOINT_NOT_FOUND"),
        ("GET", "/v2/functions/{}", "FUNCTION_NOT_FOUND"),
        ("DELETE", "/v2/functions/{}", "FUNCTION_NOT_FOUND"),
        ("GET", "/v2/tasks/{}", "TASK_NOT_FOUND"),
        ("GET", "/v2/taskgroup/{}", "TASK_GROUP_NOT_FOUND"),
    ],
)
def test_what_is_not_there_has_a_code_of_its_own(app: App, method: str, path: str, code: str) -> None:
    found = app.ask(method, path.format(NOBODYS))
    assert (found.status, found.json["code"]) == (404, code)
    assert found.json["reason"].endswith(f"{NOBODYS} could not be resolved")
    found = app.ask(method, path.format("no-uuid"))
    assert (found.status, found.json["code"]) == (400, "REQUEST_MALFORMED")
