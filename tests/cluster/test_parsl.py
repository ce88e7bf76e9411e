"""Parsl with blocks of two nodes, each with a /tmp of its own: its SlurmProvider, its managers, its workers."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.jobs import User, visits
from tests.cluster.lab import Cluster
from tests.cluster.machine import PROJECT, USER
from tests.support import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.timeout(900)]

APPS = 200
SIZE = 256 * 1024 * 1024
#: Of the cluster's login node.
HEAD = "10.213.7.1"


def write(path: Path, size: int) -> None:
    block = os.urandom(1024 * 1024)
    with open(path, "wb") as file:
        for start in range(0, size, len(block)):
            file.write(block[: size - start])


@pytest.mark.parametrize("lab", ["cgroup"], indirect=True, scope="session")
def test_200_apps_on_two_nodes_move_their_input_once_to_each(lab: Cluster, user: Callable[..., User]) -> None:
    me, began = user(2), time.time()
    (lab.site / "parsl").mkdir()
    for name, size in {"input": SIZE, "input.alone": SIZE, "input.warm": 1000}.items():
        write(lab.site / "parsl" / name, size)
    run_dir = lab.home / me.pool / "run"
    environ = lab.environ(
        NODEXFER_POOL=me.pool, NODEXFER_LINGER="30", PYTHONPATH=str(PROJECT), TMPDIR=str(lab.home / me.pool)
    )
    program = [
        sys.executable,
        "-m",
        "tests.cluster.parsl_apps",
        str(run_dir),
        HEAD,
        str(APPS),
        "nodexfer://site/parsl/input",
    ]
    done = lab.head.run(*program, user=USER, environ=environ, timeout=850.0)
    assert done.code == 0, f"{done.out}\n{done.err}"
    found = json.loads(done.out.splitlines()[-1])
    assert found["sizes"] == [SIZE]
    assert len(found["nodes"]) == 2
    assert min(found["nodes"].values()) > 0
    told = [json.loads(path.read_text()) for path in (lab.home / ".nodexfer/receipts").rglob("*.json")]
    hosts = [
        receipt["host"]
        for receipt in told
        if receipt["created"] >= began and any(file["source"].endswith("/parsl/input") for file in receipt["files"])
    ]
    assert sorted(hosts) == sorted(found["nodes"])
    seen = visits(lab, began)
    assert len(seen.endpoints) == 2
    assert seen.live_max == 1
    alone = found["transfer"] + found["computing"]
    print(
        f"\n{APPS} apps on 2 nodes, one input of {SIZE >> 20} MiB: {found['total']:.1f} s; the transfer alone "
        f"{found['transfer']:.1f} s, the computing alone {found['computing']:.1f} s: {found['total'] / alone:.2f} x; "
        f"apps by node {found['nodes']}"
    )
    # The block has ended with the workflow: nothing of it is left on the nodes.
    for node in ("n1", "n2", "n3"):
        jobs = Path(lab.node_dir(node), "jobs")
        eventually(lambda jobs=jobs: not jobs.exists() or not os.listdir(jobs), 60.0)  # type: ignore[misc]
    assert set(me.leases().values()) == {"free"}
