"""Submitting and waiting, and asking without an SDK that would try again."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from globus_sdk import TransferClient, TransferData

from tests.support.sandbox import Box
from tests.support.waiting import eventually


class Tasks:
    """Transfers from ``site`` to ``other`` (or between whatever ids are given)."""

    def __init__(self, box: Box, client: TransferClient) -> None:
        self.box = box
        self.client = client

    def submit(self, *items: tuple[str, str], source: str = "", destination: str = "", **options: Any) -> str:
        """``recursive`` goes to the items, all else to the task."""
        recursive = options.pop("recursive", None)
        further = {name: options.pop(name) for name in ("external_checksum", "checksum_algorithm") if name in options}
        extra = options.pop("additional_fields", None)
        data = TransferData(
            source or self.box.site_id, destination or self.box.other_id, additional_fields=extra, **options
        )
        for one, other in items:
            data.add_item(one, other, **further, **({} if recursive is None else {"recursive": recursive}))
        return str(self.client.submit_transfer(data)["task_id"])

    def get(self, task: str) -> dict[str, Any]:
        return dict(self.client.get_task(task).data)

    def over(self, task: str, status: str = "SUCCEEDED", seconds: float = 30.0) -> dict[str, Any]:
        """Wait for the end, which must be ``status``."""
        document = eventually(lambda: (d := self.get(task))["status"] != "ACTIVE" and d, seconds)
        assert isinstance(document, dict)
        assert document["status"] == status, document
        return document

    def nice(self, task: str, wanted: str) -> dict[str, Any]:
        """Wait until its nice_status is ``wanted``."""
        document = eventually(lambda: (d := self.get(task))["nice_status"] == wanted and d)
        assert isinstance(document, dict)
        return document

    def codes(self, task: str) -> list[str]:
        """Of its events, the oldest first."""
        return [str(event["code"]) for event in self.client.task_event_list(task, limit=1000)][::-1]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    json: Any


def ask(box: Box, path: str, token: str | None = None, body: Any = None) -> Answer:
    """One request, as it is."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{box.sandbox.url.rstrip('/')}{path}", data, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return Answer(answer.status, dict(answer.headers), json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), json.loads(error.read()))


def token_of(client: TransferClient) -> str:
    assert client.authorizer is not None
    header = client.authorizer.get_authorization_header()
    assert header is not None
    return header.partition(" ")[2]
