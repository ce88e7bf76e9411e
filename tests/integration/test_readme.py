"""The README's own lines, run as they stand, by a user whose "site" is offline."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodexfer.sandbox.demo.leftovers import files, processes
from nodexfer.sandbox.demo.offline import Offline, offline
from tests.support import readme
from tests.support.waiting import eventually

#: What the README calls "my-program".
PROGRAM = '#!/bin/sh\ncat "$1/input/numbers.txt" > "$1/result.h5"\n'


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offline]:
    directory = str(tmp_path_factory.mktemp("readme"))
    with offline(directory, prefix="readme") as user:
        project = Path(user.stage.site, "project")
        (project / "input").mkdir(parents=True)
        (project / "results").mkdir()
        (project / "input" / "numbers.txt").write_text("1 2 3\n")
        (project / "input.h5").write_bytes(b"x" * 4711)
        program = Path(directory, "own", "my-program")
        program.parent.mkdir()
        program.write_text(PROGRAM)
        program.chmod(0o700)
        yield user


def snippet(language: str, word: str) -> str:
    (text,) = [s.text for s in readme.snippets() if s.language == language and not s.marker and word in s.text]
    return text


def run(user: Offline, argv: list[str], job: str) -> str:
    programs = Path(user.stage.directory, "own")
    environ = {**user.environment, "NODEXFER_JOB_ID": job}
    environ["PATH"] = f"{programs}:{user.stage.bin}:{os.path.dirname(sys.executable)}:{environ['PATH']}"
    done = subprocess.run(
        argv, env=environ, cwd=user.stage.home, capture_output=True, text=True, timeout=120, start_new_session=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def nothing_is_left(user: Offline) -> bool:
    there = processes(f"NODEXFER_NODE_DIR={user.stage.node_dir}", [])
    return files(user.stage.node_dir, user.stage.site) == [] and there == []


@pytest.mark.slow
def test_the_shell_lines_bring_compute_and_take_out(user: Offline) -> None:
    run(user, ["/bin/bash", "-euc", snippet("bash", "my-program")], "shell")
    assert Path(user.stage.site, "project/results/result.h5").read_text() == "1 2 3\n"
    assert nothing_is_left(user)


@pytest.mark.slow
def test_the_python_lines_bring_compute_and_take_out(user: Offline) -> None:
    out = run(user, [sys.executable, "-c", snippet("python", "nodexfer.hold")], "python")
    assert Path(user.stage.site, "project/result.txt").read_text() == "4711"
    size, _, task = out.strip().partition(" ")
    assert size == "4"
    assert task.startswith("('")
    assert nothing_is_left(user)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_parsl_lines_bring_compute_and_take_out(user: Offline) -> None:
    run(user, [sys.executable, "-c", snippet("python", "import parsl")], "parsl")
    assert Path(user.stage.site, "project/size.txt").read_text() == "4711"
    eventually(lambda: nothing_is_left(user))
