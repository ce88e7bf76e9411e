"""Several nodes, a pool that may be smaller than they are many; jobs that Slurm stops, wakes and runs again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.jobs import Job, User, visits
from tests.cluster.lab import Cluster
from tests.support import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.timeout(170)]

#: In, a proof, out, a proof: by the bytes at the site, which all machines see.
_THERE_AND_BACK = """\
set -e
echo here
while [ -n "$GO" ] && [ ! -e "$GO" ]; do sleep 0.1; done
eval "$(nodexfer acquire)"
nodexfer stage-in site:/data/$NAME "$NODEXFER_SCRATCH/"
cmp "$NODEXFER_SCRATCH/$NAME" "$SITE/data/$NAME"
echo arrived
nodexfer stage-out "$NODEXFER_SCRATCH/$NAME" "site:/back/$NAME"
nodexfer release
"""


#: Keeps the endpoint of its node until it is told to go.
_KEEP = """\
set -e
eval "$(nodexfer acquire --endpoint)"
echo leads
while [ ! -e "$GO" ]; do sleep 0.1; done
nodexfer release
"""


def write(lab: Cluster, name: str, size: int = 300_000) -> dict[str, str]:
    """A file at the site; the environment of the job that takes it."""
    (lab.site / "data").mkdir(exist_ok=True)
    (lab.site / "data" / name).write_bytes(os.urandom(size))
    return {"NAME": name, "SITE": str(lab.site)}


def is_back(lab: Cluster, name: str) -> bool:
    return (lab.site / "back" / name).read_bytes() == (lab.site / "data" / name).read_bytes()


def there_and_back(lab: Cluster, me: User, node: str, name: str, *options: str, go: str = "") -> Job:
    """:param go: the job begins when this file is there."""
    return me.submit(_THERE_AND_BACK, "-w", node, *options, name=name, GO=go, **write(lab, name))


@pytest.mark.parametrize("lab", ["cgroup"], indirect=True, scope="session")
def test_two_nodes_have_an_endpoint_each(lab: Cluster, user: Callable[..., User]) -> None:
    me, began = user(2), time.time()
    jobs = {f"{node}{number}": node for node in ("n1", "n2") for number in (1, 2)}
    made = [there_and_back(lab, me, node, name) for name, node in jobs.items()]
    for job in made:
        job.succeeds()
    assert all(is_back(lab, name) for name in jobs)
    found = visits(lab, began)
    assert len(found.endpoints) == 2
    assert found.live_max == 1
    assert set(me.leases().values()) == {"free"}


@pytest.mark.parametrize("lab", ["cgroup"], indirect=True, scope="session")
def test_the_third_node_waits_for_one_of_two_endpoints_and_is_served(lab: Cluster, user: Callable[..., User]) -> None:
    me, began = user(2), time.time()
    go = lab.home / me.pool / "go"
    holders = [me.submit(_KEEP, "-w", node, GO=str(go)) for node in ("n1", "n2")]
    for job in holders:
        job.says("leads")
    third = there_and_back(lab, me, "n3", "third")
    text = eventually(lambda: waits(lab), 30.0, every=0.3)
    assert "n1" in text or "n2" in text, f"status does not say who holds the endpoints: {text}"
    assert third.state == "RUNNING"
    at = time.time()
    go.touch()
    third.succeeds()
    print(f"\nthe third node is served {time.time() - at:.1f} s after an endpoint is given back")
    for job in holders:
        job.succeeds()
    assert is_back(lab, "third")
    assert len(visits(lab, began).endpoints) == 2
    assert set(me.leases().values()) == {"free"}


def waits(lab: Cluster) -> str:
    """What ``nodexfer status`` says on the third node while its job waits."""
    done = lab.on("n3", "nodexfer", "status", "--json")
    assert done.code == 0, done
    return done.out if '"PoolExhausted"' in done.out else ""


@pytest.mark.parametrize("lab", ["cgroup", "linuxproc"], indirect=True, scope="session")
def test_a_job_that_is_requeued_runs_again_and_finishes(lab: Cluster, user: Callable[..., User]) -> None:
    """The same job id: the second run takes nothing of the first for its own."""
    me = user(1)
    lab.box.fault("slow", endpoint="all", bytes_per_second=5_000)
    job = there_and_back(lab, me, "n1", f"again-{lab.kind}", "--requeue")
    eventually(lambda: moving(lab, job.key(0)), 30.0)
    lab.slurm("scontrol", "requeue", job.number)
    lab.box.clear()
    at = time.time()
    eventually(lambda: job.state in ("PENDING", "REQUEUED", "RUNNING"))
    job.succeeds(90)
    print(f"\n{lab.kind}: requeued, and done {time.time() - at:.1f} s later")
    assert is_back(lab, f"again-{lab.kind}")
    told = [json.loads(path.read_text()) for path in (lab.home / ".nodexfer/receipts").rglob("*.json")]
    done = [receipt["job"] for receipt in told if receipt["state"] == "done"]
    assert done.count(job.key(1)) == 2
    assert job.key(0) not in done, "the run that was ended has a proof"
    assert set(me.leases().values()) == {"free"}


def moving(lab: Cluster, key: str) -> bool:
    from nodexfer.sandbox.demo.watch import moves

    return any(move.task for move in moves(lab.node_dir("n1"), key))


@pytest.mark.parametrize("lab", ["cgroup"], indirect=True, scope="session")
def test_a_job_that_is_suspended_and_woken_finishes(lab: Cluster, user: Callable[..., User]) -> None:
    """It leads, and moves: GCP is stopped with it."""
    me = user(1)
    lab.box.fault("slow", endpoint="all", bytes_per_second=5_000)
    name = f"slept-{lab.kind}"
    job = there_and_back(lab, me, "n1", name)
    eventually(lambda: moving(lab, job.key()), 30.0)
    lab.slurm("scontrol", "suspend", job.number, user="root")
    eventually(lambda: job.state == "SUSPENDED")
    eventually(lambda: stopped(lab))
    lab.box.clear()
    time.sleep(3.0)  # what is tested is that nothing happens; there is nothing to wait for
    assert not (lab.site / "back" / name).exists()
    lab.slurm("scontrol", "resume", job.number, user="root")
    job.succeeds(90)
    assert is_back(lab, name)
    assert set(me.leases().values()) == {"free"}


def stopped(lab: Cluster) -> bool:
    """Whether the job's command is frozen (D, or T where Slurm stops it by a signal)."""
    states = []
    for pid, words in lab.nodes["n1"].processes().items():
        if "stage-in" in words:
            stat = Path(f"/proc/{pid}/stat").read_bytes()
            states.append(stat[stat.rindex(b")") + 2 :][:1])
    return bool(states) and all(state in (b"T", b"D") for state in states)


@pytest.mark.parametrize("lab", ["tmpfs"], indirect=True, scope="session")
def test_a_job_with_a_private_tmp_gets_its_bytes_there(lab: Cluster, user: Callable[..., User]) -> None:
    """job_container/tmpfs: nobody else sees its /tmp, the next job does not find anything of it."""
    me = user(1)
    for name in ("own1", "own2"):
        job = there_and_back(lab, me, "n1", name)
        job.succeeds()
        assert is_back(lab, name)
        assert not os.path.exists(lab.node_dir("n1")), "its /tmp was not its own"
    assert set(me.leases().values()) == {"free"}


@pytest.mark.parametrize("lab", ["tmpfs"], indirect=True, scope="session")
def test_jobs_with_a_private_tmp_each_take_turns_on_one_node(lab: Cluster, user: Callable[..., User]) -> None:
    """Each is a place of its own, and one GCP runs per user and host."""
    me, began = user(2), time.time()
    go = lab.home / me.pool / "go"
    names = [f"turn{number}" for number in range(3)]
    made = []
    for name in names:
        made.append(there_and_back(lab, me, "n1", name, go=str(go)))
        made[-1].says("here")
    at = time.time()
    go.touch()
    for job in made:
        job.succeeds(90)
    print(f"\n{len(names)} jobs with a /tmp each on one node, one after the other: {time.time() - at:.1f} s")
    assert all(is_back(lab, name) for name in names)
    assert visits(lab, began).live_max == 1
    assert set(me.leases().values()) == {"free"}
