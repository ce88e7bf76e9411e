"""The demonstration itself: what a new user sees must hold every time."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import pytest

from nodexfer.sandbox.demo.leftovers import processes


def play(tmp_path: pathlib.Path, *arguments: str) -> tuple[int, str, str]:
    environ = {**os.environ, "TMPDIR": str(tmp_path), "HOME": str(tmp_path / "nobody's home")}
    done = subprocess.run(
        [sys.executable, "-m", "nodexfer", "demo", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_five_jobs_share_one_endpoint_one_is_killed_and_every_byte_is_proven(tmp_path: pathlib.Path) -> None:
    code, out, err = play(tmp_path, "--json")
    assert code == 0, f"{out}\n{err}"
    told: dict[str, Any] = json.loads(out)
    assert len(told["jobs"]) == 5
    assert sum(row["attempts"] for row in told["jobs"]) == 6
    assert all(row["verified"] for row in told["jobs"])
    assert told["mismatches"] == 0
    assert told["takeovers"] >= 1
    assert told["endpoints_live_max"] == 1
    assert told["leftover_processes"] == told["leftover_leases"] == told["leftover_files"] == 0
    assert told["seconds"] < 60
    assert "SIGKILL" in err
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_told_to_go_in_the_middle_it_leaves_nothing(number: int, code: int, tmp_path: pathlib.Path) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path), "HOME": str(tmp_path / "nobody's home")}
    with subprocess.Popen(
        [sys.executable, "-m", "nodexfer", "demo"], env=environ, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        while "leads" not in child.stderr.readline():
            assert child.poll() is None
        child.send_signal(number)
        child.stderr.read()
        assert child.wait(60) == code
    assert processes(str(tmp_path), []) == []
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_what_is_kept_is_all_in_one_directory_and_the_table_says_where(tmp_path: pathlib.Path) -> None:
    code, out, err = play(tmp_path, "--keep")
    assert code == 0, f"{out}\n{err}"
    (kept,) = tmp_path.iterdir()
    assert str(kept) in out
    assert (kept / "logs" / "demo-1.log").exists()
    assert "every byte" in out
    assert "nothing" in out
