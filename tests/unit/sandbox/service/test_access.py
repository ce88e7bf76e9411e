"""Who may do what: every request needs a token, and other users of the machine can reach the port as well."""

from __future__ import annotations

import os
import urllib.request
import uuid
from pathlib import Path

import pytest
from globus_sdk import AuthAPIError, ConfidentialAppAuthClient, NativeAppAuthClient, TransferAPIError

from tests.support.sandbox import TRANSFER_SCOPE, Box, transfer_client
from tests.unit.sandbox.service.support import Tasks, ask, token_of


@pytest.fixture
def at_the_sandbox(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in box.sandbox.environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "path",
    ["/v0.10/task_list", "/v0.10/submission_id", "/v0.10/endpoint_search?filter_fulltext=x", "/v0.10/no/such/route"],
)
def test_transfer_needs_a_token(box: Box, path: str) -> None:
    for token in (None, "made up"):
        answer = ask(box, path, token)
        assert (answer.status, answer.json["code"]) == (401, "ClientError.AuthenticationFailed")


def test_a_token_for_another_service_is_no_token(box: Box, at_the_sandbox: None) -> None:
    environment = box.sandbox.environment
    client = ConfidentialAppAuthClient(environment["NODEXFER_CLIENT_ID"], environment["NODEXFER_CLIENT_SECRET"])
    tokens = client.oauth2_client_credentials_tokens(requested_scopes=f"openid {TRANSFER_SCOPE}").by_resource_server
    assert ask(box, "/v0.10/task_list", tokens["auth.globus.org"]["access_token"]).status == 401
    assert ask(box, "/v2/oauth2/userinfo", tokens["transfer.api.globus.org"]["access_token"]).status == 401
    assert ask(box, "/v0.10/task_list", tokens["transfer.api.globus.org"]["access_token"]).status == 200


def test_a_refresh_token_is_no_access_token(box: Box, at_the_sandbox: None) -> None:
    """It lasts much longer, and is for Globus Auth alone."""
    client = NativeAppAuthClient(str(uuid.uuid4()))
    client.oauth2_start_flow(requested_scopes=[TRANSFER_SCOPE], refresh_tokens=True)
    headers = {"Authorization": f"Bearer {box.sandbox._admin_token}"}
    with urllib.request.urlopen(urllib.request.Request(client.oauth2_get_authorize_url(), headers=headers)) as page:
        code = page.read().decode()
    row = client.oauth2_exchange_code_for_tokens(code).by_resource_server["transfer.api.globus.org"]
    assert ask(box, "/v0.10/task_list", row["access_token"]).status == 200
    assert ask(box, "/v0.10/task_list", row["refresh_token"]).status == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [("status", None), ("fault", None), ("fault", {"kind": "wedge"}), ("reset", {}), ("stop", {}), ("site", {})],
)
def test_the_sandboxes_own_routes_need_its_key(tasks: Tasks, path: str, body: object) -> None:
    for token in (None, "made up", token_of(tasks.client)):
        assert ask(tasks.box, f"/sandbox/{path}", token, body).status == 401
    assert tasks.box.sandbox.status()["faults"] == []


def test_a_wrong_secret_gets_nothing(box: Box, at_the_sandbox: None) -> None:
    with pytest.raises(AuthAPIError) as refused:
        ConfidentialAppAuthClient(box.sandbox.environment["NODEXFER_CLIENT_ID"], "no").oauth2_client_credentials_tokens(
            requested_scopes=TRANSFER_SCOPE
        )
    assert refused.value.http_status == 401


def test_a_client_that_anybody_can_make_is_nobody(box: Box, at_the_sandbox: None) -> None:
    """``globus login`` makes one without any proof: it must not reach a site's files by itself."""
    made = NativeAppAuthClient(str(uuid.uuid4())).post("/v2/api/clients", data={"client": {"name": "stranger"}})
    credential = made["included"]["client_credential"]
    stranger = ConfidentialAppAuthClient(credential["client"], credential["secret"])
    with pytest.raises(AuthAPIError) as refused:
        stranger.oauth2_client_credentials_tokens(requested_scopes=TRANSFER_SCOPE)
    assert refused.value.http_status == 401


def test_a_gcp_is_its_owners_alone(tasks: Tasks) -> None:
    made = tasks.client.post("/v0.10/endpoint", data={"is_globus_connect": True, "display_name": "mine"})
    other = transfer_client(tasks.box, tasks.box.sandbox.add_client())
    for call in (
        lambda: other.operation_ls(made["id"], path="/"),
        lambda: other.update_endpoint(made["id"], {"display_name": "yours"}),
        lambda: other.delete_endpoint(made["id"]),
        lambda: Tasks(tasks.box, other).submit(("/f", "/f"), destination=made["id"]),
    ):
        with pytest.raises(TransferAPIError) as refused:
            call()
        assert (refused.value.http_status, refused.value.code) == (403, "PermissionDenied")
    assert other.get_endpoint(made["id"])["globus_connect_setup_key"] is None


def test_a_private_endpoint_is_seen_by_its_owner_alone(tasks: Tasks) -> None:
    fields = {"is_globus_connect": True, "display_name": "hidden one", "public": False}
    made = tasks.client.post("/v0.10/endpoint", data=fields)
    other = transfer_client(tasks.box, tasks.box.sandbox.add_client())
    assert [row["id"] for row in tasks.client.endpoint_search("hidden one")] == [made["id"]]
    assert list(other.endpoint_search("hidden one")) == []
    with pytest.raises(TransferAPIError, match="permission"):
        other.get_endpoint(made["id"])


def test_a_task_is_its_owners_alone(tasks: Tasks) -> None:
    task = tasks.submit(("/missing", "/x"))
    other = transfer_client(tasks.box, tasks.box.sandbox.add_client())
    for call in (other.get_task, other.cancel_task, other.task_event_list):
        with pytest.raises(TransferAPIError) as refused:
            call(task)
        assert refused.value.http_status == 404
    assert list(other.task_list()) == []


def test_a_setup_key_is_used_once(tasks: Tasks) -> None:
    made = tasks.client.post("/v0.10/endpoint", data={"is_globus_connect": True, "display_name": "once"})
    key = made["globus_connect_setup_key"]
    first = ask(tasks.box, "/sandbox/register", body={"setup_key": key})
    assert first.json["endpoint_id"] == made["id"]
    assert first.json["owner"] == tasks.box.sandbox.environment["NODEXFER_CLIENT_ID"]
    again = ask(tasks.box, "/sandbox/register", body={"setup_key": key})
    assert (again.status, again.json["message"]) == (404, f"Setup Code {key} not found")
    assert tasks.client.get_endpoint(made["id"])["globus_connect_setup_key"] is None


def test_it_listens_on_loopback_only(box: Box) -> None:
    """The service, and the relay that the stand-ins connect to: all that the server's process listens on (proc(5))."""
    pid = box.sandbox._pid
    sockets = {_link(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    tables = [path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()]
    rows = [line.split() for path in tables for line in path.read_text().splitlines()[1:]]
    listening = {row[9]: row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}
    assert [address.partition(":")[0] for address in listening.values()] == ["0100007F", "0100007F"]


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # a connection that has been closed meanwhile
        return ""


def test_requests_are_counted_and_the_sandboxes_own_are_not(tasks: Tasks) -> None:
    tasks.client.task_list()
    before = tasks.box.sandbox.requests()
    tasks.client.task_list()
    assert tasks.box.sandbox.requests() == before + 1


def test_bad_requests_are_answered_in_words(tasks: Tasks, at_the_sandbox: None) -> None:
    token = token_of(tasks.client)
    for path, body in (
        ("/v0.10/endpoint", {"is_globus_connect": True}),
        ("/v0.10/transfer", {"DATA_TYPE": "delete"}),
        ("/v0.10/transfer", {"submission_id": "no uuid", "DATA": []}),
        ("/v0.10/transfer", ["a list"]),
        (f"/v0.10/operation/endpoint/{tasks.box.site_id}/mkdir", {}),
    ):
        answer = ask(tasks.box, path, token, body)
        assert answer.status == 400, answer
        assert answer.json["code"]
        assert answer.json["message"]
    with pytest.raises(AuthAPIError):
        ConfidentialAppAuthClient(*_client(tasks.box)).oauth2_client_credentials_tokens(requested_scopes="nonsense")


def _client(box: Box) -> tuple[str, str]:
    environment = box.sandbox.environment
    return environment["NODEXFER_CLIENT_ID"], environment["NODEXFER_CLIENT_SECRET"]
