"""A program for either line of globus-sdk: uses the sandbox as a script would use Globus. Prints one JSON line a step.

Every function named ``step_*`` is a step of its own. What it asserts holds for the real service, as far as is known.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import globus_sdk
from globus_sdk import (
    AccessTokenAuthorizer,
    AuthClient,
    ClientCredentialsAuthorizer,
    ConfidentialAppAuthClient,
    DeleteData,
    NativeAppAuthClient,
    RefreshTokenAuthorizer,
    TransferAPIError,
    TransferClient,
    TransferData,
)

OLD = globus_sdk.__version__.startswith("3.")
SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"
CLIENT, SECRET = os.environ["NODEXFER_CLIENT_ID"], os.environ["NODEXFER_CLIENT_SECRET"]

SITE, OTHER, SITE_ROOT, OTHER_ROOT, ADMIN_TOKEN = sys.argv[1:6]


def app() -> ConfidentialAppAuthClient:
    return ConfidentialAppAuthClient(CLIENT, SECRET)


def client() -> TransferClient:
    return TransferClient(authorizer=ClientCredentialsAuthorizer(app(), SCOPE))


def transfer_data(tc: TransferClient, source: str, destination: str, **options: Any) -> TransferData:
    """The constructor took the client first in 3.x, and takes it no more."""
    make: Any = TransferData
    if OLD:
        return make(source_endpoint=source, destination_endpoint=destination, **options)  # type: ignore[no-any-return]
    return make(source, destination, **options)  # type: ignore[no-any-return]


def create(tc: TransferClient, name: str) -> dict[str, Any]:
    document = {"DATA_TYPE": "endpoint", "is_globus_connect": True, "display_name": name}
    # 3.x puts the version before every path
    return dict(tc.post("/endpoint" if OLD else "/v0.10/endpoint", data=document).data)


def refused(status: int, code: str, call: Any, *arguments: Any, **keywords: Any) -> TransferAPIError:
    try:
        call(*arguments, **keywords)
    except TransferAPIError as caught:
        error = caught
    else:
        raise AssertionError(f"{code} was expected")
    assert (error.http_status, error.code) == (status, code), (error.http_status, error.code, error.message)
    return error


def wait(tc: TransferClient, task: str) -> dict[str, Any]:
    end = time.monotonic() + 30
    while (document := tc.get_task(task))["status"] == "ACTIVE":
        assert time.monotonic() < end, document
        time.sleep(0.02)
    return dict(document.data)


def write(root: str, name: str, data: bytes) -> None:
    path = Path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def step_endpoint_life() -> None:
    tc = client()
    name = f"flow {uuid.uuid4()}"
    made = create(tc, name)
    assert made["code"] == "Created"
    assert uuid.UUID(made["globus_connect_setup_key"])
    found = tc.get_endpoint(made["id"])
    assert found["gcp_connected"] is False
    assert found["gcp_paused"] is False
    assert found["entity_type"] == "GCP_mapped_collection"
    assert found["owner_id"] == CLIENT
    assert found["globus_connect_setup_key"] == made["globus_connect_setup_key"]
    assert refused(409, "ClientError.Conflict", create, tc, name).message
    assert tc.update_endpoint(made["id"], {"display_name": name + "!", "description": "d"})["code"] == "Updated"
    assert tc.get_endpoint(made["id"])["description"] == "d"
    error = refused(502, "ExternalError.DirListingFailed.GCDisconnected", tc.operation_ls, made["id"], path="/tmp/")
    assert "not currently connected" in str(error.message)
    assert tc.delete_endpoint(made["id"])["code"] == "Deleted"
    refused(404, "EndpointNotFound", tc.get_endpoint, made["id"])


def step_search_in_pages() -> None:
    tc = client()
    tag = uuid.uuid4().hex
    ids = {create(tc, f"search {tag} {number}")["id"] for number in range(5)}
    assert {row["id"] for row in tc.endpoint_search(tag)} == ids
    pages = list(tc.paginated.endpoint_search(tag, query_params={"limit": 2}))
    assert sum(len(page["DATA"]) for page in pages) == 5
    assert {row["id"] for row in tc.endpoint_search(filter_scope="my-gcp-endpoints", limit=100)} >= ids
    assert SITE in {row["id"] for row in tc.endpoint_search("site")}
    assert not list(tc.endpoint_search(f"{tag} nothing of this name"))


def step_directories() -> None:
    tc = client()
    write(SITE_ROOT, "ls/b.txt", b"22")
    write(SITE_ROOT, "ls/a.txt", b"1")
    write(SITE_ROOT, "ls/.hidden", b"")
    Path(SITE_ROOT, "ls", "sub").mkdir()
    listing = tc.operation_ls(SITE, path="/ls/")
    assert [row["name"] for row in listing] == ["sub", ".hidden", "a.txt", "b.txt"]
    assert [row["name"] for row in tc.operation_ls(SITE, path="/ls", show_hidden=False, filter="name:~*.txt")] == [
        "a.txt",
        "b.txt",
    ]
    assert [row["name"] for row in tc.operation_ls(SITE, path="/ls/", orderby=["size DESC"], limit=2)][1] == "b.txt"
    either = tc.operation_ls(SITE, path="/ls/", filter=["type:dir", "name:a.txt"])
    assert [row["name"] for row in either] == ["sub", "a.txt"]
    assert tc.operation_mkdir(SITE, "/ls/new")["code"] == "DirectoryCreated"
    refused(502, "ExternalError.MkdirFailed.Exists", tc.operation_mkdir, SITE, "/ls/new")
    assert tc.operation_rename(SITE, "/ls/new", "/ls/newer")["code"] == "FileRenamed"
    assert tc.operation_stat(SITE, "/ls/newer")["type"] == "dir"
    refused(404, "NotFound", tc.operation_stat, SITE, "/ls/new")
    refused(404, "ClientError.NotFound", tc.operation_ls, SITE, path="/ls/new/")
    refused(502, "ExternalError.DirListingFailed.NotDirectory", tc.operation_ls, SITE, path="/ls/a.txt")


def step_a_transfer_from_end_to_end() -> None:
    tc = client()
    write(SITE_ROOT, "end/one file", b"1" * 1000)
    write(SITE_ROOT, "end/tree/x/y", b"2" * 2000)
    data = transfer_data(tc, SITE, OTHER, label="end to end", verify_checksum=True, preserve_timestamp=True)
    data.add_item("/end/one file", "/end/renamed")
    data.add_item("/end/tree", "/end/tree", recursive=True)
    answer = tc.submit_transfer(data)
    assert answer["code"] == "Accepted"
    task = wait(tc, answer["task_id"])
    assert task["status"] == "SUCCEEDED", task
    assert (task["files"], task["files_transferred"], task["bytes_transferred"]) == (2, 2, 3000)
    assert Path(OTHER_ROOT, "end", "renamed").read_bytes() == b"1" * 1000
    assert tc.submit_transfer(data)["code"] == "Duplicate"
    assert tc.submit_transfer(data)["task_id"] == answer["task_id"]
    codes = [event["code"] for event in tc.task_event_list(task["task_id"])]
    assert codes[0] == "SUCCEEDED"
    assert codes[-1] == "STARTED"
    moved = list(tc.paginated.task_successful_transfers(task["task_id"]).items())
    assert {row["destination_path"] for row in moved} == {"/end/renamed", "/end/tree/x/y"}
    assert list(tc.paginated.task_skipped_errors(task["task_id"]).items()) == []
    assert tc.task_wait(task["task_id"], timeout=1, polling_interval=1)
    assert tc.task_pause_info(task["task_id"])["pause_rules"] == []


def step_many_successful_transfers_come_in_pages() -> None:
    tc = client()
    for number in range(1100):
        write(SITE_ROOT, f"pages/{number}", b"")
    data = transfer_data(tc, SITE, OTHER)
    data.add_item("/pages", "/pages", recursive=True)
    task = wait(tc, tc.submit_transfer(data)["task_id"])
    pages = list(tc.paginated.task_successful_transfers(task["task_id"]))
    assert len(pages) == 2
    assert len({row["source_path"] for page in pages for row in page["DATA"]}) == 1100


def step_task_list() -> None:
    tc = client()
    write(SITE_ROOT, "list", b"")
    tag = uuid.uuid4().hex
    ids = []
    for number in range(4):
        data = transfer_data(tc, SITE, OTHER, label=f"{tag} {number}")
        data.add_item("/list", f"/list-{number}")
        ids.append(tc.submit_transfer(data)["task_id"])
    for task in ids:
        wait(tc, task)
    assert {row["task_id"] for row in tc.task_list(filter={"task_id": ids}, limit=100)} == set(ids)
    assert [row["label"] for row in tc.task_list(filter={"label": f"{tag} 2"})] == [f"{tag} 2"]
    assert {row["task_id"] for row in tc.task_list(filter={"label": f"~{tag}*"})} == set(ids)
    assert list(tc.task_list(filter={"label": f"~{tag}*", "status": ["ACTIVE", "INACTIVE"]})) == []
    rows = list(tc.task_list(filter={"label": f"~{tag}*"}, orderby="request_time DESC", limit=2))
    assert len(rows) == 2
    paged = tc.paginated.task_list(filter=f"label:~{tag}*/status:SUCCEEDED").items()
    assert {row["task_id"] for row in paged} == set(ids)


def step_a_missing_source_is_retried_until_cancelled() -> None:
    tc = client()
    data = transfer_data(tc, SITE, OTHER)
    data.add_item("/is/not/there", "/x")
    task = tc.submit_transfer(data)["task_id"]
    end = time.monotonic() + 30
    while (document := tc.get_task(task))["nice_status"] != "FILE_NOT_FOUND":
        assert time.monotonic() < end, document.data
        time.sleep(0.01)
    assert document["status"] == "ACTIVE"
    assert document["is_ok"] is False
    assert document["faults"] >= 1
    assert tc.update_task(task, {"DATA_TYPE": "task", "label": "given up"})["code"] == "Updated"
    assert tc.cancel_task(task)["code"] == "Canceled"
    document = tc.get_task(task)
    assert (document["status"], document["label"], document["is_ok"]) == ("FAILED", "given up", None)
    assert next(event["code"] for event in tc.task_event_list(task)) == "CANCELED"
    assert tc.cancel_task(task)["code"] == "TaskComplete"


def step_a_delete() -> None:
    tc = client()
    write(SITE_ROOT, "delete/x/y", b"")
    make: Any = DeleteData
    data = make(tc, SITE, recursive=True) if OLD else make(SITE, recursive=True)
    data.add_item("/delete")
    assert wait(tc, tc.submit_delete(data)["task_id"])["status"] == "SUCCEEDED"
    assert not Path(SITE_ROOT, "delete").exists()


def step_nothing_to_transfer() -> None:
    tc = client()
    refused(400, "ClientError.BadRequest.NoTransferItems", tc.submit_transfer, transfer_data(tc, SITE, OTHER))


def step_a_token_that_expired_is_replaced() -> None:
    """The authorizer's work: one 401, one new token, the call again."""
    tc = client()
    tc.operation_ls(SITE, path="/")
    token = tc.authorizer.get_authorization_header().partition(" ")[2]  # type: ignore[union-attr]
    app().oauth2_revoke_token(token)
    tc.operation_ls(SITE, path="/")
    stale = TransferClient(authorizer=AccessTokenAuthorizer(token))
    assert refused(401, "ClientError.AuthenticationFailed", stale.operation_ls, SITE, path="/").message


def step_a_person_logs_in() -> None:
    """The native app's grant: PKCE, refresh tokens, an id_token whose signature is checked."""
    native = NativeAppAuthClient(str(uuid.uuid4()))
    native.oauth2_start_flow(requested_scopes=["openid", "email", "profile", SCOPE], refresh_tokens=True)
    request = urllib.request.Request(
        native.oauth2_get_authorize_url(), headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}
    )
    with urllib.request.urlopen(request) as page:
        code = page.read().decode()
    tokens = native.oauth2_exchange_code_for_tokens(code)
    assert tokens.decode_id_token()["preferred_username"] == "researcher@sandbox.example"
    mine = tokens.by_resource_server["transfer.api.globus.org"]
    authorizer = RefreshTokenAuthorizer(mine["refresh_token"], native)
    assert TransferClient(authorizer=authorizer).operation_ls(SITE, path="/")["DATA_TYPE"] == "file_list"
    auth = AuthClient(authorizer=AccessTokenAuthorizer(tokens.by_resource_server["auth.globus.org"]["access_token"]))
    info = auth.userinfo()
    assert info["preferred_username"] == "researcher@sandbox.example"
    assert auth.get_identities(ids=info["sub"])["identities"][0]["username"] == info["preferred_username"]


def step_nobody_gets_a_code_without_the_key() -> None:
    native = NativeAppAuthClient(str(uuid.uuid4()))
    native.oauth2_start_flow(requested_scopes=[SCOPE])
    with urllib.request.urlopen(native.oauth2_get_authorize_url()) as page:
        assert b"admin-token" in page.read()
        assert page.url.startswith(native.oauth2_get_authorize_url().partition("?")[0])


def step_a_client_app() -> None:
    made = globus_sdk.ClientApp(
        "test", client_id=CLIENT, client_secret=SECRET, config=globus_sdk.GlobusAppConfig(token_storage="memory")
    )
    assert TransferClient(app=made).get_endpoint(SITE)["display_name"] == "site"


def steps() -> Iterator[tuple[str, Any]]:
    return ((name[5:], step) for name, step in list(globals().items()) if name.startswith("step_"))


def main() -> None:
    for name, step in steps():
        try:
            step()
            wrong = ""
        except Exception:  # noqa: BLE001  (whatever it is, it is what the test reports)
            wrong = traceback.format_exc()
        sys.stdout.write(json.dumps([name, wrong]) + "\n")


if __name__ == "__main__":
    main()
