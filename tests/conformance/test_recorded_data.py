"""Every answer has at least the fields of the SDK's own recorded data for that call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance.support import PYTHONS, run_script
from tests.support.sandbox import Box

pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("sdk", sorted(PYTHONS))
def test_answers_have_the_recorded_fields(box: Box, sdk: str) -> None:
    (box.site / "file").write_text("some")
    (box.site / "outside").symlink_to("/etc/passwd")
    token = Path(box.sandbox.directory, "admin-token").read_text()
    done = run_script(sdk, "recorded.py", box.environment, box.site_id, box.other_id, token)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["problems"] == []
    assert found["compared"] >= 25
