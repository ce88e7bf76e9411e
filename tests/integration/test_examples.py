"""The examples run as they are, offline."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from nodexfer.sandbox.demo.leftovers import files, processes
from nodexfer.sandbox.demo.offline import offline

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_parsl_apps_on_two_workers_stage_through_one_endpoint(tmp_path_factory: pytest.TempPathFactory) -> None:
    tmp_path = tmp_path_factory.mktemp("p")  # short: a worker's socket is made in it, and a socket's path has 107 bytes
    # There is one only: between two apps nobody may hold the node, and another would be as good.
    with offline(str(tmp_path), endpoints=1, prefix="parsl") as user:
        texts = pathlib.Path(user.stage.site, "texts")
        texts.mkdir()
        for number in range(1, 7):
            (texts / f"{number} text.txt").write_text("word " * number)
        (texts.parent / "results").mkdir()
        done = subprocess.run(
            [
                sys.executable,
                str(EXAMPLES / "parsl_hold.py"),
                "site:/results/",
                *(f"site:/texts/{number} text.txt" for number in range(1, 7)),
            ],
            env={**user.environment, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
            start_new_session=True,
        )
        assert done.returncode == 0, done.stderr
        for number in range(1, 7):
            counted = (texts.parent / "results" / f"{number} text.txt.json").read_text()
            assert json.loads(counted) == {"word": number}
        assert len(set(re.findall(r"worker (\d+)", done.stdout))) == 2, done.stdout
        assert len(set(re.findall(r"endpoint (\S+)", done.stdout))) == 1, done.stdout
        assert files(user.stage.node_dir, user.stage.site) == []
        assert processes(f"NODEXFER_NODE_DIR={user.stage.node_dir}", []) == []
    assert not [name for name in os.listdir(tmp_path) if name.startswith("parsl-")]
