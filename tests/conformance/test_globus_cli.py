"""The real globus-cli drives the sandbox, as a service account and as a person."""

from __future__ import annotations

import json
import os
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodexfer import procs
from tests.conformance.support import GLOBUS, needed
from tests.support.sandbox import Box, Gcp
from tests.support.waiting import eventually

pytestmark = pytest.mark.conformance

Globus = Callable[..., procs.Completed]


@pytest.fixture
def globus(box: Box) -> Globus:
    """Runs ``globus ...`` at home in this test's home; ``code`` is the exit code that it must have."""

    def run(*arguments: str, code: int = 0, input: str | None = None) -> procs.Completed:
        done = procs.run([needed(GLOBUS), *arguments], timeout=60.0, environ=box.environment, input=input)
        assert done.code == code, f"globus {' '.join(arguments)} ended with {done.code}\n{done.out}\n{done.err}"
        return done

    return run


def as_json(done: procs.Completed) -> Any:
    return json.loads(done.out)


def test_whoami_is_the_service_account(box: Box, globus: Globus) -> None:
    client = box.sandbox.environment["GLOBUS_CLI_CLIENT_ID"]
    assert globus("whoami").out.strip() == f"{client}@clients.auth.globus.org"
    assert client in globus("whoami", "--linked-identities", "-v").out


def test_directories(box: Box, globus: Globus) -> None:
    (box.site / "a file").write_text("12345")
    assert globus("ls", f"{box.site_id}:/").out == "a file\n"
    assert as_json(globus("stat", f"{box.site_id}:/a file", "-F", "json"))["size"] == 5
    globus("mkdir", f"{box.site_id}:/new")
    globus("rename", box.site_id, "/new", "/newer")
    assert globus("ls", f"{box.site_id}:/").out == "newer/\na file\n"
    assert globus("ls", "-r", f"{box.site_id}:/", "--filter", "~a*").out == "newer/\na file\n"
    assert "Nothing found" in globus("stat", f"{box.site_id}:/none").out


def test_a_batch_is_one_task(box: Box, globus: Globus) -> None:
    for name in ("one", "two words"):
        (box.site / name).write_text(name)
    (box.site / "tree" / "leaf").mkdir(parents=True)
    batch = 'one 1\n"two words" "2 3"\n--recursive tree tree\n'
    where = (f"{box.site_id}:/", f"{box.other_id}:/")
    submitted = as_json(globus("transfer", *where, "--batch", "-", "--label", "a batch", "-F", "json", input=batch))
    task = submitted["task_id"]
    globus("task", "wait", task, "--timeout", "20", "--polling-interval", "1")
    shown = as_json(globus("task", "show", task, "-F", "json"))
    assert (shown["status"], shown["files"], shown["label"]) == ("SUCCEEDED", 2, "a batch")
    assert (box.other / "2 3").read_text() == "two words"
    assert (box.other / "tree" / "leaf").is_dir()
    assert task in globus("task", "list").out
    assert task in globus("task", "list", "--filter-label", "a batch", "--filter-status", "SUCCEEDED").out
    assert task not in globus("task", "list", "--filter-status", "ACTIVE").out
    assert globus("task", "event-list", task).out.splitlines()[2].split("|")[1].strip() == "SUCCEEDED"
    assert "/two words" in globus("task", "show", "--successful-transfers", task).out


def test_cancelling(box: Box, globus: Globus) -> None:
    where = (f"{box.site_id}:/missing", f"{box.other_id}:/x")
    task = as_json(globus("transfer", *where, "-F", "json"))["task_id"]
    globus("task", "wait", task, "--timeout", "1", "--timeout-exit-code", "50", code=50)
    events = as_json(globus("task", "event-list", task, "--filter-errors", "-F", "json"))
    assert {event["code"] for event in events["DATA"]} == {"FILE_NOT_FOUND"}
    globus("task", "update", task, "--label", "no use")
    assert "cancelled successfully" in globus("task", "cancel", task).out
    globus("task", "wait", task, code=1)
    assert as_json(globus("task", "show", task, "-F", "json"))["status"] == "FAILED"


def test_an_endpoint_from_its_creation_to_its_end(box: Box, globus: Globus) -> None:
    name = f"cli {uuid.uuid4()}"
    made = as_json(globus("gcp", "create", "mapped", name, "-F", "json"))
    assert uuid.UUID(made["globus_connect_setup_key"])
    shown = globus("endpoint", "show", made["id"]).out
    assert "GCP Connected:" in shown
    assert name in shown
    assert made["id"] in globus("endpoint", "search", name).out
    assert made["id"] in globus("endpoint", "search", "--filter-scope", "my-gcp-endpoints").out
    globus("gcp", "update", "mapped", made["id"], "--description", "ours")
    globus("gcp", "set-subscription-id", made["id"], str(uuid.uuid4()))
    failed = globus("ls", f"{made['id']}:/tmp/", code=1).err
    assert "ExternalError.DirListingFailed.GCDisconnected" in failed
    assert "502" in failed
    assert "deleted successfully" in globus("endpoint", "delete", made["id"]).out
    globus("endpoint", "show", made["id"], code=1)


def test_removing(box: Box, globus: Globus) -> None:
    (box.site / "tree" / "leaf").mkdir(parents=True)
    for name in ("x1", "x2", "y"):
        (box.site / name).touch()
    globus("rm", f"{box.site_id}:/tree", "--recursive", "--polling-interval", "1")
    globus("rm", f"{box.site_id}:/x*", "--polling-interval", "1")
    assert os.listdir(box.site) == ["y"]
    globus("rm", f"{box.site_id}:/none", "--polling-interval", "1", code=1)
    globus("delete", f"{box.site_id}:/y")
    eventually(lambda: os.listdir(box.site) == [])


def test_a_transfer_to_a_gcp(box: Box, globus: Globus, make_gcp: Callable[[], Gcp]) -> None:
    gcp = make_gcp()
    (box.site / "in").write_bytes(bytes(1000))
    where = (f"{box.site_id}:/in", f"{gcp.endpoint}:{gcp.root}/in")
    task = as_json(globus("transfer", *where, "-F", "json"))["task_id"]
    globus("task", "wait", task, "--timeout", "20", "--polling-interval", "1")
    assert (gcp.root / "in").read_bytes() == bytes(1000)
    assert "in\n" in globus("ls", f"{gcp.endpoint}:{gcp.root}").out


def test_a_person_logs_in_and_out(box: Box, globus: Globus, monkeypatch: pytest.MonkeyPatch) -> None:
    """``globus login``: a client from a template, a code from the authorize page, tokens with refresh tokens."""
    environment = {name: value for name, value in box.environment.items() if not name.startswith("GLOBUS_CLI_")}
    token = Path(box.sandbox.directory, "admin-token").read_text()
    argv = [needed(GLOBUS), "login", "--no-local-server"]
    process = procs.spawn(argv, environ=environment, stdin=procs.PIPE, stdout=procs.PIPE, stderr=procs.STDOUT)
    assert process.stdin is not None
    assert process.stdout is not None
    url = ""
    while not url.startswith("http"):
        url = process.stdout.readline().decode().strip()
    assert urllib.parse.urlsplit(url).hostname == "127.0.0.1"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request) as page:
        code = page.read()
    process.stdin.write(code + b"\n")
    process.stdin.flush()
    said = process.stdout.read().decode()
    assert process.wait(30.0) == 0, said
    process.close()
    for arguments, wanted in (
        (["whoami"], "researcher@sandbox.example"),
        (["session", "show"], "researcher@sandbox.example"),
        (["logout", "--yes"], "Logging out"),
    ):
        done = procs.run([needed(GLOBUS), *arguments], timeout=30.0, environ=environment)
        assert wanted in done.out, done
