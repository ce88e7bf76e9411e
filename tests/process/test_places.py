"""Several places: on one node they take turns, between nodes an idle endpoint is given to who waits."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.config import Config
from nodexfer.identity import ProcessId, boot_id
from nodexfer.node import endpoint, hold
from nodexfer.node.status import tasks
from nodexfer.pool import lease as leases
from nodexfer.pool.waiting import Queue
from tests.support import eventually
from tests.support.holding import NODEXFER, Script, job, keeper, kill, place, script, told
from tests.support.leading import held, leader, make_pool, parts, quiet, ready, tops, user
from tests.support.sandbox import Box, Gcp, running_gcp

__all__ = ["user"]

pytestmark = pytest.mark.slow

ELSEWHERE = leases.Me("slurm", "c", "elsewhere", "boot", "place", "/tmp/x", "7", 0)


@pytest.fixture(autouse=True)
def _patient(user: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that nobody needs is kept for much longer than a test takes."""
    monkeypatch.setenv("NODEXFER_LINGER", "300")


@contextmanager
def idle(user: Config, box: Box) -> Iterator[Script]:
    """A job whose transfer is over, and whose endpoint lingers."""
    (box.site / "a").write_bytes(b"data")
    with script("1") as made:
        made.acquire()
        made.must("stage-in site:/a $NODEXFER_SCRATCH/")
        ready(user, made.job.key)
        yield made


def test_an_idle_endpoint_is_given_back_when_another_node_waits(user: Config, box: Box) -> None:
    make_pool()
    with idle(user, box) as one:
        old = keeper(user, "1")
        with Queue(user.home_paths.pool(user.pool), ELSEWHERE) as queue:
            queue.join()
            assert "job 7 on elsewhere waits for an endpoint" in one.must("status")
            eventually(lambda: _gave_back(user, queue))
        assert old.alive, "the job still holds"
        one.must("stage-in --overwrite site:/a $NODEXFER_SCRATCH/")
        one.must("release")
    assert quiet(user)


def _gave_back(user: Config, queue: Queue) -> bool:
    queue.join()
    assert held(user) == []
    assert endpoint.read(user.node_paths) is None
    return True


def test_an_endpoint_in_use_is_not_given_back_however_many_wait(user: Config, box: Box) -> None:
    make_pool()
    with script("1") as one:
        one.acquire("--endpoint")
        since = ready(user).since
        with Queue(user.home_paths.pool(user.pool), ELSEWHERE) as queue:
            for _ in range(40):
                queue.join()
                one.run("sleep 0.2")
        assert ready(user).since == since
        one.must("release")


# -- places of one node


def second_place(user: Config) -> tuple[Config, dict[str, str]]:
    """Another place of this node, as a job with a /tmp of its own has; and what leads there."""
    directory = Path(user.node_dir).parent.parent / "second"
    directory.mkdir()
    return place(node_dir=f"{directory}/nodexfer"), {"NODEXFER_NODE_DIR": f"{directory}/nodexfer"}


def test_places_of_a_node_take_turns_and_never_have_two_gcp(user: Config, box: Box) -> None:
    make_pool(2)
    other, environ = second_place(user)
    with idle(user, box) as one, script("2", environ) as two:
        two.acquire()
        for _ in range(2):
            two.must("stage-in --overwrite site:/a $NODEXFER_SCRATCH/")
            assert endpoint.read(user.node_paths) is None, "it gave way"
            one.must("stage-in --overwrite site:/a $NODEXFER_SCRATCH/")
            assert endpoint.read(other.node_paths) is None, "it gave way in turn"
        assert set(box.sandbox.status()["gcp"]["user_live_max"].values()) == {1}
        two.must("release")
        one.must("release")
    assert quiet(user)
    assert not os.path.exists(user.home_paths.turns(boot_id()))


def test_a_place_that_waits_for_its_turn_says_for_whom_and_holds_no_endpoint(user: Config, box: Box) -> None:
    make_pool(2)
    other, environ = second_place(user)
    with script("1") as one, script("2", environ) as two:
        one.acquire("--endpoint")
        ready(user, one.job.key)
        two.acquire()
        two.run(f"{_nodexfer()} stage-in site:/a $NODEXFER_SCRATCH/ >/dev/null 2>&1 &")
        eventually(lambda: "Another place of this node has its turn: job 1" in _waits(other).message)
        assert len(held(user)) == 1
        assert "waits for this host's turn" in two.must("status")
        assert [row["job"] for row in told("status")["pool"]["turns"]] == ["2"]
        two.kill()
        one.must("release")
    eventually(lambda: quiet(user))


def _waits(config: Config) -> endpoint.Endpoint:
    found = leader(config)
    assert found.state == endpoint.WAITING
    return found


def _nodexfer() -> str:
    import sys

    return f"'{sys.executable}' -m nodexfer"


# -- a GCP that somebody started by hand


def test_a_gcp_started_by_hand_is_waited_for_before_an_endpoint_is_taken(
    user: Config, box: Box, make_gcp: Callable[[], Gcp]
) -> None:
    foreign = make_gcp()
    make_pool()
    (box.site / "a").write_bytes(b"data")
    with script("1") as one:
        one.acquire()
        refused, text = one.run(f"{_nodexfer()} stage-in --wait-endpoint 0 site:/a $NODEXFER_SCRATCH/ 2>&1")
        assert refused == 35, text
        assert "neither joined nor stopped" in " ".join(text.split())
        one.run(f"{_nodexfer()} stage-in site:/a $NODEXFER_SCRATCH/ >/dev/null 2>&1 &")
        assert "started by hand" not in eventually(lambda: _waits(user)).message
        assert held(user) == []
        assert foreign.process.poll() is None
        foreign.stop()
        code, _ = one.run("wait && cmp $NODEXFER_SCRATCH/a " + str(box.site / "a"))
        assert code == 0
        one.must("release")
    assert quiet(user)


@contextmanager
def overtaken(user: Config, number: str, make_gcp: Callable[[], Gcp]) -> Iterator[None]:
    """A leader is killed, and before its job has another a GCP that somebody started by hand has the address."""
    kill(keeper(user, number))
    eventually(lambda: not any(parts(user)[kind] for kind in ("desk", "guard", "gcp")))
    foreign = make_gcp()
    hold.ensure_keeper(user, job(number))
    eventually(lambda: _waits(user))
    yield
    foreign.stop()


def test_a_place_that_finds_its_turn_lost_gives_its_endpoint_back_while_it_waits(
    user: Config, box: Box, make_gcp: Callable[[], Gcp]
) -> None:
    make_pool()
    with script("1") as one:
        one.acquire("--endpoint")
        first = ready(user)
        assert held(user) == [first.lease]
        with overtaken(user, "1", make_gcp):
            eventually(lambda: held(user) == [])
            assert "neither joined nor stopped" in eventually(lambda: _waits(user)).message
        assert ready(user).lease == 2
        one.must("release")
    assert quiet(user)


def test_a_place_that_finds_its_turn_lost_keeps_the_endpoint_on_which_a_task_is_under_way(
    user: Config, box: Box, make_gcp: Callable[[], Gcp]
) -> None:
    make_pool()
    (box.site / "a").write_bytes(os.urandom(2_000_000))
    with script("1") as one:
        one.acquire("--endpoint")
        first = ready(user)
        box.sandbox.fault("slow", bytes_per_second=20_000)
        stage = procs.spawn(
            [*NODEXFER, "stage-in", "site:/a", f"{user.node_paths.scratch(job('1').key)}/"],
            environ={**os.environ, "NODEXFER_JOB_ID": "1"},
        )
        eventually(lambda: any(row["task"] for row in tasks(user.node_paths)))
        procs.signal(ProcessId.of(stage.pid), signal.SIGSTOP)  # or it would start a keeper at once
        with overtaken(user, "1", make_gcp):
            assert held(user) == [first.lease]
            procs.signal(ProcessId.of(stage.pid), signal.SIGCONT)
            box.sandbox.clear()
        assert stage.wait(40.0) == 0
        assert ready(user).lease == first.lease
        assert sum(box.sandbox.status()["tasks"].values()) == 1, "the task was submitted again"
        one.must("release")
    assert quiet(user)


# -- places with a /tmp of their own

needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare(1)")


@contextmanager
def node(number: str, tmp: Path, name: str | None = None) -> Iterator[Script]:
    """A job with a file system of its own at ``tmp``; with ``name`` on a host of that name as well."""
    tmp.mkdir(exist_ok=True)
    before = f"mount -t tmpfs none '{tmp}'" + (f" && hostname '{name}'" if name else "")
    unshare = ["unshare", "--mount", *(["--uts"] if name else []), "sh", "-c", f'{before} && exec "$0"']
    with script(number, {"NODEXFER_NODE_DIR": f"{tmp}/nodexfer"}, unshare) as made:
        yield made


def inside(one: Script) -> list[ProcessId]:
    """All processes in the mount namespace of a job."""
    wanted = os.readlink(f"/proc/{one.process.pid}/ns/mnt")
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/ns/mnt") == wanted:
                found.append(ProcessId.of(int(name)))
        except OSError:
            continue
    return found


@pytest.mark.root
@needs_root
def test_jobs_with_a_private_tmp_take_turns_and_each_gets_its_own(user: Config, box: Box, tmp_path: Path) -> None:
    """One endpoint, one path, two directories behind it."""
    make_pool()
    for number in ("1", "2"):
        (box.site / number).write_text(f"of job {number}")
    with node("1", tmp_path / "tmp") as one, node("2", tmp_path / "tmp") as two:
        for made, number in ((one, "1"), (two, "2"), (one, "1")):
            made.acquire()
            made.must(f"stage-in --overwrite site:/{number} {tmp_path}/tmp/in")
            code, text = made.run(f"cat {tmp_path}/tmp/in && echo from {number} > {tmp_path}/tmp/out")
            assert (code, text) == (0, f"of job {number}")
            made.must(f"stage-out --overwrite {tmp_path}/tmp/out site:/out-{number}")
        assert [(box.site / f"out-{number}").read_text() for number in "12"] == ["from 1\n", "from 2\n"]
        assert set(box.sandbox.status()["gcp"]["user_live_max"].values()) == {1}
        for made in (one, two):
            made.kill()
    eventually(lambda: not parts(user)["keeper"])


@pytest.mark.root
@needs_root
def test_a_job_whose_root_is_another_directory_than_the_leaders_gets_and_sends_nothing_of_it(
    user: Config, box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One place and one leader, and a further root of which this job has its own."""
    make_pool()
    (box.site / "a").write_text("data")
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").write_text("the leader's")
    monkeypatch.setenv("NODEXFER_ROOTS", f"{os.path.dirname(user.node_dir)}:{root}")
    unshare = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none '{root}' && exec \"$0\""]
    with script("1") as one, script("2", prefix=unshare) as two:
        one.acquire("--endpoint")
        assert str(root) in ready(user, one.job.key).exchanges
        two.acquire()
        two.must(f"stage-in site:/a {root}/in")
        assert two.run(f"cat {root}/in && echo mine > {root}/out") == (0, "data")
        code, text = two.run(f"{_nodexfer()} stage-out {root}/out site:/out 2>&1")
        assert code == 36, text
        assert f"sees another {root} than this job does" in " ".join(text.split())
        assert not (box.site / "out").exists()
        one.must(f"stage-out {root}/out site:/out")
        assert (box.site / "out").read_text() == "the leader's"
        assert not (root / "in").exists()
        two.must("release")
        two.end()
        one.must("release")
    assert quiet(user)


@pytest.mark.root
@needs_root
def test_a_gcp_of_another_mount_namespace_is_seen_and_waited_for(user: Config, box: Box, tmp_path: Path) -> None:
    make_pool()
    with running_gcp(box, tmp_path / "gcp") as foreign, node("1", tmp_path / "tmp") as one:
        one.acquire()
        code, text = one.run(f"{_nodexfer()} stage-in --wait-endpoint 0 site:/a {tmp_path}/tmp/ 2>&1")
        assert code == 35, text
        assert foreign.process.poll() is None
        one.must("release")
    assert held(user) == []


@pytest.mark.root
@needs_root
def test_an_endpoint_leased_again_elsewhere_moves_no_byte_from_or_to_the_wrong_node(
    user: Config, box: Box, tmp_path: Path
) -> None:
    """Both nodes have the same paths; the first dies with a task on its way in each direction."""
    make_pool()
    tmp, big = tmp_path / "tmp", 6_000_000
    (box.site / "first").write_bytes(b"1" * big)
    (box.site / "second").write_bytes(b"2" * big)
    with node("1", tmp, "node-a") as one:
        one.acquire("--endpoint")
        code, _ = one.run(f"head -c {big} /dev/zero | tr '\\0' a > {tmp}/out")
        assert code == 0
        box.sandbox.fault("slow", bytes_per_second=200_000)
        one.run(f"{_nodexfer()} stage-in site:/first {tmp}/in >/dev/null 2>&1 &")
        one.run(f"{_nodexfer()} stage-out {tmp}/out site:/out-first >/dev/null 2>&1 &")
        eventually(lambda: box.sandbox.status()["tasks"]["ACTIVE"] == 2, 30.0)
        for process in set(inside(one)) - {one.process}:
            procs.signal(process, signal.SIGKILL)
        one.kill()
    [lease] = [top for top in tops(user) if not top.released]
    assert lease.host == "node-a"
    # What a waiter does itself once the node is proven dead, or the service has not seen it for a minute.
    leases.give_back(lease)
    with node("2", tmp, "node-b") as two:
        two.acquire("--endpoint")
        assert box.sandbox.status()["tasks"]["ACTIVE"] == 0, "no task of the first node may find an endpoint"
        box.sandbox.clear()
        code, _ = two.run(f"head -c {big} /dev/zero | tr '\\0' b > {tmp}/out")
        assert code == 0
        two.must(f"stage-in site:/second {tmp}/in")
        two.must(f"stage-out {tmp}/out site:/out-second")
        code, text = two.run(f"cmp {tmp}/in '{box.site / 'second'}' && grep -rlE '1{{50}}|a{{50}}' {tmp}")
        assert (code, text) == (1, ""), "something of the first node is on the second"
        assert [top.number for top in tops(user)] == [lease.number + 1]
        two.must("release")
    assert (box.site / "out-second").read_bytes() == b"b" * big
    assert not (box.site / "out-first").exists()
    assert b"b" not in b"".join(path.read_bytes() for path in box.site.iterdir() if path.name.startswith("."))
    assert set(box.sandbox.status()["gcp"]["user_live_max"].values()) == {1}


# -- the shared file system stalls


@contextmanager
def stalled(directory: str) -> Iterator[None]:
    """Every write to the file system at ``directory`` waits until the end."""
    procs.run(["fsfreeze", "--freeze", directory], timeout=20)
    try:
        yield
    finally:
        procs.run(["fsfreeze", "--unfreeze", directory], timeout=20)


@contextmanager
def file_system(directory: Path, tmp_path: Path) -> Iterator[str]:
    """One of its own, at ``directory``."""
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(64 * 1024 * 1024)
    for argv in (["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(directory)]):
        done = procs.run(argv, timeout=30)
        if done.code != 0:
            pytest.skip(f"needs a loop device: {done.err}")
    try:
        yield str(directory)
    finally:
        eventually(lambda: procs.run(["umount", str(directory)], timeout=20).code == 0, 20.0, every=0.2)


@pytest.mark.root
@needs_root
@pytest.mark.skipif(not shutil.which("fsfreeze") or not shutil.which("mkfs.ext4"), reason="needs fsfreeze(8)")
def test_gcp_is_stopped_in_time_when_the_shared_file_system_stalls_and_comes_back_with_it(
    user: Config, box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader can not renew, so another node may come to think that it is dead: no GCP may be up by then."""
    lease = 9.0
    monkeypatch.setenv("NODEXFER_LEASE", str(lease))
    make_pool()
    pool = Path(user.home_paths.pools)
    shutil.copytree(pool, tmp_path / "pool")
    with file_system(pool, tmp_path) as mounted:
        shutil.copytree(tmp_path / "pool", mounted, dirs_exist_ok=True)
        with script("1") as one:
            one.acquire("--endpoint")
            first = ready(user)
            gcp = parts(user)["gcp"]
            with stalled(mounted):
                eventually(lambda: not any(process.alive for process in gcp), lease * 2 / 3 + 5.0)
                assert keeper(user, "1").alive
            second = eventually(lambda: _ready_after(user, first.ready_at), 30.0)
            assert (second.endpoint_id, second.lease) == (first.endpoint_id, first.lease)
            assert set(box.sandbox.status()["gcp"]["user_live_max"].values()) == {1}
            one.must("release")
        shutil.copytree(mounted, tmp_path / "after", dirs_exist_ok=True)
    shutil.rmtree(pool)
    shutil.copytree(tmp_path / "after", pool)
    assert quiet(user)


def _ready_after(config: Config, before: float | None) -> endpoint.Endpoint:
    found = ready(config)
    assert found.ready_at is not None
    assert before is not None
    assert found.ready_at > before
    return found
