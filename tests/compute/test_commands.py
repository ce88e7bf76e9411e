"""``nodexfer compute check|selftest|diagnose`` and staged functions, on a shipped configuration that really runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nodexfer import procs
from nodexfer.errors import EndpointFailed, SourceMissing, TokenExpired
from nodexfer.integrations import compute_setup
from tests.support.compute import Endpoint, online, running_endpoint, stop
from tests.support.holding import NODEXFER, is_cleared
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = [pytest.mark.compute, pytest.mark.timeout(600)]

STAGED = Path(__file__).with_name("staged.py")


class Mine(NamedTuple):
    user: User
    endpoint: Endpoint

    def run(self, *words: str) -> procs.Completed:
        environ = {**self.endpoint.environment, **self.user.environ}
        return procs.run([*NODEXFER, "compute", *words], environ=environ, timeout=300)

    def told(self, *words: str) -> Any:
        return json.loads(self.run(*words, self.endpoint.id, "--json").out)


@pytest.fixture
def mine(compute_box: Box, tmp_path: Path) -> Iterator[Mine]:
    """An endpoint of the shipped configuration "local", with three workers, and its user."""
    user = User(compute_box)
    text = Path(compute_setup.shipped("local"), compute_setup.TEMPLATE).read_text()
    init = compute_setup.default_worker_init()
    template = compute_setup.defaults({"worker_init": init, "workers": 3, "max_idletime": 300}) + text
    names = ("NODEXFER_NODE_DIR", "HOME", "NODEXFER_HOME")
    extra = {**user.environ, **{name: os.environ[name] for name in names if name in os.environ}}
    extra["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    with running_endpoint(compute_box.sandbox, tmp_path / "gc", name="mine", template=template, extra=extra) as made:
        yield Mine(user, made)


def test_an_endpoint_is_checked_tried_and_diagnosed(mine: Mine) -> None:
    (mine.user.site / "input").write_bytes(bytes(1000))
    found = mine.told("check")
    assert (found["id"], found["online"], found["ours"]) == (mine.endpoint.id, True, True)
    assert found["identity"] == found["owner"]
    done = mine.run("check", mine.endpoint.id)
    assert done.code == 0, done
    assert "state     online" in done.out

    data = ("--source", "site:/input", "--destination", "site:/out")
    answers = mine.told("selftest", "--num-jobs", "5", *data)
    assert [answer["number"] for answer in answers] == [1, 2, 3, 4, 5]
    for answer in answers:
        assert answer["error"] is None, (answer, mine.endpoint.log())
        assert answer["bytes"] == 1000
        stages = [answer[stage] for stage in ("hold", "stage-in", "run", "stage-out")]
        assert answer["total"] >= answer["queue"] + sum(stages) - 0.1
    assert len({path.name for path in (mine.user.site / "out").iterdir()}) == 5

    done = mine.run("selftest", "--num-jobs", "2", "--source", "site:/gone", mine.endpoint.id)
    assert done.code == SourceMissing.exit_code
    headers, *rows = done.out.splitlines()
    assert headers.split() == ["job", "host", "queue", "hold", "stage-in", "run", "stage-out", "total", "error"]
    assert [row.split()[-1] for row in rows if row.strip("- ")] == ["SourceMissing"] * 2
    assert "job 1 of 2: SourceMissing after" in done.err

    findings = mine.told("diagnose", *data)
    assert [one for one in findings if one["ok"] is not True] == []
    asked = [(one["kind"], one["question"]) for one in findings]
    assert asked == [
        *(("connectivity", "identity"), ("connectivity", "endpoint")),
        *(("worker", "a function"), ("worker", "nodexfer"), ("worker", "block"), ("worker", "room")),
        *(("staging", "hold"), ("staging", "endpoint"), ("staging", "stage-in"), ("staging", "stage-out")),
        ("parallel", "jobs"),
    ]
    done = mine.run("diagnose", "-t", "staging", "--source", "site:/gone", mine.endpoint.id)
    assert done.code == 1
    assert "BAD staging, stage-in: SourceMissing: " in done.out

    done = mine.endpoint.python(STAGED, mine.endpoint.id)
    assert done.code == 0, f"{done.err}\n{mine.endpoint.log()}"
    assert json.loads(done.out)["value"] == 1000
    assert (mine.user.site / "staged/input").read_text() == "1000"

    stop(mine.endpoint.process)
    eventually(lambda: not online(mine.user.box.sandbox, mine.endpoint.id), 120.0)
    done = mine.run("check", mine.endpoint.id)
    assert done.code == EndpointFailed.exit_code
    assert "is offline: it is not running, or has lost its connection" in done.err
    assert "Next: globus-compute-endpoint start mine\n" in done.err
    findings = mine.told("diagnose")
    assert [one["question"] for one in findings if one["ok"] is False] == ["endpoint"]
    eventually(lambda: is_cleared(mine.user.config), 60.0)


def test_what_the_service_refuses_is_told_by_name(compute_box: Box, tmp_path: Path) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    environ = {**os.environ, **compute_box.sandbox.environment}

    def run(*words: str, **more: str) -> procs.Completed:
        return procs.run([*NODEXFER, "compute", *words], environ={**environ, **more}, timeout=120)

    done = run("check", unknown)
    assert done.code == EndpointFailed.exit_code
    assert f"Globus Compute does not know endpoint {unknown}" in done.err
    done = run("check", unknown, "--auth-method", "native_client")
    assert (done.code, "You are not logged in to Globus Compute." in done.err) == (40, True), done
    assert "Next: globus-compute-endpoint login" in done.err
    # At another home: a token that is still valid is used as long as it is.
    done = run("check", unknown, GLOBUS_COMPUTE_CLIENT_SECRET="wrong", GLOBUS_COMPUTE_USER_DIR=str(tmp_path / "gc"))
    assert done.code == TokenExpired.exit_code, done
    assert "Next: globus-compute-endpoint login" in done.err
    assert "Traceback" not in done.err
