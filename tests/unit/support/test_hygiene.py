"""The watch over the tests: it must see what it is there to see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nodexfer.identity import ProcessId
from tests.support import eventually, hygiene

ROOT = Path(__file__).parents[3]


def test_a_test_is_at_home_in_a_directory_of_its_own() -> None:
    assert Path(os.environ["HOME"]).parent.name.startswith("homes")
    assert os.environ["NODEXFER_NODE_DIR"].startswith(os.environ["HOME"])


def test_what_is_changed_is_seen_and_put_back(tmp_path: Path) -> None:
    before = hygiene.Before(tmp_path)
    handler, directory = signal.getsignal(signal.SIGUSR1), os.getcwd()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    os.chdir(tmp_path)
    os.environ["SOMETHING"] = "1"
    faults = before.faults()
    del os.environ["SOMETHING"]
    assert faults == [
        "the handler of SIGUSR1 was changed",
        "the environment variable SOMETHING was changed",
        "the working directory was changed",
    ]
    assert (signal.getsignal(signal.SIGUSR1), os.getcwd()) == (handler, directory)


def test_a_process_that_left_its_session_is_seen_and_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hygiene, "GRACE", 0.0)
    before = hygiene.Before(tmp_path)
    environ = {**os.environ, "HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", "input()"], env=environ, stdin=-1, start_new_session=True) as child:
        process = ProcessId.of(child.pid)
        assert any(str(child.pid) in line for line in eventually(before.stop_processes))
        eventually(lambda: not process.alive)
    assert before.stop_processes() == []


def test_a_real_node_dir_is_the_fault_of_a_test_that_reached_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of no other: whoever runs the tests may be using nodexfer."""
    real = tmp_path / "real"
    monkeypatch.setattr(hygiene, "REAL_NODE_DIR", str(real))
    before = hygiene.Before(tmp_path)
    subprocess.run(["mkdir", real], check=True)
    assert before.faults() == []
    real.rmdir()
    real.mkdir()
    assert before.faults() == [f"{real} was made: give the command a node_dir of its own"]


@pytest.mark.parametrize("told", [True, False])
def test_a_command_that_is_told_no_node_dir_reaches_for_the_real_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    real = tmp_path / "real"
    monkeypatch.setattr(hygiene, "REAL_NODE_DIR", str(real))
    before = hygiene.Before(tmp_path)
    environ = {"PATH": os.environ["PATH"]} | ({"NODEXFER_NODE_DIR": str(tmp_path)} if told else {})
    subprocess.run(["sh", "-c", f"mkdir {real}", "nodexfer"], env=environ, check=True)
    assert bool(before.faults()) is not told


def test_eventually_returns_what_it_waited_for_and_says_what_is_missing() -> None:
    answers = iter([None, 0, "there"])
    assert eventually(lambda: next(answers)) == "there"
    with pytest.raises(AssertionError, match="not so within 0 s"):
        eventually(lambda: False, 0)
    with pytest.raises(FileNotFoundError):
        eventually(lambda: os.stat("/nowhere"), 0)


@pytest.mark.parametrize(("verdict", "stays"), [("True", []), ("False", ["file"])])
def test_what_a_run_has_written_stays_only_if_something_failed(verdict: str, stays: list[str], tmp_path: Path) -> None:
    test = tmp_path / "test_it.py"
    test.write_text(f"def test_it(tmp_path):\n    (tmp_path / 'file').touch()\n    assert {verdict}\n")
    argv = [sys.executable, "-m", "pytest", "-q", "-c", "pyproject.toml", "-p", "tests.conftest", str(test)]
    environ = {**os.environ, "PYTEST_DEBUG_TEMPROOT": str(tmp_path), "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    done = subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == len(stays), done.stdout + done.stderr
    assert [path.name for path in tmp_path.glob("pytest-of-*/pytest-0/test_it0/*")] == stays


def test_where_there_is_no_ps_parsl_finds_ours(tmp_path: Path) -> None:
    path = hygiene.clean_environment(tmp_path)["PATH"]
    assert path.endswith(f":{hygiene.BIN}"), "behind the machine's own"
    argv = [str(hygiene.BIN / "ps"), "-o", "pgid=", str(os.getpid())]
    assert subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.strip() == str(
        os.getpgrp()
    )
    assert subprocess.run([*argv[:3], "0"], capture_output=True, timeout=60, check=False).returncode != 0
