"""A request that is not as documented is a 4xx in words, never a bug, and never something that can not be kept."""

from __future__ import annotations

import base64
import http.client
import json
import uuid
from typing import Any

import pytest

from tests.support.sandbox import Box
from tests.unit.sandbox.service.support import Tasks, ask, token_of

ITEM = {"DATA_TYPE": "transfer_item", "source_path": "/f", "destination_path": "/g"}


def send(box: Box, path: str, token: str, body: bytes, method: str = "POST") -> tuple[int, Any]:
    """What no client library would send."""
    connection = http.client.HTTPConnection(box.sandbox.url.split("/")[2], timeout=10)
    connection.request(method, path, body, {"Authorization": f"Bearer {token}".encode("latin-1")})
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found


def submission(tasks: Tasks, **fields: Any) -> dict[str, Any]:
    ends = {"source_endpoint": tasks.box.site_id, "destination_endpoint": tasks.box.other_id}
    return {"DATA_TYPE": "transfer", "submission_id": str(uuid.uuid4()), "DATA": [ITEM], **ends, **fields}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"5", b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("path", ["/v0.10/transfer", "/v0.10/delete", "/v0.10/endpoint", "/v2/api/clients"])
def test_a_body_that_is_no_json_object(tasks: Tasks, path: str, body: bytes) -> None:
    status, found = send(tasks.box, path, token_of(tasks.client), body)
    assert (status, found["code"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    "fields",
    [
        {"DATA": "items"},
        {"DATA": ["item"]},
        {"DATA": [{**ITEM, "source_path": None}]},
        {"DATA": [{**ITEM, "recursive": "false"}]},
        {"DATA": [{**ITEM, "external_checksum": 5}]},
        {"DATA": [{**ITEM, "checksum_algorithm": ["MD5"]}]},
        {"DATA": [{**ITEM, "checksum_algorithm": "CRC"}]},
        {"source_endpoint": {}},
        {"verify_checksum": "no"},
        {"skip_source_errors": 1},
        {"delete_destination_extra": "yes"},
        {"sync_level": True},
        {"sync_level": "size"},
        {"sync_level": 4},
        {"filter_rules": "*.txt"},
        {"filter_rules": ["*.txt"]},
        {"filter_rules": [{"method": "perhaps", "name": "*"}]},
        {"filter_rules": [{"method": "exclude", "name": 5}]},
        {"filter_rules": [{"method": "exclude", "name": "*", "type": "link"}]},
        {"recursive_symlinks": ["copy"]},
        {"deadline": "tomorrow"},
        {"deadline": [1]},
        {"deadline": "0001-01-01T00:00:00+23:00"},
        {"deadline": "9999-12-31T23:59:59-23:00"},
        {"label": 5},
        {"submission_id": 5},
    ],
)
def test_a_transfer_that_is_not_as_documented(tasks: Tasks, fields: dict[str, Any]) -> None:
    answer = ask(tasks.box, "/v0.10/transfer", token_of(tasks.client), submission(tasks, **fields))
    assert answer.status == 400, answer
    assert answer.json["message"]
    assert list(tasks.client.task_list()) == []


def test_null_is_as_good_as_nothing(tasks: Tasks) -> None:
    (tasks.box.site / "f").touch()
    nothing = dict.fromkeys(["verify_checksum", "sync_level", "filter_rules", "label", "deadline"])
    item = {**ITEM, "recursive": None, "external_checksum": None, "checksum_algorithm": None}
    fields = submission(tasks, **nothing, DATA=[item])
    tasks.over(ask(tasks.box, "/v0.10/transfer", token_of(tasks.client), fields).json["task_id"])


@pytest.mark.parametrize("other", ["/f", "//f", "/./f", "/x/../f", "f"])
def test_a_file_is_not_copied_onto_itself(tasks: Tasks, other: str) -> None:
    """Writing begins with an empty file: it would be lost."""
    (tasks.box.site / "f").write_text("precious")
    items = [{**ITEM, "destination_path": other}]
    fields = submission(tasks, DATA=items, destination_endpoint=tasks.box.site_id)
    assert ask(tasks.box, "/v0.10/transfer", token_of(tasks.client), fields).status == 400
    assert (tasks.box.site / "f").read_text() == "precious"


@pytest.mark.parametrize(
    "fields",
    [
        {"display_name": 5},
        {"display_name": None},
        {"display_name": "  "},
        {"public": "no"},
        {"default_directory": 5},
        {"description": {"a": 1}},
        {"keywords": 5},
        {"force_encryption": "yes"},
    ],
)
def test_an_endpoint_that_is_not_as_documented(tasks: Tasks, fields: dict[str, Any]) -> None:
    token = token_of(tasks.client)
    whole = {"is_globus_connect": True, "display_name": "some name", **fields}
    assert ask(tasks.box, "/v0.10/endpoint", token, whole).status == 400
    made = tasks.client.post("/v0.10/endpoint", data={"is_globus_connect": True, "display_name": "good"})
    body = json.dumps(fields).encode()
    assert send(tasks.box, f"/v0.10/endpoint/{made['id']}", token, body, "PUT")[0] == 400
    [found] = tasks.client.endpoint_search(filter_scope="my-endpoints")
    assert found["display_name"] == "good"


def test_secrets_need_not_be_ascii(box: Box) -> None:
    assert send(box, "/sandbox/status", "\xe9", b"", "GET")[0] == 401
    assert send(box, "/v0.10/task_list", "\xe9", b"", "GET")[0] == 401
    pair = f"{box.sandbox.environment['NODEXFER_CLIENT_ID']}:pässword".encode()
    connection = http.client.HTTPConnection(box.sandbox.url.split("/")[2], timeout=10)
    headers = {
        "Authorization": "Basic " + base64.b64encode(pair).decode(),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    connection.request("POST", "/v2/oauth2/token", b"grant_type=client_credentials&scope=openid", headers)
    assert connection.getresponse().status == 401
    connection.close()


def test_names_that_are_not_utf_8_are_moved_and_kept(tasks: Tasks) -> None:
    (tasks.box.site / "t").mkdir()
    name = "not \udcff utf-8"
    (tasks.box.site / "t" / name).write_text("text")
    task = tasks.submit(("/t", "/t"), recursive=True, verify_checksum=True)
    tasks.over(task)
    assert (tasks.box.other / "t" / name).read_text() == "text"
    [moved] = tasks.client.task_successful_transfers(task)
    assert moved["source_path"] == f"/t/{name}"
