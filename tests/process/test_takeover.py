"""Whoever leads may die in any way: the next goes on under the same lease, with nothing left of the first."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.config import Config
from nodexfer.node import endpoint
from tests.support import eventually
from tests.support.holding import Script, is_cleared, job, keeper, kill, nodexfer, script, stop
from tests.support.leading import held, is_ready, leader, make_pool, one_of, parts, quiet, ready, user
from tests.support.sandbox import Box

__all__ = ["user"]


@pytest.fixture
def one(user: Config, box: Box) -> Iterator[Script]:
    """The job that leads."""
    make_pool(2)
    with script("1") as made:
        made.acquire("--endpoint")
        yield made


@pytest.fixture
def two(one: Script) -> Iterator[Script]:
    """Another job, with work: its keeper waits for the lock."""
    with script("2") as made:
        made.acquire("--endpoint")
        yield made


def test_the_leaders_keeper_is_killed(user: Config, one: Script, two: Script) -> None:
    first = ready(user, one.job.key)
    old = parts(user)
    kill(keeper(user, "1"))
    second = ready(user, two.job.key)
    assert (second.endpoint_id, second.lease) == (first.endpoint_id, first.lease)
    assert held(user) == [first.lease]
    new = parts(user)
    for kind in ("desk", "guard", "gcp"):
        assert not set(old[kind]) & set(new[kind]), f"{kind} of the killed leader still runs"
    assert len(new["desk"]) == len(new["guard"]) == 1
    # The job whose keeper was killed still holds, and its next command has a keeper again.
    one.must("release")
    two.must("release")
    assert is_cleared(user)
    assert quiet(user)


def test_the_leaders_whole_job_is_killed(user: Config, one: Script, two: Script) -> None:
    first = ready(user, one.job.key)
    one.kill()
    second = ready(user, two.job.key)
    assert (second.endpoint_id, second.lease) == (first.endpoint_id, first.lease)
    two.must("release")
    assert is_cleared(user)
    assert quiet(user)


def test_leader_and_guard_are_killed_together(user: Config, one: Script, two: Script) -> None:
    first = ready(user, one.job.key)
    guard = one_of(user, "guard")
    gcp = parts(user)["gcp"]
    procs.signal(guard, signal.SIGKILL)
    kill(keeper(user, "1"))
    second = ready(user, two.job.key)
    assert second.lease == first.lease
    assert not any(process.alive for process in gcp)
    two.must("release")
    one.must("release")
    assert quiet(user)


def test_the_desk_is_suspended_when_its_leader_is_killed(user: Config, one: Script, two: Script) -> None:
    """A stopped process takes no other signal but SIGKILL, which is what the kernel sends it."""
    ready(user, one.job.key)
    desk = one_of(user, "desk")
    stop(desk)
    kill(keeper(user, "1"))
    ready(user, two.job.key)
    assert not desk.alive
    one.must("release")
    two.must("release")


def test_the_leaders_job_ends_in_good_order(user: Config, one: Script, two: Script) -> None:
    first = ready(user, one.job.key)
    one.must("release")
    assert keeper(user, "2").alive
    second = ready(user, two.job.key)
    assert (second.endpoint_id, second.lease) == (first.endpoint_id, first.lease)
    two.must("release")
    assert is_cleared(user)
    assert quiet(user)


def test_a_leader_that_is_told_to_go_hands_over_and_keeps_its_jobs_holds(
    user: Config, one: Script, two: Script
) -> None:
    entry = ready(user, one.job.key).entry
    [working] = Path(user.node_dir).glob("gcp-*")
    (working / "lta/renewed").write_text("by GCP")
    old = keeper(user, "1")
    procs.signal(old, signal.SIGTERM)
    ready(user, two.job.key)
    assert old.alive
    assert Path(user.home_paths.pool(user.pool), f"{entry}/config/lta/renewed").read_text() == "by GCP"
    two.must("release")
    ready(user, one.job.key)
    one.must("release")
    assert quiet(user)


def test_many_jobs_one_after_the_other(user: Config, one: Script) -> None:
    jobs = [one]
    for number in ("2", "3", "4"):
        made = Script(number)
        made.acquire("--endpoint")
        jobs.append(made)
    lease = ready(user).lease
    for _ in range(3):
        leads = ready(user).keeper
        [victim] = [found for found in jobs if found.job.key == leads]
        victim.kill()
        jobs.remove(victim)
        eventually(lambda: is_ready(user).keeper != leads)  # noqa: B023 it is looked at before the next round
        assert ready(user).lease == lease
        assert len(parts(user)["guard"]) == 1
    [last] = jobs
    last.must("release")
    last.end()
    assert is_cleared(user)
    assert quiet(user)


def test_what_a_killed_leader_had_is_given_back_by_a_keeper_without_work(user: Config, one: Script) -> None:
    with script("2") as two:
        two.acquire()
        ready(user, one.job.key)
        one.kill()
        eventually(lambda: held(user) == [])
        eventually(lambda: endpoint.read(user.node_paths) is None)
        assert not any(parts(user)[kind] for kind in ("desk", "guard", "gcp"))
        assert keeper(user, "2").alive
        two.must("release")
    assert is_cleared(user)


def test_what_a_killed_leader_had_is_given_back_by_the_last_one_at_its_end(user: Config, one: Script) -> None:
    with script("2") as two:
        two.acquire()
        ready(user, one.job.key)
        one.kill()
        two.must("release")
    assert held(user) == []
    assert is_cleared(user)


def test_what_a_leader_had_that_is_killed_while_it_gives_back_is_given_back_by_the_release_that_waits_for_it(
    user: Config, one: Script
) -> None:
    """It was the last one of its place: nobody else would come."""
    ready(user, one.job.key)
    for process in parts(user)["gcp"]:
        stop(process)  # so that its end takes seconds
    with ThreadPoolExecutor(1) as pool:
        released = pool.submit(one.must, "release")
        eventually(lambda: leader(user).state == endpoint.STOPPING)
        kill(keeper(user, "1"))
        released.result(60)
    assert held(user) == []
    assert is_cleared(user)
    assert quiet(user)


def test_what_a_killed_leader_had_is_taken_up_by_the_next_job_of_the_place(user: Config, one: Script) -> None:
    first = ready(user, one.job.key)
    one.kill()
    eventually(lambda: not any(parts(user).values()))
    assert held(user) == [first.lease], "nobody is left to give it back"
    with script("2") as two:
        two.acquire("--endpoint")
        second = ready(user, two.job.key)
        assert second.entry == first.entry
        two.must("release")
    assert is_cleared(user)
    assert quiet(user)


def test_a_leader_that_is_suspended_is_named_while_nobody_waits_for_it(user: Config, one: Script) -> None:
    ready(user, one.job.key)
    frozen = keeper(user, "1")
    stop(frozen)
    os.utime(user.node_paths.endpoint, (1, 1))
    try:
        with script("2") as two:
            two.acquire()
            found = leader(user)
            assert found.keeper == one.job.key
            text = two.must("status")
            assert "silent" in text
            two.must("release")
    finally:
        procs.signal(frozen, signal.SIGCONT)
    ready(user, one.job.key)
    one.must("release")
    assert quiet(user)


def test_a_transfer_goes_on_when_its_leader_is_killed(user: Config, one: Script, box: Box) -> None:
    """The request is job 2's, the leader job 1's: nobody's transfer depends on somebody else's job."""
    data = os.urandom(3_000_000)
    (box.site / "a").write_bytes(data)
    name = ready(user, one.job.key).endpoint_id
    box.sandbox.fault("slow", endpoint=name, bytes_per_second=40_000)
    with script("2") as two:
        two.acquire()
        code, _ = two.run("true; nodexfer=1; echo > $NODEXFER_SCRATCH/started")
        assert code == 0
        stage = procs.spawn(
            [*_nodexfer(), "stage-in", "site:/a", f"{user.node_paths.scratch(job('2').key)}/"],
            environ={**os.environ, "NODEXFER_JOB_ID": "2"},
        )
        eventually(lambda: any(row["task"] for row in _tasks(user)))
        one.kill()
        box.sandbox.clear()
        assert stage.wait(40) == 0
        code, text = two.run(f"cmp $NODEXFER_SCRATCH/a '{box.site / 'a'}'")
        assert code == 0, text
        two.must("release")
    assert is_cleared(user)
    assert quiet(user)


def _nodexfer() -> list[str]:
    from tests.support.holding import NODEXFER

    return NODEXFER


def _tasks(config: Config) -> list[dict[str, object]]:
    from nodexfer.node.status import tasks

    return tasks(config.node_paths)


def test_status_knows_the_new_leader(user: Config, one: Script, two: Script) -> None:
    ready(user, one.job.key)
    kill(keeper(user, "1"))
    ready(user, two.job.key)
    done = nodexfer("status")
    assert done.code == 0, done
    assert f"led by {two.job.key}" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    one.must("release")
    two.must("release")


def test_a_leader_alone_ends_with_its_script_and_gcp_with_it(user: Config, one: Script) -> None:
    """Where the scheduler lets strays live: nobody tells the keeper but the end of the script."""
    ready(user, one.job.key)
    one.end()
    eventually(lambda: quiet(user))
    assert is_cleared(user)
