"""Jobs that share a node share one endpoint, and each gets its own bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from tests.cluster.jobs import User, visits
from tests.cluster.lab import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.timeout(150)]

_SCRIPT = """\
set -e
nodexfer run --in "site:/in/$SLURM_ARRAY_TASK_ID=own" --out "turned=site:/out/$SLURM_ARRAY_TASK_ID" -- \\
    sh -c 'mkdir "$NODEXFER_SCRATCH/turned" && rev < "$NODEXFER_SCRATCH/own" > "$NODEXFER_SCRATCH/turned/text"'
"""


@pytest.mark.parametrize("lab", ["cgroup"], indirect=True, scope="session")
def test_an_array_of_eight_on_one_node_shares_one_endpoint(lab: Cluster, user: Callable[..., User]) -> None:
    me = user(2)
    wanted = write_inputs(lab, 8)
    began = time.time()
    for job in me.submit_array(_SCRIPT, 8, "-w", "n1"):
        job.succeeds(90)
    for number, text in wanted.items():
        assert (lab.site / f"out/{number}/text").read_text() == text[::-1]
    found = visits(lab, began)
    assert found.live_max == 1, "two ran on one node at the same time"
    assert len(found.endpoints) == 1
    assert set(me.leases().values()) == {"free"}


def write_inputs(lab: Cluster, count: int) -> dict[int, str]:
    (lab.site / "in").mkdir(exist_ok=True)
    texts = {number: os.urandom(50_000 * (number + 1)).hex() for number in range(count)}
    for number, text in texts.items():
        (lab.site / f"in/{number}").write_text(text)
    return texts
