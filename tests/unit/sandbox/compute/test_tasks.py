"""Submissions, what endpoints say of them, and what their owner is told."""

from __future__ import annotations

import json

import pytest

from nodexfer.sandbox.compute import wire
from nodexfer.sandbox.compute.link import RESULTS
from nodexfer.sandbox.compute.model import LIMIT_BYTES
from tests.support.compute_app import ENDPOINT, App


def submitted(app: App, *payloads: str) -> tuple[str, str, list[str]]:
    """Core endpoint, user endpoint, tasks."""
    endpoint, function = app.endpoint(), app.function()
    found = app.submit(endpoint, function, *payloads).json
    return endpoint, found["endpoint_id"], found["tasks"][function]


def test_a_submission_orders_the_user_endpoint_and_queues_the_tasks(app: App) -> None:
    endpoint, function = app.endpoint(), app.function()
    found = app.submit(
        endpoint,
        function,
        *("one", "two"),
        user_endpoint_config={"workers": 3},
        user_runtime={"python": "3"},
        resource_specification={"nodes": 1},
    ).json
    [command] = app.queues.take(".commands")
    order = command.json
    assert command.queue == f"{endpoint}.commands"
    assert command.properties["content_type"] == "application/json"
    assert command.properties["expiration"] == "120000"  # an endpoint does not heed what is older than 180 s
    assert order["command"] == "cmd_start_endpoint"
    assert order["globus_identity_set"][0]["sub"] == order["globus_effective_identity"] == "client"
    assert order["kwargs"]["name"] == f"uep.{endpoint}.{found['endpoint_id']}"
    assert order["kwargs"]["user_opts"] == {"workers": 3}
    assert order["kwargs"]["user_runtime"] == {"python": "3"}
    tasks = app.queues.take(".tasks")
    assert {task.queue for task in tasks} == {order["kwargs"]["amqp_creds"]["task_queue_info"]["queue"]}
    assert [task.json["data"]["task_buffer"] for task in tasks] == ["410\n10\n04\n:codeone", "410\n10\n04\n:codetwo"]
    assert [task.properties["headers"]["task_uuid"] for task in tasks] == found["tasks"][function]
    assert json.loads(tasks[0].properties["headers"]["resource_specification"]) == {"nodes": 1}
    assert {task.queue for task in tasks} | {f"gcresults_{found['task_group_id']}"} <= app.queues.queues


def test_the_same_configuration_is_the_same_user_endpoint(app: App) -> None:
    endpoint, function = app.endpoint(), app.function()
    made = [
        app.submit(endpoint, function, "p", user_endpoint_config=options).json["endpoint_id"]
        for options in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2})
    ]
    assert made[0] == made[1] != made[2]


def test_a_result_reaches_the_group_and_whoever_asks(app: App) -> None:
    _, _, [task] = submitted(app, "p")
    assert app.ask("GET", f"/v2/tasks/{task}").json == {"task_id": task, "status": "waiting-for-ep"}
    transitions = [{"state": "execution-start", "timestamp": 7, "actor": "worker"}]
    body = app.result(task, "data", task_statuses=transitions)
    [sent] = [message for message in app.queues.messages if message.queue.startswith("gcresults_")]
    assert sent.body == body
    assert isinstance(sent.properties["timestamp"], int)
    found = app.ask("GET", f"/v2/tasks/{task}").json
    assert (found["status"], found["result"]) == ("success", "data")
    assert found["details"] == {"os": "Linux", "task_transitions": {"execution-start": 7}}
    app.result(task, "later")  # a message of a broker may come twice
    assert app.ask("GET", f"/v2/tasks/{task}").json["result"] == "data"


def test_without_a_queue_nothing_is_sent_to_the_group(app: App) -> None:
    endpoint, function = app.endpoint(), app.function()
    [task] = app.submit(endpoint, function, "p", create_queue=False).json["tasks"][function]
    app.result(task, "data")
    assert not [message for message in app.queues.messages if message.queue.startswith("gcresults_")]


def test_an_error_is_told_as_an_exception(app: App) -> None:
    _, _, [task] = submitted(app, "p")
    app.result(task, "Traceback", error_details={"code": "RemoteExecutionError", "user_message": "it failed"})
    found = app.ask("GET", f"/v2/tasks/{task}").json
    assert (found["status"], found["exception"]) == ("failed", "Traceback")
    assert "result" not in found


def test_what_an_endpoint_can_not_start_fails_all_that_wait_for_it(app: App) -> None:
    _, child, tasks = submitted(app, "one", "two")
    app.result(tasks[0], "done")
    app.report(child, error="there is no such engine")
    statuses = [app.ask("GET", f"/v2/tasks/{task}").json["status"] for task in tasks]
    assert statuses == ["success", "failed"]
    [_, told] = [message for message in app.queues.messages if message.queue.startswith("gcresults_")]
    assert told.json["data"]["data"] == "there is no such engine"
    assert told.json["data"]["error_details"]["user_message"] == "there is no such engine"


def test_an_endpoint_that_comes_back_is_told_again_what_waits_for_it(app: App) -> None:
    endpoint, child, [task] = submitted(app, "p")
    app.queues.take(".commands")
    app.report(endpoint)
    [again] = app.queues.take(".commands")
    assert again.json["kwargs"]["name"] == f"uep.{endpoint}.{child}"
    app.report(endpoint)
    assert not app.queues.take(".commands")  # it has not been away
    app.result(task, "done")
    app.report(endpoint, heartbeat_period=0)
    app.report(endpoint)
    assert not app.queues.take(".commands")  # nothing waits


def test_what_runs_is_said_to_run(app: App) -> None:
    _, child, [task] = submitted(app, "p")
    row = {"state": "execution-start", "timestamp": 7, "actor": "worker"}
    data = {"endpoint_id": child, "global_state": {}, "task_statuses": {task: [row]}}
    app.service.hear("heartbeats", wire.pack("ep_status_report", data))
    assert app.ask("GET", f"/v2/tasks/{task}").json["status"] == "running"


def test_ten_mebibytes_are_the_limit_of_what_goes_in(app: App) -> None:
    endpoint, function = app.endpoint(), app.function()
    room = LIMIT_BYTES - len("410\n10\n04\n:code")
    assert app.submit(endpoint, function, "x" * room).status == 200
    found = app.submit(endpoint, function, "x" * (room + 1))
    assert (found.status, found.json["code"]) == (413, "TASK_PAYLOAD_TOO_LARGE")


def test_ten_mebibytes_are_the_limit_of_what_comes_out(app: App) -> None:
    """Whatever its endpoint has let pass."""
    _, _, [task] = submitted(app, "p")
    app.result(task, "x" * (LIMIT_BYTES + 1025))
    found = app.ask("GET", f"/v2/tasks/{task}").json
    assert found["status"] == "failed"
    assert "exceeded current limit of 10485760B" in found["exception"]


def test_tasks_and_results_survive_a_restart(app: App) -> None:
    endpoint, _, tasks = submitted(app, "one", "two")
    app.result(tasks[0], "done")
    app.report(endpoint)
    app.ask("PUT", f"/v3/endpoints/{endpoint}", ENDPOINT)
    app.again()
    assert app.ask("GET", f"/v2/tasks/{tasks[0]}").json["result"] == "done"
    assert app.ask("GET", f"/v2/tasks/{tasks[1]}").json["status"] == "waiting-for-ep"
    assert app.ask("GET", f"/v2/endpoints/{endpoint}/status").json["status"] == "offline"
    app.result(tasks[1], "as well")
    assert app.ask("GET", f"/v2/tasks/{tasks[1]}").json["status"] == "success"


def test_what_the_broker_does_not_take_is_refused_and_not_kept(app: App) -> None:
    """The SDK tries a 503 again by itself: each try would leave a task that nobody ever runs."""
    endpoint, function = app.endpoint(), app.function()
    group = app.submit(endpoint, function, "one").json["task_group_id"]
    app.queues.gone = True
    found = app.submit(endpoint, function, "two", "three", task_group_id=group)
    assert (found.status, found.json["code"]) == (503, "INTERNAL_ERROR")
    app.again()
    assert app.service.counts()["waiting"] == 1
    assert len(app.ask("GET", f"/v2/taskgroup/{group}").json["tasks"]) == 1


def test_many_are_asked_for_at_once(app: App) -> None:
    _, _, tasks = submitted(app, "one", "two")
    app.result(tasks[0], "done")
    found = app.ask("POST", "/v2/batch_status", {"task_ids": [*tasks, "nobody's"]}).json["results"]
    assert [found[task]["status"] for task in tasks] == ["success", "waiting-for-ep"]
    assert found["nobody's"] == {"task_id": "nobody's", "status": "failed", "reason": "unknown task id"}


@pytest.mark.parametrize(
    "tasks", [None, {}, [], {"function": "payload"}, {"function": [1]}, {"function": [None]}], ids=str
)
def test_a_malformed_submission_is_refused(app: App, tasks: object) -> None:
    endpoint, function = app.endpoint(), app.function()
    wanted = {function: next(iter(tasks.values()))} if isinstance(tasks, dict) and tasks else tasks
    found = app.ask("POST", f"/v3/endpoints/{endpoint}/submit", {"tasks": wanted})
    assert (found.status, found.json["code"]) == (400, "REQUEST_MALFORMED")


@pytest.mark.parametrize("body", [b"", b"\x02{}", b"\x01no json", b"\x01[]", b'\x01{"message_type": 1, "data": {}}'])
def test_what_is_no_message_is_told_so(app: App, body: bytes) -> None:
    with pytest.raises(wire.NoMessage):
        app.service.hear(RESULTS, body)
