"""Silence is what was looked for and not heard, never what a clock says; who can not be ended is named."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.config import Config
from nodexfer.errors import EndpointFailed
from nodexfer.identity import ProcessId, boot_id
from nodexfer.node import endpoint, locks, registry, silence, status, threads, work
from nodexfer.paths import NodePaths
from nodexfer.scheduler import Job
from tests.support.holding import job, place
from tests.support.waiting import eventually

#: Takes the lock of the directory, says so, and goes on.
LEADER = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("led", flush=True)
time.sleep(60)
"""


@pytest.fixture
def config() -> Config:
    found = place()
    found.node_paths.make()
    Path(found.node_paths.endpoint).write_text('{"format": 1, "state": "ready", "keeper": "local-x-9.0"}')
    return found


@pytest.fixture
def paths(config: Config) -> NodePaths:
    return config.node_paths


@pytest.fixture
def leader(paths: NodePaths) -> Iterator[procs.Process]:
    """A process with the leader's lock."""
    child = procs.spawn(procs.python("-c", LEADER, paths.node_dir), stdout=procs.PIPE, new_group=True)
    assert child.stdout is not None
    assert child.stdout.readline() == b"led\n"
    try:
        yield child
    finally:
        child.kill_group()
        child.wait(5.0)
        child.close()


def card(paths: NodePaths, process: ProcessId, key: Job) -> None:
    lock = locks.open_file(paths.keeper(key.key))
    registry.write_keeper(lock, registry.Keeper(boot_id(), process, process, key, time.time()))
    os.close(lock)


# -- what silence is


def watch(paths: NodePaths) -> silence.Watch:
    return silence.Watch(paths, 30.0, 5.0)


def test_a_leader_without_a_beat_for_the_time_is_silent(paths: NodePaths, leader: procs.Process) -> None:
    seen = watch(paths)
    assert [seen.look(float(now)) is None for now in range(0, 40, 5)] == [True] * 6 + [False] * 2
    heart = seen.look(40.0)
    assert heart is not None
    assert heart.owner == leader.pid


def test_a_beat_begins_it_anew(paths: NodePaths, leader: procs.Process) -> None:
    seen = watch(paths)
    for now in range(0, 30, 5):
        assert seen.look(float(now)) is None
    endpoint.beat(paths)
    assert [seen.look(float(now)) for now in range(30, 60, 5)] == [None] * 6
    assert seen.look(60.0) is not None


def test_our_own_sleep_is_not_the_leaders_silence(paths: NodePaths, leader: procs.Process) -> None:
    seen = watch(paths)
    assert seen.look(0.0) is None
    assert seen.look(86400.0) is None
    assert seen.look(86405.0) is None


def test_a_clock_that_is_set_makes_nobody_silent(paths: NodePaths, leader: procs.Process) -> None:
    os.utime(paths.endpoint, (1, 1))
    seen = watch(paths)
    assert seen.look(0.0) is None
    assert seen.look(5.0) is None


def test_a_new_leader_is_not_blamed_for_the_one_before(paths: NodePaths, leader: procs.Process) -> None:
    """It has the lock, and has not said anything yet: the record is still the other's."""
    seen = watch(paths)
    for now in range(0, 30, 5):
        assert seen.look(float(now)) is None
    leader.kill()
    leader.wait(5.0)
    descriptor = os.open(paths.node_dir, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert [seen.look(float(now)) for now in range(30, 60, 5)] == [None] * 6
    os.close(descriptor)


def test_a_leader_that_beats_more_rarely_is_given_its_own_time(paths: NodePaths, leader: procs.Process) -> None:
    Path(paths.endpoint).write_text('{"format": 1, "state": "ready", "silence": 60.0}')
    seen = watch(paths)
    assert [seen.look(float(now)) is None for now in range(0, 70, 5)] == [True] * 12 + [False] * 2


@pytest.mark.parametrize(("configured", "given"), [(3.0, 30), (60.0, 60)])
def test_a_leader_that_closes_is_given_the_time_for_that(
    paths: NodePaths, leader: procs.Process, configured: float, given: int
) -> None:
    """It waits for GCP and for the desk to end, and uses no processor time."""
    endpoint.Notice(paths, "job", 1.0, configured).say_stopping()
    seen = silence.Watch(paths, configured, 0.5)
    looks = [seen.look(now / 2) is None for now in range(2 * given + 2)]
    assert looks == [True] * 2 * given + [False] * 2


def test_a_leader_that_was_frozen_is_given_its_time_once_more_when_it_thaws(
    paths: NodePaths, leader: procs.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is silent for long by then, and could be ended, before it has had the time to beat."""
    states = {"D"}
    monkeypatch.setattr(threads, "states", lambda _: states)
    seen = watch(paths)
    assert [seen.look(float(now)) is None for now in range(0, 100, 5)] == [True] * 6 + [False] * 14
    states = {"S"}
    assert [seen.look(float(now)) is None for now in range(100, 140, 5)] == [True] * 6 + [False] * 2


def test_a_leader_that_thaws_between_a_look_and_its_end_is_not_ended(
    paths: NodePaths, leader: procs.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(paths, ProcessId.of(leader.pid), job("9"))
    monkeypatch.setattr(threads, "states", lambda _: {"D"})
    frozen = silent(paths)
    monkeypatch.setattr(threads, "states", lambda _: {"S"})
    silence.end(paths, frozen)
    assert leader.poll() is None
    assert silence.blocked(paths) is not None


def test_where_nobody_leads_nobody_is_silent(paths: NodePaths) -> None:
    seen = watch(paths)
    assert [seen.look(float(now)) for now in range(0, 100, 5)] == [None] * 20


# -- ending it, or not


def silent(paths: NodePaths) -> silence.Heart:
    found = silence._heart(paths)
    assert found is not None
    return found


def test_a_keeper_that_has_the_lock_is_ended(paths: NodePaths, leader: procs.Process) -> None:
    card(paths, ProcessId.of(leader.pid), job("9"))
    silence.end(paths, silent(paths))
    eventually(lambda: leader.poll() is not None)
    assert not locks.taken(paths.node_dir)
    assert silence.blocked(paths) is None


def test_one_of_whose_threads_waits_for_a_disk_is_named_and_not_touched(
    paths: NodePaths, leader: procs.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that leads, say; SIGKILL would end the others at once, and keep the lock until it comes back."""
    monkeypatch.setattr(threads, "states", lambda _: {"S", "D"})
    card(paths, ProcessId.of(leader.pid), job("9"))
    silence.end(paths, silent(paths))
    assert leader.poll() is None
    found = silence.blocked(paths)
    assert found is not None
    assert f"process {leader.pid} of job {job('9').key}, which is frozen or waits for a disk" in found.message


def test_a_process_that_is_no_keeper_of_ours_is_named_and_not_touched(paths: NodePaths, leader: procs.Process) -> None:
    silence.end(paths, silent(paths))
    assert leader.poll() is None
    found = silence.blocked(paths)
    assert isinstance(found, EndpointFailed)
    assert f"process {leader.pid} of job local-x-9.0" in found.message


def test_a_number_that_was_used_again_is_not_ended(paths: NodePaths, leader: procs.Process) -> None:
    card(paths, ProcessId.of(leader.pid)._replace(start=1), job("9"))
    silence.end(paths, silent(paths))
    assert leader.poll() is None
    assert silence.blocked(paths) is not None


def test_a_keeper_of_another_pid_namespace_is_named_and_not_touched(paths: NodePaths, leader: procs.Process) -> None:
    card(paths, ProcessId.of(leader.pid)._replace(namespace=1), job("9"))
    silence.end(paths, silent(paths)._replace(owner=None))
    assert leader.poll() is None
    found = silence.blocked(paths)
    assert found is not None
    assert "another pid namespace" in found.message


def test_a_number_of_another_pid_namespace_is_not_ended(paths: NodePaths, leader: procs.Process) -> None:
    """It is the number of another process here, which happens to lead."""
    card(paths, ProcessId.of(leader.pid)._replace(namespace=1), job("9"))
    silence.end(paths, silent(paths))
    assert leader.poll() is None
    found = silence.blocked(paths)
    assert found is not None
    assert "can not be ended from here" in found.message


def test_a_leader_that_comes_back_blocks_nobody_any_more(paths: NodePaths, leader: procs.Process) -> None:
    silence.end(paths, silent(paths))
    assert silence.blocked(paths) is not None
    endpoint.beat(paths)
    assert silence.blocked(paths) is None


def test_status_says_who_blocks(config: Config, leader: procs.Process) -> None:
    silence.end(config.node_paths, silent(config.node_paths))
    assert f"process {leader.pid}" in status.gather(config)["endpoint"]["blocked"]


def test_what_is_being_moved_is_not_refused_to_the_impatient(config: Config) -> None:
    paths = config.node_paths
    for name in ("waits", "moves"):
        directory = Path(paths.request("a", name))
        directory.mkdir(parents=True)
        (directory / "request.json").write_text('{"format": 1, "created": 1, "wait_endpoint": 0, "deadline": 1e12}')
    Path(paths.request("a", "moves"), "batch.json").touch()
    work.refuse_impatient(paths, "a", EndpointFailed("It is blocked."), begun=False)
    assert Path(paths.request("a", "waits"), "result.json").exists()
    assert not Path(paths.request("a", "moves"), "result.json").exists()


def test_a_command_that_waits_shows_who_blocks_it_as_long_as_that_is_so() -> None:
    from nodexfer.staging.client import _News
    from nodexfer.staging.request import Progress

    told: list[Progress] = []
    news = _News(told.append)
    news.blocked = EndpointFailed("It is blocked by job 7.")
    news.look([])
    assert told[-1].state == "waiting: It is blocked by job 7."
