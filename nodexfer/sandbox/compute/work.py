"""Tasks: submitted, handed to the broker, and what became of them."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from nodexfer.errors import ServiceUnreachable
from nodexfer.sandbox.compute import wire
from nodexfer.sandbox.compute.errors import Refused, forbidden, malformed, not_found
from nodexfer.sandbox.compute.link import RESULTS, Queues
from nodexfer.sandbox.compute.model import FAILED, LIMIT_BYTES, SUCCESS, Endpoint, Function, Group, Task
from nodexfer.sandbox.compute.registry import Registry, command_queue, task_queue
from nodexfer.sandbox.store import Store

#: A core endpoint ignores a command that is older than three minutes: so old ones are not kept for it.
COMMAND_SECONDS = 120
QUEUE_PREFIX = "gcresults_"
#: What a transition of a task is called as its status.
_STATUS = {"execution-start": "running", "execution-end": "running"}


class Service:
    """Globus Compute without its HTTP. Any thread may call."""

    def __init__(self, store: Store, queues: Queues, clock: Callable[[], float] = time.time) -> None:
        """:param clock: seconds since the epoch."""
        self._clock = clock
        self._store = store
        self._queues = queues
        self.lock = threading.RLock()
        self.registry = Registry(store, queues, clock)
        self._tasks = store.load("compute task", Task)
        self._groups = store.load("compute group", Group)

    @property
    def broker_url(self) -> str:
        return self._queues.url

    # submitting -------------------------------------------------------------------------------------------------

    def submit(self, submitter: Mapping[str, Any], endpoint: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Start the user endpoint if it does not run, and queue the tasks for it.

        :param submitter: the identity, as a command to a core endpoint names it.
        :raises Refused: the endpoint, a function or the task group is unknown or not the caller's; a task is too large.
        :raises ServiceUnreachable: the broker is gone; nothing is kept.
        """
        caller = str(submitter["globus_effective_identity"])
        with self.lock:
            found = self.registry.visible(endpoint, caller)
            calls = self._calls(found, caller, fields)
            group = self._group(caller, fields)
            target = self._target(found, submitter, fields)
            tasks = [Task(str(uuid.uuid4()), caller, f.id, target.id, group.id, self._clock()) for f, _ in calls]
            self._keep(tasks, group)
            try:
                self._order(target, fields.get("user_runtime"))
                for task, (function, payload) in zip(tasks, calls, strict=True):
                    self._send(task, function, payload, fields)
            except ServiceUnreachable:
                self._forget(tasks, group)  # whoever submitted is told, and tries again
                raise
        made: dict[str, list[str]] = {}
        for task in tasks:
            made.setdefault(task.function, []).append(task.id)
        return {
            "request_id": str(uuid.uuid4()),
            "task_group_id": group.id,
            "endpoint_id": target.id,
            "tasks": made,
        }

    def _keep(self, tasks: list[Task], group: Group) -> None:
        """Known before the broker has them: a result may come at once."""
        self._tasks.update((task.id, task) for task in tasks)
        group.tasks += [task.id for task in tasks]
        rows: list[tuple[str, str, object]] = [("compute task", task.id, task) for task in tasks]
        self._store.save_all([*rows, ("compute group", group.id, group)])

    def _forget(self, tasks: list[Task], group: Group) -> None:
        del group.tasks[-len(tasks) :]
        self._store.save("compute group", group.id, group)
        for task in tasks:
            del self._tasks[task.id]
            self._store.forget("compute task", task.id)

    def _calls(self, endpoint: Endpoint, caller: str, fields: Mapping[str, Any]) -> list[tuple[Function, str]]:
        wanted = fields.get("tasks")
        if not isinstance(wanted, dict) or not wanted:
            raise malformed("Missing field 'tasks'")
        allowed = endpoint.document.get("allowed_functions")
        calls = []
        for name, payloads in wanted.items():
            function = self.registry.function(name, caller)
            if allowed and name not in allowed:
                reason = f"Function {name} not permitted on endpoint {endpoint.id}"
                raise Refused(403, "FUNCTION_NOT_PERMITTED", reason, name, endpoint.id)
            if not isinstance(payloads, list) or not all(isinstance(payload, str) for payload in payloads):
                raise malformed("The tasks of a function are a list of serialised arguments")
            for payload in payloads:
                size = len(function.code) + len(payload)
                if size > LIMIT_BYTES:
                    reason = f"Task payload of {size}B exceeded current limit of {LIMIT_BYTES}B"
                    raise Refused(413, "TASK_PAYLOAD_TOO_LARGE", reason, name)
                calls.append((function, payload))
        return calls

    def _group(self, caller: str, fields: Mapping[str, Any]) -> Group:
        wanted = str(fields.get("task_group_id") or uuid.uuid4())
        found = self._groups.get(wanted) or Group(wanted, caller, self._clock())
        if found.owner != caller:
            raise forbidden("TASK_GROUP", wanted)
        if fields.get("create_queue") and not found.queue:
            self._queues.declare(f"{QUEUE_PREFIX}{wanted}")
            found.queue = True
        self._groups[wanted] = found
        return found

    def _target(self, found: Endpoint, submitter: Mapping[str, Any], fields: Mapping[str, Any]) -> Endpoint:
        """The user endpoint that the tasks are for; a caller may also name one by its own id."""
        if found.parent is not None:
            return found
        options = fields.get("user_endpoint_config") or {}
        if not isinstance(options, dict):
            raise malformed("user_endpoint_config must be an object")
        return self.registry.child(found, submitter, options)

    def _order(self, target: Endpoint, runtime: object = None) -> None:
        """Tell the core endpoint to start a user endpoint; one that runs already is left alone."""
        assert target.parent is not None
        name = f"uep.{target.parent}.{target.id}"
        keywords = {
            "name": name,
            "user_opts": target.document["user_endpoint_config"],
            "user_runtime": runtime or {},
            "amqp_creds": self.registry.credentials(target),
        }
        command = {"command": "cmd_start_endpoint", "args": [], "kwargs": keywords, **target.submitter}
        properties = {
            "content_type": "application/json",
            "timestamp": int(self._clock()),
            "expiration": str(COMMAND_SECONDS * 1000),
        }
        self._queues.publish(command_queue(target.parent), json.dumps(command).encode(), properties)

    def _send(self, task: Task, function: Function, payload: str, fields: Mapping[str, Any]) -> None:
        headers: dict[str, Any] = {"function_uuid": function.id, "task_uuid": task.id}
        if fields.get("resource_specification"):
            headers["resource_specification"] = json.dumps(fields["resource_specification"])
        if fields.get("result_serializers"):
            headers["result_serializers"] = fields["result_serializers"]
        body = wire.task(task.id, function.code, payload)
        self._queues.publish(task_queue(task.endpoint), body, {"headers": headers})

    # what endpoints say -----------------------------------------------------------------------------------------

    def hear(self, queue: str, body: bytes) -> None:
        """A message of an endpoint. :raises wire.NoMessage: it is none."""
        kind, data = wire.unpack(body)
        with self.lock:
            if queue == RESULTS and kind == "result":
                self._finish(data, body)
            elif kind == "ep_status_report":
                self._report(data)

    def _finish(self, data: Mapping[str, Any], body: bytes) -> None:
        task = self._tasks.get(str(data.get("task_id")))
        if task is None or task.over:
            return
        text = str(data.get("data", ""))
        if len(text) > LIMIT_BYTES + 1024:  # its endpoint has let it pass
            reason = f"Task result of {len(text)}B exceeded current limit of {LIMIT_BYTES}B"
            body = wire.failure(task.id, "RESULT_TOO_LARGE", reason)
            data = wire.unpack(body)[1]
            text = reason
        task.status = FAILED if data.get("error_details") else SUCCESS
        task.completed, task.data = self._clock(), text
        task.details = _details(data)
        self._store.save("compute task", task.id, task)
        group = self._groups.get(task.group)
        if group is not None and group.queue:
            self._queues.publish(f"{QUEUE_PREFIX}{group.id}", body, {"timestamp": int(task.completed), "headers": {}})

    def _report(self, data: Mapping[str, Any]) -> None:
        state = data.get("global_state", data.get("ep_status_report"))
        endpoint, back = self.registry.hear(str(data.get("endpoint_id")), state if isinstance(state, dict) else {})
        for name, transitions in (data.get("task_statuses") or {}).items():
            task = self._tasks.get(name)
            if task is not None and not task.over and transitions:
                last = str(transitions[-1].get("state"))
                task.status = _STATUS.get(last, last)
        if endpoint is None:
            return
        error = endpoint.state.get("error")
        if error:  # it could not be started: nobody else would tell those who wait for it
            for task in self._waiting(endpoint.id):
                body = wire.failure(task.id, "ENDPOINT_START_FAILED", str(error))
                self._finish(wire.unpack(body)[1], body)
        if back:  # commands that it was sent meanwhile are too old for it
            for child in self.registry.children(endpoint.id):
                if self._waiting(child.id):
                    self._order(child)

    def _waiting(self, endpoint: str) -> list[Task]:
        return [task for task in self._tasks.values() if task.endpoint == endpoint and not task.over]

    # asking -----------------------------------------------------------------------------------------------------

    def task(self, id: str, caller: str) -> Task:
        """:raises Refused: there is none that is the caller's."""
        found = self._tasks.get(id)
        if found is None or found.owner != caller:
            raise not_found("TASK", id)
        return found

    def group(self, id: str, caller: str) -> tuple[Group, list[Task]]:
        """:raises Refused: there is none, or it is another's."""
        found = self._groups.get(id)
        if found is None:
            raise not_found("TASK_GROUP", id)
        if found.owner != caller:
            raise forbidden("TASK_GROUP", id)
        return found, [self._tasks[task] for task in found.tasks]

    def counts(self) -> dict[str, int]:
        with self.lock:
            tasks = list(self._tasks.values())
        done, failed = (sum(task.status == state for task in tasks) for state in (SUCCESS, FAILED))
        return {"waiting": len(tasks) - done - failed, SUCCESS: done, FAILED: failed}

    def clear(self) -> None:
        """Forget everything. Endpoints that run are cut off."""
        with self.lock:
            self.registry.clear()
            for group in self._groups.values():
                if group.queue:
                    self._queues.delete(f"{QUEUE_PREFIX}{group.id}")
            self._tasks.clear()
            self._groups.clear()
            self._store.clear()


def _details(data: Mapping[str, Any]) -> dict[str, Any]:
    transitions = {
        str(row["state"]): row["timestamp"]
        for row in data.get("task_statuses") or []
        if isinstance(row, dict) and "state" in row and "timestamp" in row
    }
    details = data.get("details")
    return {**(details if isinstance(details, dict) else {}), "task_transitions": transitions}
