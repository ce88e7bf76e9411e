"""sdk: the whole protocol against a sandbox, with both versions of globus-sdk that are supported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nodexfer import procs
from tests.support.sandbox import Box

ROOT = Path(__file__).parents[3]
DRIVER = Path(__file__).with_name("driver.py")
OLD = ROOT / ".venv-sdk3/bin/python"


@pytest.mark.parametrize(("python", "version"), [(sys.executable, "4."), (str(OLD), "3.65")], ids=["sdk4", "sdk3"])
def test_the_service_is_asked_alike_by_either_version(box: Box, tmp_path: Path, python: str, version: str) -> None:
    if not Path(python).exists():
        pytest.skip("the environment with globus-sdk 3.65 is made by `make test`")
    home = tmp_path / "home"
    home.mkdir()
    done = procs.run(
        [python, "-W", "error", str(DRIVER), box.sandbox.directory, str(box.site), str(home)],
        timeout=150,
        environ={"PYTHONPATH": str(ROOT), "HOME": str(home), "PATH": "/usr/bin:/bin"},
        cwd=str(home),
    )
    assert done.code == 0, f"{done.out}\n{done.err}"
    assert f"globus-sdk {version}" in done.out
