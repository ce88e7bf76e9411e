"""A term of a leader: the endpoint comes with work, is mended, is given up in words, and goes without a trace."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.config import Config
from nodexfer.identity import ProcessId
from nodexfer.node import endpoint, hold
from nodexfer.node import ready as waiting
from nodexfer.pool import lease as leases
from tests.support import eventually
from tests.support.holding import NODEXFER, is_cleared, job, keeper, kill, nodexfer, remove, script, stop
from tests.support.leading import held, leader, make_pool, one_of, parts, quiet, ready, tops, user
from tests.support.sandbox import Box, Gcp

__all__ = ["user"]


def test_work_brings_the_endpoint_up_and_rest_takes_it_down(user: Config, box: Box) -> None:
    make_pool()
    (box.site / "a").write_bytes(b"data")
    with script("1") as one:
        one.acquire()
        one.must("stage-in site:/a $NODEXFER_SCRATCH/")
        assert Path(user.node_paths.scratch(job().key), "a").read_bytes() == b"data"
        assert [top.number for top in tops(user)] == [1]
        eventually(lambda: held(user) == [] and endpoint.read(user.node_paths) is None)
        eventually(lambda: [kind for kind, found in parts(user).items() if found] == ["keeper"])
        assert not os.path.exists(f"{user.node_dir}/exchange/1")
        one.must("stage-out $NODEXFER_SCRATCH/a site:/b")
        assert [top.number for top in tops(user)] == [2]
        one.must("release")
    assert (box.site / "b").read_bytes() == b"data"
    assert is_cleared(user)
    assert quiet(user)


def test_a_hold_that_wants_the_endpoint_keeps_it_up(user: Config, box: Box) -> None:
    make_pool()
    with script("1") as one:
        one.acquire("--endpoint")
        found = ready(user)
        code, root = one.run("echo $NODEXFER_ENDPOINT_ID $NODEXFER_ROOT && ls -d $NODEXFER_ROOT")
        assert (code, root.split()[0]) == (0, found.endpoint_id)
        since = found.ready_at
        procs.run(["sleep", str(3 * user.linger)], timeout=30)
        assert ready(user).ready_at == since
        one.must("release")
    assert is_cleared(user)
    assert quiet(user)


def test_all_are_found_in_the_jobs_session_desk_and_guard_in_groups_of_their_own(user: Config, box: Box) -> None:
    make_pool()
    with script("1") as one:
        one.acquire("--endpoint")
        for kind in ("keeper", "desk", "guard"):
            assert os.getsid(one_of(user, kind).pid) == one.process.pid
        assert os.getpgid(one_of(user, "keeper").pid) == one.process.pid
        for kind in ("desk", "guard"):
            assert os.getpgid(one_of(user, kind).pid) == one_of(user, kind).pid
        one.must("release")


def test_a_scheduler_that_kills_the_jobs_session_leaves_nothing_of_us(user: Config, box: Box) -> None:
    """As PBS does without cgroups: SIGKILL to each process of the session, whoever its parent is by then."""
    make_pool()
    with script("1") as one:
        one.acquire("--endpoint")
        ours = [process for found in parts(user).values() for process in found]
        assert {os.getsid(process.pid) for process in ours} == {one.process.pid}
        assert keeper(user).pid in [process.pid for process in ours]
        assert procs.parents_now()[keeper(user).pid] != one.process.pid, "it is nobody's child, and is found"
        for process in ours:
            procs.signal(process, signal.SIGKILL)
        one.kill()
    eventually(lambda: not any(parts(user).values()))


def test_gcp_and_desk_inherit_no_lock(user: Config, box: Box) -> None:
    make_pool()
    with script("1") as one:
        one.acquire("--endpoint")
        found = parts(user)
        for process in [*found["desk"], *found["gcp"]]:
            for path in Path(f"/proc/{process.pid}/fd").iterdir():
                target = os.readlink(path)
                assert target != user.node_dir
                assert "/keepers/" not in target
                assert not target.endswith(("registry.lock", "guard.lock"))
        one.must("release")


# -- mending


def test_gcp_that_dies_is_started_again_once_and_then_given_up_in_words(user: Config, box: Box) -> None:
    make_pool()
    with script("1") as one:
        one.acquire("--endpoint")
        first = ready(user)
        code, data = one.run("echo mine > $NODEXFER_ROOT/data && echo $NODEXFER_ROOT/data")
        assert code == 0, data
        for process in parts(user)["gcp"]:
            kill(process)
        again = eventually(lambda: _ready_later(user, first.ready_at))
        assert again.lease == first.lease
        assert again.endpoint_id == first.endpoint_id
        for process in parts(user)["gcp"]:
            kill(process)
        eventually(lambda: held(user) == [])
        failed = eventually(Path(f"{user.node_paths.keeper(job().key)}.failed").read_text)
        assert "lost, mended, and lost again: GCP has ended" in failed
        assert Path(data.strip()).read_text() == "mine\n", "the job lives, and works on what it has"
        one.must("release")
    assert not os.path.exists(data.strip())
    assert is_cleared(user)


@pytest.mark.slow
@pytest.mark.timeout(360)
def test_what_the_service_has_lost_for_good_is_given_up_in_words_after_a_minute(user: Config, box: Box) -> None:
    """Longer on a machine that is busy; at its start, an endpoint is waited for for two minutes."""
    make_pool()
    (box.site / "a").write_bytes(os.urandom(4_000_000))
    with script("1") as one:
        one.acquire("--endpoint")
        box.sandbox.fault("slow", endpoint=ready(user).endpoint_id, bytes_per_second=40_000)
        code, _ = one.run(f"'{_python()}' -m nodexfer stage-in site:/a $NODEXFER_SCRATCH/ 2>&1 & echo started")
        assert code == 0
        eventually(lambda: [task for task in _tasks(user) if task])
        box.sandbox.fault("disconnect")
        failed = eventually(Path(f"{user.node_paths.keeper(job().key)}.failed").read_text, 240.0)
        assert "did not become ready within 35 s" in failed
        code, text = one.run("wait $!")
        assert code == 36, text
        one.must("release")
    box.sandbox.clear()


@pytest.mark.slow
def test_what_a_leader_gave_up_is_ended_by_the_last_keeper_before_it_goes(user: Config, box: Box) -> None:
    """Nobody may come after it for days, and until then Globus would go on trying."""
    make_pool()
    (box.site / "a").write_bytes(os.urandom(4_000_000))
    box.sandbox.fault("slow", bytes_per_second=20_000)
    with script("1") as one:
        one.acquire()
        stage = procs.spawn(
            [*NODEXFER, "stage-in", "site:/a", f"{user.node_paths.scratch(job().key)}/"],
            environ={**os.environ, "NODEXFER_JOB_ID": "1"},
        )
        eventually(lambda: [task for task in _tasks(user) if task])
        first = ready(user)
        for process in parts(user)["gcp"]:
            kill(process)
        eventually(lambda: _ready_later(user, first.ready_at))
        for process in parts(user)["gcp"]:
            kill(process)
        assert stage.wait(60.0) == 36
        eventually(lambda: held(user) == [])
        assert box.sandbox.status()["tasks"]["ACTIVE"] == 1
        one.must("release")
        assert box.sandbox.status()["tasks"]["ACTIVE"] == 0
    assert is_cleared(user)
    assert quiet(user)


def _ready_later(config: Config, before: float | None) -> endpoint.Endpoint:
    found = ready(config)
    assert found.ready_at is not None
    assert before is not None
    assert found.ready_at > before
    return found


def test_a_desk_that_dies_is_replaced_while_gcp_runs_on(user: Config, box: Box) -> None:
    make_pool()
    with script("1") as one:
        one.acquire("--endpoint")
        first = ready(user)
        gcp = parts(user)["gcp"]
        kill(one_of(user, "desk"))
        eventually(lambda: _ready_later(user, first.ready_at))
        assert parts(user)["gcp"] == gcp
        one.must("release")


@pytest.mark.slow
def test_a_desk_that_is_stopped_alone_is_ended_and_the_next_one_follows_its_task(user: Config, box: Box) -> None:
    make_pool()
    data = os.urandom(4_000_000)
    (box.site / "a").write_bytes(data)
    box.sandbox.fault("slow", bytes_per_second=40_000)
    with script("1") as one:
        one.acquire()
        code, _ = one.run(f"'{_python()}' -m nodexfer stage-in site:/a $NODEXFER_SCRATCH/ 2>&1 & echo started")
        assert code == 0
        [task] = eventually(lambda: [task for task in _tasks(user) if task])
        gcp, old = parts(user)["gcp"], one_of(user, "desk")
        stop(old)
        eventually(lambda: not old.alive, 60.0)
        eventually(lambda: parts(user)["desk"], 60.0)
        assert [task] == _tasks(user)
        box.sandbox.clear()
        code, text = one.run("wait")
        assert code == 0, text
        assert Path(user.node_paths.scratch(job().key), "a").read_bytes() == data
        assert parts(user)["gcp"] == gcp
        assert box.sandbox.status()["tasks"]["SUCCEEDED"] == 1
        one.must("release")
    assert quiet(user)


def test_a_guard_that_is_killed_in_a_transfer_costs_the_transfer_nothing(user: Config, box: Box) -> None:
    make_pool()
    data = os.urandom(4_000_000)
    (box.site / "a").write_bytes(data)
    with script("1") as one:
        one.acquire("--endpoint")
        box.sandbox.fault("slow", endpoint=ready(user).endpoint_id, bytes_per_second=40_000)
        code, _ = one.run(f"'{_python()}' -m nodexfer stage-in site:/a $NODEXFER_SCRATCH/ 2>&1 & echo started")
        assert code == 0
        eventually(lambda: [task for task in _tasks(user) if task])
        kill(one_of(user, "guard"))
        box.sandbox.clear()
        code, text = one.run("wait")
        assert code == 0, text
        assert Path(user.node_paths.scratch(job().key), "a").read_bytes() == data
        one.must("release")
    assert quiet(user)


def _python() -> str:
    import sys

    return sys.executable


def _tasks(config: Config) -> list[object]:
    from nodexfer.node.status import tasks

    return [row["task"] for row in tasks(config.node_paths)]


# -- the lease


def test_a_lease_taken_by_another_place_stops_gcp_and_another_entry_is_used(
    user: Config, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODEXFER_LEASE", "9")
    make_pool(2)
    with script("1") as one:
        one.acquire("--endpoint")
        first = ready(user)
        [ours] = [top for top in tops(user) if not top.released]
        other = leases.Me("slurm", "c", "elsewhere", "boot", "place", "/tmp/x", "7", 0)
        assert leases.take(ours.directory, ours.number + 1, other, ours.endpoint_id, 300.0) is not None
        second = eventually(lambda: _ready_elsewhere(user, first.entry))
        assert second.endpoint_id != first.endpoint_id
        assert len(parts(user)["guard"]) == 1
        [theirs] = [top for top in tops(user) if top.host == "elsewhere"]
        assert not theirs.released
        one.must("release")


def _ready_elsewhere(config: Config, entry: str | None) -> endpoint.Endpoint:
    found = leader(config)
    assert found.ready
    assert found.entry != entry
    return found


def test_the_lease_is_renewed_while_the_endpoint_is_up(user: Config, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODEXFER_LEASE", "8")
    make_pool()
    with script("1") as one:
        one.acquire("--endpoint")
        [first] = tops(user)
        eventually(lambda: tops(user)[0].renewed_ns > first.renewed_ns)
        gcp = parts(user)["gcp"]
        procs.run(["sleep", "9"], timeout=30)
        assert parts(user)["gcp"] == gcp, "longer than the lease"
        one.must("release")


# -- the place


def test_a_node_dir_that_is_removed_takes_gcp_down_and_frees_the_lease(user: Config, box: Box) -> None:
    make_pool()
    with script("1") as one:
        one.acquire("--endpoint")
        ready(user)
        remove(user.node_dir)
        eventually(lambda: quiet(user))


def test_a_new_place_after_a_removal_never_has_a_second_gcp_beside_the_first(user: Config, box: Box) -> None:
    make_pool(2)
    with script("1") as one:
        one.acquire("--endpoint")
        first = ready(user)
        remove(user.node_dir)
        one.acquire("--endpoint")
        second = ready(user)
        assert second.since > first.since
        assert len(parts(user)["guard"]) == 1
        assert max(box.sandbox.status()["gcp"]["user_live_max"].values()) == 1
        one.must("release")
    eventually(lambda: quiet(user))


# -- what can not be had


@pytest.mark.parametrize("command", ["acquire --endpoint", "stage-in site:/a $NODEXFER_SCRATCH/"])
def test_no_pool_is_said_at_once(user: Config, box: Box, command: str) -> None:
    (box.site / "a").touch()
    with script("1") as one:
        one.acquire()
        code, text = one.run(f"'{_python()}' -m nodexfer {command}")
        assert code == 31, text
        assert "nodexfer pool create" in text
        one.must("release")
    assert is_cleared(user)


def test_no_gcp_is_said_at_once(user: Config, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pool()
    monkeypatch.setenv("NODEXFER_GCP", "/nonexistent/gcp")
    done = nodexfer("acquire", "--endpoint")
    assert done.code == 30, done
    assert done.out.strip() == "(exit 30)"
    assert quiet(user)


def test_no_token_is_said_at_once(user: Config, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pool()
    monkeypatch.delenv("NODEXFER_CLIENT_SECRET")
    monkeypatch.delenv("NODEXFER_CLIENT_ID")
    done = nodexfer("acquire", "--endpoint")
    assert done.code == 40, done
    assert quiet(user)


def test_an_exhausted_pool_is_waited_for_and_refused_to_who_does_not_wait(user: Config, box: Box) -> None:
    make_pool()
    [entry] = Path(user.home_paths.pool(user.pool)).glob("p*")
    other = leases.Me("slurm", "c", "elsewhere", "boot", "place", "/tmp/x", "7", 0)
    theirs = leases.take(str(entry), 1, other, (entry / "record.json").read_text().split('endpoint_id":"')[1][:36], 300)
    assert theirs is not None
    refused = nodexfer("acquire", "--endpoint", "--wait-endpoint", "0")
    assert refused.code == 33, refused
    assert "job 7 on elsewhere" in refused.err
    with script("1") as one:
        one.acquire()
        taken = hold.take(user, job("1"), procs.this(), endpoint=True)
        eventually(lambda: leader(user).state == endpoint.WAITING)
        assert "elsewhere" in leader(user).message
        leases.give_back(theirs)
        assert ready(user).lease == 2
        hold.release(user, taken.id)
        one.must("release")
    assert quiet(user)


@pytest.mark.slow
def test_a_desk_that_is_killed_while_the_pool_is_waited_for_is_replaced_and_fails_nobody(
    user: Config, box: Box
) -> None:
    make_pool()
    [entry] = Path(user.home_paths.pool(user.pool)).glob("p*")
    other = leases.Me("slurm", "c", "elsewhere", "boot", "place", "/tmp/x", "7", 0)
    theirs = leases.take(str(entry), 1, other, (entry / "record.json").read_text().split('endpoint_id":"')[1][:36], 300)
    assert theirs is not None
    with script("1") as one:
        one.acquire()
        taken = hold.take(user, job("1"), procs.this(), endpoint=True)
        eventually(lambda: leader(user).state == endpoint.WAITING)
        old = one_of(user, "desk")
        kill(old)
        assert one_of_others(user, old).alive, "while the pool is waited for"
        assert leader(user).state == endpoint.WAITING
        leases.give_back(theirs)
        assert ready(user).lease == 2
        hold.release(user, taken.id)
        one.must("release")
    assert quiet(user)


def one_of_others(config: Config, old: ProcessId) -> ProcessId:
    """The desk that came after ``old``."""
    [found] = eventually(lambda: [desk for desk in parts(config)["desk"] if desk != old])
    return found


def test_another_gcp_of_this_user_is_waited_for_and_never_stopped(
    user: Config, box: Box, make_gcp: Callable[[], Gcp]
) -> None:
    foreign = make_gcp()
    make_pool()
    done = nodexfer("acquire", "--endpoint", "--wait-endpoint", "0")
    assert done.code == 35, done
    assert foreign.process.poll() is None
    taken = hold.take(user, job(), procs.this(), endpoint=True)
    eventually(lambda: leader(user).state == endpoint.WAITING)
    assert foreign.process.poll() is None
    foreign.stop()
    found = waiting.wait(user, job(), taken, None, waiting.end_of_job(user, job(), {}))
    assert found.ready
    hold.release(user, taken.id)
    assert quiet(user)


def test_a_gcp_that_never_becomes_usable_is_given_up_in_words(
    user: Config, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pool()
    broken = Path(os.environ["HOME"], "gcp")
    broken.write_text("#!/bin/sh\necho 'it does not like this node'\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setenv("NODEXFER_GCP", str(broken))
    done = nodexfer("acquire", "--endpoint")
    assert done.code == 36, done
    assert "it does not like this node" in done.err
    assert quiet(user)
