"""Drives :class:`nodexfer.globus.sdk.SdkGlobus` against a sandbox: run by the interpreter of each version of the SDK.

python driver.py SANDBOX_DIRECTORY SITE_DIRECTORY HOME
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import urllib.parse
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import globus_sdk
import requests

from nodexfer.clock import utc
from nodexfer.config import load
from nodexfer.errors import (
    CollectionUnknown,
    ConfigInvalid,
    DestinationExists,
    EndpointFailed,
    NodexferError,
    PermissionRefused,
    ServiceUnreachable,
    SourceMissing,
    TokenExpired,
    TokenMissing,
)
from nodexfer.globus.protocol import Submission, Task, TransferItem
from nodexfer.globus.sdk import SCOPE, SdkGlobus, connect
from nodexfer.sandbox.launch import Sandbox

BOX = Sandbox.attach(sys.argv[1])
SITE = Path(sys.argv[2])
HOME = Path(sys.argv[3])
SITE_ID = BOX.site_id("site")


def globus(**more: str) -> SdkGlobus:
    environ = {
        **BOX.environment,
        "HOME": str(HOME),
        "NODEXFER_HOME": str(HOME),
        "NODEXFER_SERVICE_TIMEOUT": "5",
        **more,
    }
    return connect(load(environ), environ)


def refused(kind: type[NodexferError], call: Callable[[], Any]) -> NodexferError:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def done(it: SdkGlobus, task: str) -> Task:
    end = time.monotonic() + 30
    while not (found := it.tasks([task])[task]).over:
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def submission(it: SdkGlobus, *items: TransferItem, label: str = "a test") -> Submission:
    return Submission(it.submission_id(), SITE_ID, BOX.site_id("other"), items, label, utc(time.time() + 600))


def test_endpoints(it: SdkGlobus) -> None:
    name = f"driver-{uuid.uuid4()}"
    made = it.create_endpoint(name)
    found = it.collection(made.id)
    assert (found.name, found.owner_id, found.is_gcp, found.connected) == (name, it.identity(), True, False)
    assert it.own_endpoint(name) == made.id
    assert it.own_endpoint(name[:-1]) is None
    site = it.collection(SITE_ID)
    assert (site.is_gcp, site.connected) == (False, None)
    offline = refused(EndpointFailed, lambda: it.ls(made.id, "/"))
    assert "not connected" in str(offline)
    it.delete_endpoint(made.id)
    refused(CollectionUnknown, lambda: it.collection(made.id))
    refused(CollectionUnknown, lambda: it.delete_endpoint(made.id))


def test_files(it: SdkGlobus) -> None:
    (SITE / "a b").mkdir()
    (SITE / "a b/ü%,[x].txt").write_text("hello")
    (SITE / ".hidden").touch()
    names = {entry.name: (entry.type, entry.size) for entry in it.ls(SITE_ID, "/a b")}
    assert names == {"ü%,[x].txt": ("file", 5)}
    assert ".hidden" in [entry.name for entry in it.ls(SITE_ID, "/")]
    assert it.stat(SITE_ID, "/a b").type == "dir"
    assert it.stat(SITE_ID, "/a b/ü%,[x].txt").size == 5
    missing = refused(SourceMissing, lambda: it.stat(SITE_ID, "/a b/none"))
    assert missing.next == f"globus ls '{SITE_ID}:/a b'"
    refused(SourceMissing, lambda: it.ls(SITE_ID, "/none"))
    it.mkdir(SITE_ID, "/made")
    refused(DestinationExists, lambda: it.mkdir(SITE_ID, "/made"))
    it.rename(SITE_ID, "/made", "/moved")
    assert (SITE / "moved").is_dir()
    refused(DestinationExists, lambda: it.rename(SITE_ID, "/moved", "/a b"))
    refused(CollectionUnknown, lambda: it.ls(str(uuid.uuid4()), "/"))


def test_transfers(it: SdkGlobus) -> None:
    (SITE / "tree/deep").mkdir(parents=True)
    for name in ("tree/one", "tree/deep/two"):
        (SITE / name).write_text(name)
    asked = submission(it, TransferItem("/tree", "/copy", True), TransferItem("/tree/one", "/file"), label="x" * 200)
    task = it.submit(asked)
    assert it.submit(asked) == task, "the same submission id is the same task"
    ended = done(it, task)
    assert (ended.status, ended.files, ended.files_transferred, ended.files_skipped) == ("SUCCEEDED", 3, 3, 0)
    assert (ended.source_endpoint, ended.destination_endpoint) == (SITE_ID, BOX.site_id("other"))
    assert (ended.label, ended.fatal_code) == ("x" * 128, None)
    assert sorted(moved.destination for moved in it.moved(task)) == ["/copy/deep/two", "/copy/one", "/file"]
    assert "SUCCEEDED" in [event.code for event in it.events(task)]
    it.cancel(task)
    document = it._client.get(f"/v0.10/task/{task}").data
    assert document["verify_checksum"] is True
    assert document["deadline"] == asked.deadline
    deletion = it.delete(it.submission_id(), BOX.site_id("other"), ["/copy", "/file", "/none"], "clean up")
    assert done(it, deletion).status == "SUCCEEDED"
    assert it.ls(BOX.site_id("other"), "/") == []


def test_a_failing_task(it: SdkGlobus) -> None:
    before = {found.id for found in it.unfinished_tasks(SITE_ID)}
    task = it.submit(submission(it, TransferItem("/none", "/none")))
    end = time.monotonic() + 30
    while it.tasks([task])[task].nice_status != "FILE_NOT_FOUND":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert it.tasks([task])[task].faults > 0
    assert next(event.code for event in it.events(task) if event.is_error) == "FILE_NOT_FOUND"
    assert {found.id for found in it.unfinished_tasks(SITE_ID)} - before == {task}
    assert it.unfinished_tasks(str(uuid.uuid4())) == []
    it.cancel(task)
    assert done(it, task).status == "FAILED"


def test_many_tasks(it: SdkGlobus) -> None:
    ids = [str(uuid.uuid4()) for _ in range(120)]
    (SITE / "small").touch()
    mine = it.submit(submission(it, TransferItem("/small", "/small")))
    assert list(it.tasks([*ids, mine])) == [mine]
    assert it.tasks([]) == {}
    done(it, mine)


def test_a_busy_service_is_asked_again_and_then_named(it: SdkGlobus) -> None:
    BOX.fault("http", status=503, count=2, prefix="/v0.10/submission_id", retry_after=0)
    assert it.submission_id()
    fault = BOX.fault("http", status=503, count=100, prefix="/v0.10/submission_id", retry_after=0)
    assert "HTTP 503" in str(refused(ServiceUnreachable, it.submission_id))
    BOX.clear(fault)


def test_a_forbidden_path(it: SdkGlobus) -> None:
    fault = BOX.fault("fail_path", endpoint=SITE_ID, path="/closed", code="PERMISSION_DENIED")
    refused(PermissionRefused, lambda: it.ls(SITE_ID, "/closed"))
    BOX.clear(fault)


def test_a_token_that_is_refused_at_the_last_attempt_is_renewed_too(it: SdkGlobus) -> None:
    assert it.ls(SITE_ID, "/") is not None
    BOX.fault("expire_tokens")
    BOX.fault("http", status=500, count=2, prefix="/v0.10/submission_id")
    assert it.submission_id()


def test_an_expired_token_is_renewed_without_a_word(it: SdkGlobus) -> None:
    it.submission_id()
    BOX.fault("expire_tokens")
    assert it.submission_id()
    fault = BOX.fault("expire_tokens", refuse=True)
    secret = BOX.environment["NODEXFER_CLIENT_SECRET"]
    error = refused(TokenExpired, it.submission_id)
    assert "NODEXFER_CLIENT_ID" in error.next
    assert secret not in f"{error}{error!r}{error.__cause__!r}"
    BOX.clear(fault)


def test_a_wrong_secret(it: SdkGlobus) -> None:
    with closing(globus(NODEXFER_CLIENT_SECRET="wrong")) as other:
        refused(TokenExpired, other.submission_id)


def test_a_service_that_is_not_there(it: SdkGlobus) -> None:
    url = "http://127.0.0.1:9"
    with closing(globus(GLOBUS_SDK_SERVICE_URL_TRANSFER=url)) as other:
        assert url in str(refused(ServiceUnreachable, other.submission_id))
    with closing(globus(GLOBUS_SDK_SERVICE_URL_AUTH=url)) as other:
        assert url in str(refused(ServiceUnreachable, other.submission_id))


def test_a_stored_token(it: SdkGlobus) -> None:
    """As the SDK stores one: used, renewed by its refresh token, and named when it can not be."""
    path = HOME / "tokens.json"
    app = store_tokens(path)
    without = {"NODEXFER_CLIENT_ID": "", "NODEXFER_CLIENT_SECRET": ""}
    with closing(globus(**without)) as stored:
        assert (
            stored.identity()
            == json.loads(path.read_text())["data"]["DEFAULT"]["transfer.api.globus.org"]["identity_id"]
        )
        assert stored.identity() != it.identity()
        assert stored.submission_id()
        BOX.fault("expire_tokens")
        assert "client_id" in str(refused(TokenExpired, stored.submission_id))
    before = json.loads(path.read_text())
    with closing(globus(NODEXFER_CLIENT_ID=app, NODEXFER_CLIENT_SECRET="")) as renewing:
        assert renewing.submission_id()
        after = json.loads(path.read_text())
        assert after != before
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert renewing.submission_id()
        assert json.loads(path.read_text()) == after, "renewed once"
    path.write_text("{}")
    refused(ConfigInvalid, lambda: globus(**without))
    path.unlink()
    refused(TokenMissing, lambda: globus(**without))


def store_tokens(path: Path) -> str:
    """Log the sandbox's person in, with the SDK's own storage; the id of the app that the tokens are for."""
    # Version 3 has it in another module.
    old = globus_sdk.__version__.startswith("3.")
    module = importlib.import_module(f"globus_sdk.{'tokenstorage' if old else 'token_storage'}")
    app = str(uuid.uuid4())
    client = globus_sdk.NativeAppAuthClient(app, base_url=BOX.url)
    client.oauth2_start_flow(requested_scopes=["openid", "email", "profile", SCOPE], refresh_tokens=True)
    headers = {"Authorization": f"Bearer {BOX._admin_token}"}
    url = client.oauth2_get_authorize_url()
    answer = requests.post(url, headers=headers, allow_redirects=False, timeout=10)
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["Location"]).query)["code"][0]
    module.JSONTokenStorage(str(path)).store_token_response(client.oauth2_exchange_code_for_tokens(code))
    client.transport.session.close()
    return app


def main() -> None:
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            with closing(globus()) as it:
                test(it)
            sys.stdout.write(f"{name}\n")
    sys.stdout.write(f"globus-sdk {globus_sdk.__version__}\n")


if __name__ == "__main__":
    main()
