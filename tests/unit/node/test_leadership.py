"""The thread that leads, as the keeper's main thread has it: its heart, and what is said when it fails."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nodexfer import procs
from nodexfer.config import Config
from nodexfer.errors import DiskFull, GcpMissing, NodeDirRemoved, RecordNewer
from nodexfer.node import claim, endpoint, failure, jobend, keeper, leader, locks, registry, rubbish, work
from nodexfer.node import leadership as leadership_module
from nodexfer.node.leadership import YIELD_SECONDS, Leadership
from nodexfer.node.order import Order
from nodexfer.pool import lease as leases
from nodexfer.pool import waiting
from tests.support import eventually
from tests.support.holding import job, place


@pytest.fixture
def config() -> Config:
    found = place()
    with registry.Transaction(found.node_paths, create=True) as table:
        table.clear()
    return found


@pytest.fixture
def lingers() -> list[float]:
    """What each term was told to wait for more work."""
    return []


@pytest.fixture
def lead(
    config: Config, lingers: list[float], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[], object]], Leadership]]:
    """Have a term that does nothing but what it is given."""
    made: list[Leadership] = []

    def start(run: Callable[[], object]) -> Leadership:
        class Term:
            def __init__(self, *arguments: Any) -> None:
                lingers.append(arguments[-1])
                self.run = run

        monkeypatch.setattr(leader, "Term", Term)
        made.append(Leadership(config, job(), lambda: None))
        return made[-1]

    yield start
    for leadership in made:
        eventually(lambda: not leadership.running)  # noqa: B023 it is looked at before the next round


def wanted() -> registry.Hold:
    return registry.new_hold(job().key, procs.this(), procs.this(), True)


def beats(config: Config, leadership: Leadership) -> bool:
    """Does its heart beat now?"""
    os.utime(config.node_paths.endpoint, (1, 1))
    leadership.beat()
    return os.stat(config.node_paths.endpoint).st_mtime > 1


def test_the_heart_beats_while_the_thread_works_and_not_while_it_hangs(
    config: Config, lead: Callable[[Callable[[], object]], Leadership]
) -> None:
    hang, end = threading.Event(), threading.Event()

    def run() -> None:
        endpoint.Notice(config.node_paths, job().key, 0.0).say(endpoint.STARTING)
        while not end.wait(0.01):
            if hang.is_set():
                end.wait()

    leadership = lead(run)
    leadership.want([wanted()])
    try:
        eventually(lambda: beats(config, leadership))
        eventually(lambda: beats(config, leadership))
        hang.set()
        eventually(lambda: not beats(config, leadership))
        assert not beats(config, leadership)
    finally:
        end.set()
    eventually(lambda: not leadership.running)
    assert not beats(config, leadership), "it leads no more"


def test_the_heart_beats_while_a_gcp_is_waited_for_that_does_not_end(
    config: Config, lead: Callable[[Callable[[], object]], Leadership]
) -> None:
    """A leader that mends may wait for that for longer than others bear its silence."""
    child = procs.spawn(["sleep", "60"])

    def run() -> None:
        endpoint.Notice(config.node_paths, job().key, 0.0).say(endpoint.MENDING)
        child.wait(60.0)

    leadership = lead(run)
    leadership.want([wanted()])
    try:
        for _ in range(5):
            eventually(lambda: beats(config, leadership))
    finally:
        child.kill()
    eventually(lambda: not leadership.running)


def test_who_waited_at_a_directory_that_was_replaced_meanwhile_does_not_lead(
    config: Config, lead: Callable[[Callable[[], object]], Leadership], lingers: list[float]
) -> None:
    """What lies at the path is another place, with a leader of its own."""
    before = os.open(config.node_dir, os.O_RDONLY)
    assert locks.try_lock(before)
    led = threading.Event()
    leadership = lead(led.set)
    leadership.want([wanted()])
    eventually(lambda: leadership.waits)
    inode = str(os.fstat(before).st_ino)
    eventually(lambda: any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines()))
    os.rename(config.node_dir, f"{config.node_dir}-old")
    os.mkdir(config.node_dir, 0o700)
    os.close(before)
    eventually(lambda: not leadership.running)
    assert not led.is_set()


@pytest.mark.parametrize(
    ("before", "fenced"),
    [
        (None, False),
        ({"fenced": True}, True),
        ({"fenced": False}, False),
        ({"fenced": True, "lease": 6}, False),
        ({"fenced": True, "entry": "node-2"}, False),
    ],
    ids=str,
)
def test_only_what_was_fenced_under_this_very_lease_is_not_fenced_again(
    config: Config, before: dict[str, Any] | None, fenced: bool
) -> None:
    notice = endpoint.Notice(config.node_paths, "another", 0.0)
    if before is not None:
        notice.say(endpoint.READY, **{"entry": "node-1", "lease": 7, **before})
    term = leader.Term(config, job(), -1, 0.0, Order(), 0.0)
    me = leases.Me("local", "", "host", "boot", "place", config.node_dir, "1", 0)
    lease = leases.Lease(7, "endpoint", "node-1", "/pool/node-1", *me, 300.0, 0.0, False)
    assert term._was_fenced(lease) == fenced


def moving(config: Config) -> Path:
    directory = Path(config.node_paths.request(job().key, "r1"))
    directory.mkdir(parents=True)
    for name in ("request.json", "batch.json"):
        (directory / name).write_text("{}")
    return directory


def fail() -> None:
    raise GcpMissing("There is none.")


def test_a_term_that_fails_answers_who_waits(
    config: Config, lead: Callable[[Callable[[], object]], Leadership]
) -> None:
    directory = moving(config)
    leadership = lead(fail)
    leadership.want([wanted()])
    eventually((directory / "result.json").exists)
    assert not leadership.in_vain


def test_a_clock_that_is_set_back_keeps_nobody_from_trying_again(
    config: Config, lead: Callable[[Callable[[], object]], Leadership], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership_module, "BACK_OFF_SECONDS", 0.1)
    tried: list[float] = []

    def run() -> None:
        tried.append(time.time())
        fail()

    leadership, now = lead(run), time.time
    asked = wanted()
    leadership.want([asked])
    eventually(lambda: tried and not leadership.running)
    monkeypatch.setattr(time, "time", lambda: now() - 3600.0)

    def again() -> bool:
        leadership.want([asked])
        return len(tried) > 1

    eventually(again)
    eventually(lambda: not leadership.running)


def test_a_term_that_fails_to_tidy_up_answers_nobody_and_is_not_tried_again(
    config: Config, lead: Callable[[Callable[[], object]], Leadership]
) -> None:
    """With an answer it would be over, and its task unknown to the next job here."""
    moving(config)
    leadership = lead(fail)
    leadership.tidy()
    eventually(lambda: leadership.in_vain)
    eventually(lambda: not leadership.running)
    assert len(work.submitted(config.node_paths)) == 1
    leadership.resume()
    assert not leadership.in_vain


def test_who_only_tidies_up_waits_for_no_more_work_and_who_holds_again_does(
    config: Config, lead: Callable[[Callable[[], object]], Leadership], lingers: list[float]
) -> None:
    leadership = lead(lambda: None)
    leadership.tidy()
    eventually(lambda: not leadership.running)
    leadership.resume()
    leadership.want([wanted()])
    eventually(lambda: not leadership.running)
    assert lingers == [0.0, config.linger]
    assert config.linger > 0


def test_the_last_keeper_ends_in_time_though_what_it_tidies_up_does_not(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving(config)
    last = keeper.Keeper(config, job(), procs.this())
    assert last._must_tidy()
    assert last._must_tidy()
    monkeypatch.setattr(keeper, "TIDY_SECONDS", 0.0)
    late = keeper.Keeper(config, job(), procs.this())
    assert not late._must_tidy()
    assert not late._must_tidy(), "the time does not begin again"


def test_a_hold_that_comes_while_its_keeper_is_about_to_end_keeps_it(config: Config) -> None:
    """It is seen under the lock under which it was taken, or its command finds no keeper."""
    hold = wanted()
    with registry.Transaction(config.node_paths) as table:
        table.add(hold)
    last = keeper.Keeper(config, job(), procs.this())
    assert last.begin() == b"holds\n"
    last.holds = []  # as it looked a moment ago
    assert not last._end()
    assert last.holds == [hold]
    assert locks.taken(config.node_paths.keeper(job().key))
    with registry.Transaction(config.node_paths) as table:
        table.drop(hold.id)
    last.holds = []
    assert last._end()
    assert not os.path.exists(config.node_paths.keeper(job().key))


def test_a_turn_has_not_come_while_another_place_of_the_host_waits_longer(config: Config) -> None:
    os.makedirs(config.home, exist_ok=True)
    me = claim.who(config, job())
    with claim.Turn(config, job()) as turn:
        seen = [turn.has_come]
        with waiting.Queue(config.home_paths.turns(me.boot), me._replace(place="another")) as older:
            older.join()
            seen.append(turn.has_come)
            time.sleep(0.01)  # the queue counts milliseconds
            turn.join()
            seen.append(turn.has_come)
        seen.append(turn.has_come)
    assert seen == [True, False, False, True]


def test_a_term_begins_by_taking_away_what_dead_jobs_left(config: Config) -> None:
    """Also where no keeper starts: the last one that did may have looked before they died."""
    paths = config.node_paths
    left = Path(paths.scratch("dead"))
    left.mkdir(parents=True)
    lock = os.open(paths.node_dir, os.O_RDONLY)
    try:
        leader.Term(config, job(), lock, time.time(), Order(), 0.0).run()
    finally:
        os.close(lock)
    assert not left.exists()
    eventually(lambda: list(rubbish.hidden(paths.node_dir)) == [])


@pytest.mark.parametrize(("seconds", "others", "passed"), [(60, 1, 1), (600, 1, 0), (60, 0, 0), (None, 1, 0)])
def test_a_leader_whose_job_is_about_to_end_lets_another_have_the_lock_once(
    config: Config,
    lead: Callable[[Callable[[], object]], Leadership],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float | None,
    others: int,
    passed: int,
) -> None:
    if seconds is not None:
        jobend.find(config, job(), {"NODEXFER_TIME": str(seconds)})
    for name in (job().key, "another")[: 1 + others]:
        Path(config.node_paths.keeper(name)).touch()
    led, free, usual = threading.Event(), list[bool](), time.sleep

    def sleep(pause: float) -> None:
        if pause == YIELD_SECONDS:
            descriptor = os.open(config.node_dir, os.O_RDONLY)
            free.append(locks.try_lock(descriptor) and not led.is_set())
            os.close(descriptor)
        else:
            usual(pause)

    monkeypatch.setattr(time, "sleep", sleep)
    leadership = lead(led.set)
    for _ in range(2):
        led.clear()
        leadership.want([wanted()])
        eventually(led.is_set)
        eventually(lambda: not leadership.running)
    assert free == [True] * passed


def test_a_leader_who_can_not_read_when_its_job_ends_leads(
    config: Config, lead: Callable[[Callable[[], object]], Leadership], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is in its hand: nobody else could."""

    def told(*_: Any) -> None:
        raise RecordNewer("It was written by a newer one.")

    monkeypatch.setattr(jobend, "told", told)
    Path(config.node_paths.keeper("another")).touch()
    led = threading.Event()
    leadership = lead(led.set)
    leadership.want([wanted()])
    eventually(led.is_set)


def test_who_was_told_to_hand_over_lets_others_have_the_lock_first(
    config: Config, lead: Callable[[Callable[[], object]], Leadership], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job still has work: it would lock again before those who wait in flock(2) have woken."""
    slept: list[float] = []
    begun, told = threading.Event(), threading.Event()

    def run() -> None:
        begun.set()
        told.wait(30.0)

    leadership = lead(run)
    leadership.want([wanted()])
    assert begun.wait(30.0)
    leadership.step_down()
    told.set()
    eventually(lambda: not leadership.running)
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", slept.append)
        for _ in range(2):  # once: the next time it is as good as any other
            leadership.want([wanted()])
            leadership._thread.join(30.0)  # type: ignore[union-attr]  # it was started just now
    assert slept.count(YIELD_SECONDS) == 1


def test_a_keeper_of_a_place_that_was_removed_brings_nothing_into_the_next_one(config: Config, tmp_path: Path) -> None:
    """Also where both happen between its look at the place and its look at the holds."""
    with registry.Transaction(config.node_paths) as table:
        table.add(wanted())
    old = keeper.Keeper(config, job(), procs.this())
    assert old.begin() == b"holds\n"
    os.rename(config.node_dir, tmp_path / "removed")
    with registry.Transaction(config.node_paths, create=True):
        pass  # the place that somebody makes next
    with pytest.raises(NodeDirRemoved):
        old._synchronise()
    with registry.Transaction(config.node_paths) as table:
        assert list(table) == []
    old.alarm.take_down()


def test_what_a_newer_version_left_is_said_to_who_waits_and_not_tried_again_at_once(config: Config) -> None:
    """Whoever ends a term wakes the keeper, which looks at once: without a pause it would be a circle."""
    Path(config.node_paths.endpoint).write_text('{"format": 99}')
    asked, woken = wanted(), threading.Event()
    leadership = Leadership(config, job(), woken.set)
    leadership.want([asked])
    assert woken.wait(30.0)
    eventually(lambda: not leadership.running)
    with pytest.raises(RecordNewer):
        failure.raise_since(config.node_paths, job().key, asked.since)
    leadership.want([asked])
    assert not leadership.running


def test_a_keeper_that_could_not_write_its_end_knows_its_file_by_its_lock(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full at that moment, and another keeper of the job has begun: the old one sees it, and goes."""
    other = wanted()._replace(job="another")
    with registry.Transaction(config.node_paths) as table:
        table.add(wanted())
        table.add(other)
    old = keeper.Keeper(config, job(), procs.this())
    assert old.begin() == b"holds\n"
    with registry.Transaction(config.node_paths) as table:
        for hold in table.of(job().key):
            table.add(hold._replace(owner=hold.process._replace(start=1)))  # its process ends just now

    def full(*_: object) -> None:
        raise DiskFull("No space is left.")

    with monkeypatch.context() as patch:
        patch.setattr(registry.Transaction, "_write", full)
        with pytest.raises(DiskFull):
            old._end()
    Path(config.node_paths.keeper(job().key)).touch()
    assert old._look()


def test_a_file_system_that_is_not_well_is_told_as_that_and_not_as_a_fault_of_ours(
    config: Config, lead: Callable[[Callable[[], object]], Leadership]
) -> None:
    def run() -> None:
        raise OSError(errno.ESTALE, "Stale file handle", "/home/me/.nodexfer/pool/default/p-1/lease.3")

    lead(run).want([wanted()])
    failed = Path(f"{config.node_paths.keeper(job().key)}.failed")
    told = json.loads(eventually(failed.read_text))["error"]
    assert told["message"].startswith("/home/me/.nodexfer/pool/default/p-1/lease.3 can not be used: Stale file handle")
    assert told["next"] == "ls -ld /home/me/.nodexfer/pool/default/p-1/lease.3"
