"""Both lines of globus-sdk, each in an interpreter of its own, use the sandbox as they use Globus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance.support import PYTHONS, run_script
from tests.support.sandbox import Box

pytestmark = pytest.mark.conformance


@pytest.mark.parametrize("sdk", sorted(PYTHONS))
def test_the_sdk_finds_what_it_finds_at_globus(box: Box, sdk: str) -> None:
    token = Path(box.sandbox.directory, "admin-token").read_text()
    done = run_script(sdk, "flows.py", box.environment, box.site_id, box.other_id, str(box.site), str(box.other), token)
    assert done.code == 0, done.err
    results = dict(json.loads(line) for line in done.out.splitlines())
    wrong = {name: text for name, text in results.items() if text}
    assert not wrong, "\n".join(f"{name}:\n{text}" for name, text in wrong.items())
    assert len(results) >= 13
