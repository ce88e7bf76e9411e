"""Globus Compute with a block of two nodes, each with a /tmp of its own: the shipped configuration, by a real Slurm."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.jobs import User
from tests.cluster.lab import Cluster
from tests.cluster.machine import PROJECT, USER
from tests.support import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.timeout(900)]

SIZE = 1_000_000


@pytest.mark.parametrize("lab", ["cgroup"], indirect=True, scope="session")
def test_the_wrapper_holds_each_node_of_a_block_and_brings_what_is_common_once(
    lab: Cluster, user: Callable[..., User]
) -> None:
    me, began = user(2), time.time()
    (lab.site / "compute").mkdir()
    (lab.site / "compute/model").write_bytes(os.urandom(SIZE))
    home = lab.home / me.pool
    environ = lab.environ(
        NODEXFER_POOL=me.pool,
        NODEXFER_LINGER="30",
        PYTHONPATH=str(PROJECT),
        TMPDIR=str(home),
        GLOBUS_COMPUTE_USER_DIR=str(home / "gc"),
        PATH=f"{os.path.dirname(sys.executable)}:{lab.environ()['PATH']}",  # the engine looks its own programs up there
    )
    program = [sys.executable, "-m", "tests.cluster.compute_functions", str(home / "run"), "site:/compute/model"]
    done = lab.head.run(*program, user=USER, environ=environ, timeout=850.0)
    assert done.code == 0, f"{done.out}\n{done.err}"
    found = json.loads(done.out.splitlines()[-1])
    assert found["sizes"] == [SIZE]
    assert len(found["nodes"]) == 2
    # Before the workers started: no function brought it.
    assert found["brought"] == 0
    told = [json.loads(path.read_text()) for path in (lab.home / ".nodexfer/receipts").rglob("*.json")]
    hosts = [
        receipt["host"]
        for receipt in told
        if receipt["created"] >= began and any(file["source"].endswith("/compute/model") for file in receipt["files"])
    ]
    assert sorted(hosts) == found["nodes"]
    # The block has ended with its engine: nothing of it is left on the nodes.
    for node in ("n1", "n2", "n3"):
        jobs = Path(lab.node_dir(node), "jobs")
        eventually(lambda jobs=jobs: not jobs.exists() or not os.listdir(jobs), 60.0)  # type: ignore[misc]
    eventually(lambda: set(me.leases().values()) == {"free"}, 60.0)
