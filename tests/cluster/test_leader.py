"""Nobody's transfer depends on somebody else's job: the leader's ends in any way, the others' transfers finish."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from nodexfer.node import endpoint, registry
from nodexfer.paths import NodePaths
from nodexfer.sandbox.demo.receipts import told
from tests.cluster.jobs import Flow, Job, User, lost_at
from tests.cluster.lab import Cluster
from tests.cluster.slurm import CLUSTER
from tests.support import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.timeout(170)]

#: Beyond what the stand-in needs to connect and the service to resume.
BAR_SECONDS = 5.0
#: What a job's processes may outlive it where Slurm lets them.
STRAY_SECONDS = 10.0
#: How long the leader may give no sign of life, for this test.
_SILENCE = 10
#: Slurm looks at limits every 30 s.
LIMIT_SECONDS = 45.0

#: Bytes per second of both, and bytes of each: a minute's work.
_RATE = 400_000
_SIZE = 12_000_000

#: Holds the endpoint, and stays until somebody ends it.
_LEADER = 'eval "$(nodexfer acquire --endpoint)" && echo leads && sleep 600'
_OTHER = (
    'set -e\nnodexfer stage-in "site:/big/$N" "/tmp/big-$N" && cmp "/tmp/big-$N" "$SITE/big/$N" && rm "/tmp/big-$N"'
)


class Scene(NamedTuple):
    """A leading job without a transfer, and two whose transfers are under way."""

    user: User
    leader: Job
    others: list[Job]
    flow: Flow


def set_scene(lab: Cluster, user: Callable[..., User], leader: str = _LEADER, **more: str) -> Scene:
    """:param more: in the environment of all three."""
    me = user(1)
    (lab.site / "big").mkdir(exist_ok=True)
    lab.box.fault("slow", endpoint="all", bytes_per_second=_RATE)
    lead = me.submit(leader, "-w", "n1", name="leader", **more)
    lead.says("leads")
    others = []
    for number in ("1", "2"):
        (lab.site / "big" / number).write_bytes(os.urandom(_SIZE))
        others.append(me.submit(_OTHER, "-w", "n1", N=number, SITE=str(lab.site), **more))
    assert leader_now(lab) == lead.key()
    flow = Flow(lab, "n1", others)
    flow.start()
    eventually(lambda: flow.bytes() > 500_000, 30.0)
    return Scene(me, lead, others, flow)


def leader_now(lab: Cluster) -> str:
    found = endpoint.read(NodePaths(lab.node_dir("n1")))
    assert found is not None
    return found.keeper


def kill(lab: Cluster, job: Job) -> None:
    lab.slurm("scancel", "--full", "--signal=KILL", job.name)


def cancel(lab: Cluster, job: Job) -> None:
    lab.slurm("scancel", job.name)


def run_out_of_time(lab: Cluster, job: Job) -> None:
    """Its limit is now, as for the administrator who shortens it; Slurm's next look at limits ends it."""
    lab.slurm("scontrol", "update", f"jobid={job.name}", "EndTime=now", user="root")


def finish(scene: Scene, lab: Cluster, did: str, at: float, resume: float) -> None:
    """See the others finish; say how long nothing moved, and hold it against the bar."""
    lost = eventually(lambda: lost_at(lab, at), LIMIT_SECONDS)
    try:
        again = eventually(lambda: scene.flow.moves_again(lost) or 0.0, 30.0 + resume)
    finally:
        scene.flow.stop()
        lab.box.clear()
    connect = float(lab.box.status()["switches"]["connect_seconds"])
    extra = again - lost - connect - resume
    print(
        f"\n{lab.kind}: {did}: endpoint lost {lost - at:.2f} s later, bytes move again after {again - lost:.2f} s "
        f"(resume {resume:g} s, connect {connect:g} s): extra delay {max(extra, 0.0):.2f} s"
    )
    for job in scene.others:
        job.succeeds(60)
        assert len(told(str(lab.home / ".nodexfer"), job.key()).tasks) == 1, "a task was submitted again"
    assert extra <= BAR_SECONDS


@pytest.mark.parametrize("lab", ["cgroup", "linuxproc"], indirect=True, scope="session")
@pytest.mark.parametrize("end", [cancel, kill, run_out_of_time])
def test_the_leaders_job_is_ended_and_the_others_finish(
    lab: Cluster, user: Callable[..., User], end: Callable[[Cluster, Job], None]
) -> None:
    scene = set_scene(lab, user)
    at = time.time()
    end(lab, scene.leader)
    finish(scene, lab, end.__name__, at, 1.0)


@pytest.mark.parametrize("lab", ["cgroup"], indirect=True, scope="session")
def test_the_service_resumes_after_a_minute_and_nobody_waits_longer(lab: Cluster, user: Callable[..., User]) -> None:
    scene = set_scene(lab, user)
    lab.box.switch(resume_seconds=60.0)
    at = time.time()
    kill(lab, scene.leader)
    finish(scene, lab, "kill", at, 60.0)


@pytest.mark.parametrize("lab", ["linuxproc"], indirect=True, scope="session")
@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_a_leader_that_outlives_its_job_ends_itself_and_the_others_finish(
    lab: Cluster, user: Callable[..., User], how: str
) -> None:
    """Its script is over without a release, and Slurm lets what it started live. (The script waits without a child.)"""
    scene = set_scene(lab, user, 'eval "$(nodexfer acquire --endpoint)" && echo leads && exec 3<> <(:) && read -u 3')
    keeper = registry.read_keeper(NodePaths(lab.node_dir("n1")).keeper(scene.leader.key()))
    assert keeper is not None
    at = time.time()
    # Of the script alone: Slurm knows nothing of the rest.
    signum = "KILL" if how == "is killed" else "TERM"
    done = lab.nodes["n1"].run("kill", f"-{signum}", str(keeper.script.pid))
    assert done.code == 0, done
    mark = scene.leader.key()
    eventually(lambda: not strays(lab, mark), STRAY_SECONDS, every=0.05)
    print(f"\n{lab.kind}: a script {how}: nothing of its job is left after {time.time() - at:.2f} s")
    finish(scene, lab, f"script {how}", at, 1.0)


@pytest.mark.parametrize("lab", ["linuxproc"], indirect=True, scope="session")
def test_a_leader_that_outlives_its_job_gives_everything_back_when_it_is_alone(
    lab: Cluster, user: Callable[..., User]
) -> None:
    me = user(1)
    job = me.submit('eval "$(nodexfer acquire --endpoint)" && echo leads', "-w", "n1")
    job.succeeds()
    at = time.time()
    eventually(lambda: not lab.nodes["n1"].processes(), STRAY_SECONDS, every=0.05)
    print(f"\n{lab.kind}: alone: no process is left {time.time() - at:.2f} s after the job")
    assert set(me.leases().values()) == {"free"}


@pytest.mark.parametrize("lab", ["linuxproc"], indirect=True, scope="session")
def test_the_leaders_job_is_suspended_and_the_others_finish(lab: Cluster, user: Callable[..., User]) -> None:
    """Slurm stops what descends from the script: the keeper is a child of nobody, and leads on."""
    scene = set_scene(lab, user)
    lab.slurm("scontrol", "suspend", scene.leader.number, user="root")
    finish_others(scene, lab)
    assert scene.leader.state == "SUSPENDED"


@pytest.mark.parametrize("lab", ["cgroup"], indirect=True, scope="session")
def test_the_leaders_job_is_frozen_and_the_others_are_told_who_blocks_them(
    lab: Cluster, user: Callable[..., User]
) -> None:
    """The whole job is frozen, and SIGKILL waits until it is woken: nobody can take over, and nobody is lost."""
    scene = set_scene(lab, user, NODEXFER_SILENCE=str(_SILENCE))
    at = time.time()
    lab.slurm("scontrol", "suspend", scene.leader.number, user="root")
    eventually(lambda: "is blocked" in status(lab), 60.0, every=0.5)
    print(f"\n{lab.kind}: suspended: who blocks is told after {time.time() - at:.0f} s (silence {_SILENCE} s)")
    assert scene.leader.key() in status(lab)
    assert all(job.state == "RUNNING" for job in scene.others)
    lab.slurm("scontrol", "resume", scene.leader.number, user="root")
    finish_others(scene, lab)


def finish_others(scene: Scene, lab: Cluster) -> None:
    lab.box.clear()
    scene.flow.stop()
    for job in scene.others:
        job.succeeds(60)


def status(lab: Cluster) -> str:
    return lab.on("n1", "nodexfer", "status").out.replace("\n", " ")


def strays(lab: Cluster, job: str) -> dict[int, str]:
    """Processes that say in their environment that they are of the job; GCP's says nothing."""
    number = f"SLURM_JOB_ID={job.removeprefix('slurm-' + CLUSTER + '-').partition('.')[0]}".encode()
    found = lab.nodes["n1"].processes()
    return {pid: words for pid, words in found.items() if number in environ(pid).split(b"\0")}


def environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
