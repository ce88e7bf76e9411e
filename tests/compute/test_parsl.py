"""Parsl's GlobusComputeExecutor by the real endpoint and SDK: the files of its apps are on the endpoint's node."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.support.compute import running_endpoint
from tests.support.holding import is_cleared
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = [pytest.mark.compute, pytest.mark.timeout(600)]

FLOW = Path(__file__).with_name("parsl_flow.py")


def test_apps_by_globus_compute_find_their_files_and_raise_our_errors(compute_box: Box, tmp_path: Path) -> None:
    user = User(compute_box)
    (user.site / "in").write_text("text")
    extra = {**user.environ, **{name: os.environ[name] for name in ("NODEXFER_NODE_DIR", "HOME")}}
    extra["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    with running_endpoint(compute_box.sandbox, tmp_path / "gc", extra=extra) as endpoint:
        done = endpoint.python(FLOW, endpoint.id, str(tmp_path / "run"), timeout=400.0)
        assert done.code == 0, f"{done.err}\n{endpoint.log()}"
    found = json.loads(done.out.splitlines()[-1])
    assert found["here"] not in found["there"]
    assert (user.site / "out/first").read_text() == (user.site / "out/second").read_text() == "TEXT"
    # Globus Compute itself would give the text of an error only.
    assert (found["module"], found["error"]) == ("nodexfer.errors", "SourceMissing")
    assert "none" in found["message"]
    # What an app has written is there for the next one, without a transfer.
    assert len([one for one in user.receipts if one["direction"] == "in"]) <= 2
    eventually(lambda: is_cleared(user.config), 90.0)
