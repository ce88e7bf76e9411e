"""A little chaos: jobs, keepers, endpoints and answers fall as a seed says, and no byte is lost."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from nodexfer.sandbox.demo.leftovers import processes

COMMAND = [sys.executable, "-m", "nodexfer", "sandbox", "chaos"]


def environ(tmp_path: pathlib.Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path), "HOME": str(tmp_path / "nobody's home")}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_under_blows_every_byte_is_right_no_request_is_lost_and_nothing_is_left(tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--jobs", "6", "--minutes", "0.33", "--seed", "4", "--json"],
        env=environ(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=290,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    told = json.loads(done.stdout)
    assert told["mismatches"] == told["requests_lost"] == told["false_successes"] == 0
    assert told["leftover_processes"] == told["leftover_leases"] == told["leftover_files"] == 0
    assert told["endpoints_live_max"] == 1
    assert told["requests"] >= 6
    assert told["blows"] >= 5
    assert told["plan"]["seed"] == 4
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_told_to_go_in_the_middle_it_leaves_nothing(tmp_path: pathlib.Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "--jobs", "6", "--minutes", "5", "--seed", "3"],
        env=environ(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        while "SIG" not in child.stderr.readline():
            assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        child.stderr.read()
        assert child.wait(60) == 128 + signal.SIGTERM
    assert processes(str(tmp_path), []) == []
    assert os.listdir(tmp_path) == []
