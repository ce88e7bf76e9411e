"""``make`` on a machine and in a tree that are not as the developers' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", [".venv/.ready", ".venv-cli/.ready", ".venv-sdk3/.ready"])
def test_a_python_that_is_too_old_says_so_and_nothing_is_made(target: str, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements"):
        (tmp_path / name).symlink_to(ROOT / name)
    python = tmp_path / "python3.9"
    told = "import sys; sys.version_info = (3, 9, 2, 'final', 0); exec(sys.argv[2])"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] || exit 70\nexec {sys.executable} -c "{told}" "$@"\n')
    python.chmod(0o755)
    done = make(tmp_path, target, f"PYTHON={python}")
    assert done.returncode == 2
    assert f"{python} is Python 3.9.2; nodexfer needs 3.10 or newer.\nNext: make {target} PYTHON=" in done.stderr
    assert not list(tmp_path.glob(".venv*"))
    python.write_text(python.read_text().replace("(3, 9, 2,", "(3, 10, 0,"))
    done = make(tmp_path, target, f"PYTHON={python}")
    assert f"{python} -m venv" in done.stdout, "the next step, which ends with 70"


def test_lint_leaves_the_environments_out_where_there_is_no_git(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in (".venv", ".venv-cli", ".venv-sdk3", "nodexfer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bad.py").write_text("import os\n")
    argv = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "."]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert {line.split(":")[0] for line in done.stdout.splitlines() if ".py:" in line} == {"nodexfer/bad.py"}


def make(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Whatever the ``make`` was told that runs these tests."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    argv = ["make", *arguments]
    return subprocess.run(argv, cwd=directory, env=environ, capture_output=True, text=True, timeout=60, check=False)
