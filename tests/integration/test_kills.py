"""A few rounds of ``make test-kills``: what it looks at, it looks at here."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.source import ROOT


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whoever_is_killed_every_app_ends_and_nothing_is_left() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills", "--rounds", "4", "--seed", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
        start_new_session=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert re.search(r"^4 kills, 32 apps: .*; nothing is left$", done.stdout, re.MULTILINE), done.stdout
    assert "manager" in done.stdout
    assert "block" in done.stdout
