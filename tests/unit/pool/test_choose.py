"""choose: ours first, then what is free, the oldest waiter first; nobody alive is robbed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import EndpointFailed, PoolEntryBroken, PoolExhausted
from nodexfer.paths import NodePaths
from nodexfer.pool import choose
from nodexfer.pool import lease as leases
from nodexfer.pool.ask import Ask, Inquiry
from nodexfer.pool.choose import PassedOver, acquire, has_another
from nodexfer.pool.lease import Lease, Me
from nodexfer.pool.waiting import Queue
from tests.support import eventually
from tests.unit.pool.support import ID, ME, add_entry, config

OTHER = ME._replace(host="node2", boot="boot-2", place="place-2", job="18")
SILENT = Lease(4, ID, "node-1", "/pool/node-1", *OTHER, 300.0, 0.0, False)
NOBODY = Ask(lambda endpoint: None, lambda lease: None)


class Enough(Exception):
    """The wait was seen."""


def at_once(config: Config, me: Me = ME, ask: Ask = NOBODY) -> Lease:
    return acquire(config, me, Deadline(0), lambda text: None, ask)


def give_to(directory: Path, me: Me, number: int = 1, duration: float = 300.0) -> Lease:
    found = leases.take(str(directory), number, me, f"{ID}1", duration)
    assert found is not None
    return found


def test_a_free_endpoint_is_taken_with_the_next_number(tmp_path: Path) -> None:
    directory = add_entry(tmp_path, "node-1")
    first = at_once(config(tmp_path))
    leases.give_back(first)
    second = at_once(config(tmp_path), OTHER)
    assert (first.number, second.number, second.directory, second.duration) == (1, 2, str(directory), 300.0)
    assert second.endpoint_id == f"{ID}1"


def test_what_this_place_had_last_comes_first(tmp_path: Path) -> None:
    for number in range(1, 8):
        add_entry(tmp_path, f"node-{number}", number)
    leases.give_back(give_to(tmp_path / "pool/default/node-5", ME))
    assert at_once(config(tmp_path)).entry == "node-5"


def test_an_unfinished_lease_of_this_place_is_continued_and_a_second_one_given_back(tmp_path: Path) -> None:
    first, second = add_entry(tmp_path, "node-1"), add_entry(tmp_path, "node-2", 2)
    give_to(first, ME._replace(job="3"), 4)
    give_to(second, ME, 6)
    found = at_once(config(tmp_path))
    assert (found.entry, found.number, found.job) == ("node-1", 4, ME.job)
    other = leases.top(str(second))
    assert other is not None
    assert other.released


def test_an_unfinished_lease_of_this_place_that_is_old_goes_on_under_the_next_number(tmp_path: Path) -> None:
    mine = give_to(add_entry(tmp_path, "node-1"), ME, 4)
    os.utime(mine.path, (1, 1))
    assert at_once(config(tmp_path)).number == 5


def test_an_exhausted_pool_says_who_holds_what(tmp_path: Path) -> None:
    give_to(add_entry(tmp_path, "node-1"), OTHER)
    with pytest.raises(PoolExhausted, match=r"node-1 is held by job 18 on node2") as caught:
        at_once(config(tmp_path))
    assert caught.value.next == "nodexfer pool list"


def test_a_waiter_is_told_whom_it_waits_for_and_can_leave(tmp_path: Path) -> None:
    give_to(add_entry(tmp_path, "node-1"), OTHER)
    heard = []

    def leave(text: str) -> None:
        heard.append(text)
        raise Enough

    with pytest.raises(Enough):
        acquire(config(tmp_path), ME, Deadline(60), leave, NOBODY)
    assert heard == ["waiting for an endpoint of the pool default: node-1 is held by job 18 on node2"]
    assert os.listdir(tmp_path / "pool/default/waiting") == []


def test_a_waiter_gets_what_is_given_back(tmp_path: Path) -> None:
    theirs = give_to(add_entry(tmp_path, "node-1"), OTHER)
    found = acquire(config(tmp_path), ME, Deadline(60), lambda text: leases.give_back(theirs), NOBODY, lambda _: None)
    assert found.number == 2


def test_the_older_waiter_is_served_first(tmp_path: Path) -> None:
    add_entry(tmp_path, "node-1")
    pool = str(tmp_path / "pool/default")
    with Queue(pool, OTHER) as older:
        older.join()
        with pytest.raises(PoolExhausted, match="others wait longer"):
            at_once(config(tmp_path))
    assert at_once(config(tmp_path)).number == 1


def test_a_waiter_that_was_not_seen_for_long_is_passed_over_and_removed(tmp_path: Path) -> None:
    add_entry(tmp_path, "node-1")
    waiting = tmp_path / "pool/default/waiting"
    with Queue(str(waiting.parent), OTHER) as older:
        older.join()
        (file,) = waiting.iterdir()
        os.utime(file, (1, 1))
        assert at_once(config(tmp_path)).number == 1
        assert list(waiting.iterdir()) == []


def test_broken_entries_are_passed_over_and_named_when_there_is_nothing_else(tmp_path: Path) -> None:
    add_entry(tmp_path, "node-1").joinpath("record.json").unlink()
    with pytest.raises(PoolEntryBroken, match="node-1 is broken"):
        at_once(config(tmp_path))
    add_entry(tmp_path, "node-2", 2)
    assert at_once(config(tmp_path)).entry == "node-2"


def test_a_file_system_that_is_not_well_for_a_moment_ends_no_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_entry(tmp_path, "node-1")
    heard: list[str] = []

    def well_again(text: str) -> None:
        heard.append(text)
        monkeypatch.undo()

    def broken(directory: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(leases, "top", broken)
    assert acquire(config(tmp_path), ME, Deadline(60), well_again, NOBODY, lambda _: None).number == 1
    (said,) = heard
    assert f"what is said of node-1 can not be read: {tmp_path}/pool/default/node-1 can not be used: Input" in said


def neighbour(tmp_path: Path, place: str) -> Path:
    node_dir = tmp_path / "neighbour"
    node_dir.mkdir(mode=0o700)
    (node_dir / "place").write_text(json.dumps({"format": 1, "id": place}))
    return node_dir


def test_a_dead_neighbour_on_this_node_is_known_by_its_free_locks(tmp_path: Path) -> None:
    node_dir = neighbour(tmp_path, "place-3")
    give_to(add_entry(tmp_path, "node-1"), ME._replace(place="place-3", node_dir=str(node_dir)))
    lock = os.open(node_dir, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(PoolExhausted):
        at_once(config(tmp_path))
    os.close(lock)
    (node_dir / "guard.lock").touch()
    guard = os.open(node_dir / "guard.lock", os.O_RDWR)
    fcntl.flock(guard, fcntl.LOCK_EX)
    with pytest.raises(PoolExhausted):
        at_once(config(tmp_path))
    os.close(guard)
    assert at_once(config(tmp_path)).number == 2


def test_what_is_left_of_a_dead_neighbours_gcp_is_killed_before_its_endpoint_is_taken(tmp_path: Path) -> None:
    """Its guard was SIGKILLed as well: else the endpoint would be live twice."""
    node_dir = neighbour(tmp_path, "place-3")
    give_to(add_entry(tmp_path, "node-1"), ME._replace(place="place-3", node_dir=str(node_dir)))
    working = NodePaths(str(node_dir)).gcp_config("place-3")
    stray = procs.spawn(["sleep", "60"], environ={"PATH": os.environ["PATH"], "NODEXFER_GCP_DIR": working})
    try:
        # For a moment within execve(2) it has no environment yet.
        eventually(lambda: working in Path(f"/proc/{stray.pid}/environ").read_text())
        assert at_once(config(tmp_path)).number == 2
        assert stray.wait(10.0) == -signal.SIGKILL
    finally:
        stray.kill()
        stray.wait(5.0)


def test_a_neighbour_that_comes_back_while_we_judge_keeps_its_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node_dir = neighbour(tmp_path, "place-3")
    give_to(add_entry(tmp_path, "node-1"), ME._replace(place="place-3", node_dir=str(node_dir)))
    lock, verdict = os.open(node_dir, os.O_RDONLY), leases.verdict

    def judged(*arguments: Any, **named: Any) -> leases.Verdict:
        found = verdict(*arguments, **named)
        assert found is leases.Verdict.DEAD
        return found

    def ahead(queue: Queue) -> int:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return 0

    monkeypatch.setattr(leases, "verdict", judged)
    monkeypatch.setattr(Queue, "ahead", ahead)
    try:
        with pytest.raises(PoolExhausted):
            at_once(config(tmp_path))
    finally:
        os.close(lock)


def test_a_neighbour_behind_another_tmp_is_not_judged_by_our_files(tmp_path: Path) -> None:
    node_dir = neighbour(tmp_path, "some other place")
    give_to(add_entry(tmp_path, "node-1"), ME._replace(place="place-3", node_dir=str(node_dir)))
    with pytest.raises(PoolExhausted):
        at_once(config(tmp_path))


def in_time(tmp_path: Path, ask: Ask, seconds: float, me: Me = ME) -> Lease:
    return acquire(config(tmp_path), me, Deadline(seconds), lambda text: None, ask, lambda _: time.sleep(0.01))


@pytest.mark.parametrize("answer", [True, None])
def test_a_silent_owner_whose_endpoint_may_be_connected_keeps_it(tmp_path: Path, answer: bool | None) -> None:
    give_to(add_entry(tmp_path, "node-1"), OTHER, duration=0.1)
    with pytest.raises(PoolExhausted):
        in_time(tmp_path, Ask(lambda endpoint: answer, lambda lease: None, quiet=0.1), 0.6)


def test_a_silent_owner_loses_what_the_service_calls_not_connected(tmp_path: Path) -> None:
    give_to(add_entry(tmp_path, "node-1"), OTHER, duration=0.1)
    asked: list[str] = []

    def connected(endpoint: str) -> bool:
        asked.append(endpoint)
        return False

    found = in_time(tmp_path, Ask(connected, lambda lease: None, quiet=0.2), 10)
    assert found.number == 2
    assert set(asked) == {f"{ID}1"}
    assert len(asked) > 1


def test_a_silent_owner_that_is_back_while_the_service_is_asked_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = give_to(add_entry(tmp_path, "node-1"), OTHER, duration=0.1)
    asked: list[Lease] = []

    def disconnected(inquiry: Inquiry, lease: Lease) -> bool:
        asked.append(lease)
        leases.renew(theirs)
        return True

    monkeypatch.setattr(Inquiry, "disconnected", disconnected)
    with pytest.raises(PoolExhausted):
        in_time(tmp_path, NOBODY, 2.0)
    assert asked


def test_the_scheduler_is_asked_only_after_a_silence_and_its_yes_frees(tmp_path: Path) -> None:
    give_to(add_entry(tmp_path, "node-1"), OTHER, duration=0.6)
    asked: list[tuple[str, int]] = []

    def over(lease: Lease) -> bool:
        asked.append((lease.job, lease.run))
        return True

    assert in_time(tmp_path, Ask(lambda endpoint: None, over), 10).number == 2
    assert asked == [("18", 0)]


def test_a_place_that_goes_on_under_another_job_while_the_scheduler_is_asked_keeps_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = give_to(add_entry(tmp_path, "node-1"), OTHER, duration=4.5)
    resumed: list[Lease | None] = []

    def over(lease: Lease) -> bool:
        leases.renew(theirs)
        with monkeypatch.context() as patch:  # one that takes long is not believed
            patch.setattr("nodexfer.pool.lease.time", SimpleNamespace(monotonic=lambda: 0.0))
            resumed.append(leases.resume(theirs, OTHER._replace(job="19")))
        return True

    with pytest.raises(PoolExhausted, match="held by job 19"):
        in_time(tmp_path, Ask(lambda endpoint: None, over), 3.0)
    assert resumed
    assert None not in resumed


def counting(answers: list[Lease]) -> Callable[[Lease], None]:
    return answers.append


def test_the_scheduler_is_asked_three_times_at_most_and_never_about_another_cluster() -> None:
    asked: list[Lease] = []
    inquiry = Inquiry(ME, Ask(lambda endpoint: None, counting(asked)))
    lease = SILENT
    for second in range(0, 100_000, 10):
        inquiry.run_over(lease, float(second))
        inquiry.run_over(lease._replace(cluster="beta", number=5), float(second))
    assert asked == [lease] * 3


@pytest.mark.parametrize("takes", [0.0, 40.0, 90.0])
def test_a_silent_owner_is_believed_gone_after_a_minute_however_long_the_service_takes_to_answer(
    takes: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, answers = [1000.0], [True, False]

    def connected(endpoint: str) -> bool:
        clock[0] += takes
        return answers.pop(0) if answers else False

    monkeypatch.setattr("nodexfer.pool.ask.time", SimpleNamespace(monotonic=lambda: clock[0]))
    inquiry = Inquiry(ME, Ask(connected, lambda lease: None))
    while not inquiry.disconnected(SILENT):
        assert clock[0] < 1600
        clock[0] += 11
    assert not answers
    assert clock[0] >= 1000 + takes + 60, "the first answer was that it is connected"


def test_what_was_not_asked_for_half_a_minute_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("nodexfer.pool.ask.time", SimpleNamespace(monotonic=lambda: clock[0]))
    inquiry = Inquiry(ME, Ask(lambda endpoint: False, lambda lease: None))
    for _ in range(20):
        assert not inquiry.disconnected(SILENT)
        clock[0] += 31


# -- passed over


STUCK = EndpointFailed("Task t of an earlier lease does not end.", "globus task cancel t")


def passed_over(*directories: Path) -> PassedOver:
    made = PassedOver()
    for directory in directories:
        made.add(str(directory), STUCK)
    return made


def take(home: Path, passed: PassedOver, on_wait: Callable[[str], None] = lambda text: None) -> Lease:
    return acquire(config(home), ME, Deadline(0), on_wait, NOBODY, passed=passed)


@pytest.mark.parametrize("state", ["free", "ours", "dead"])
def test_what_we_passed_over_is_not_taken_again(tmp_path: Path, state: str) -> None:
    first, _ = add_entry(tmp_path, "node-1", 1), add_entry(tmp_path, "node-2", 2)
    mine = give_to(first, ME if state != "dead" else ME._replace(boot="an earlier one"), 4)
    if state == "free":
        leases.give_back(mine)
    found = take(tmp_path, passed_over(first))
    assert found.entry == "node-2"
    top = leases.top(str(first))
    assert top is not None
    assert (top.number, top.released) == (4, state == "free")


def test_where_all_were_passed_over_the_reason_is_told_as_it_was(tmp_path: Path) -> None:
    pool = add_entry(tmp_path, "node-1", 1), add_entry(tmp_path, "node-2", 2)
    (tmp_path / "pool/default/node-3").mkdir()  # broken
    with pytest.raises(EndpointFailed) as caught:
        take(tmp_path, passed_over(*pool))
    assert caught.value is STUCK
    assert all(leases.top(str(directory)) is None for directory in pool)


def test_who_passed_one_over_waits_for_another_and_says_why(tmp_path: Path) -> None:
    first, second = add_entry(tmp_path, "node-1", 1), add_entry(tmp_path, "node-2", 2)
    give_to(second, OTHER)

    def leave(text: str) -> None:
        raise Enough(text)

    with pytest.raises(Enough) as caught:
        acquire(config(tmp_path), ME, Deadline(60), leave, NOBODY, passed=passed_over(first))
    passed = "node-1 was passed over: Task t of an earlier lease does not end"
    assert str(caught.value).endswith(f": node-2 is held by job 18 on node2, {passed}")


def test_what_was_passed_over_is_tried_again_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = add_entry(tmp_path, "node-1")
    passed = passed_over(first)
    assert passed
    monkeypatch.setattr(choose, "REST_SECONDS", 0.0)
    assert not passed
    assert take(tmp_path, passed).entry == "node-1"
    monkeypatch.undo()
    passed._last -= choose.REST_SECONDS
    passed.add(str(tmp_path / "another"), STUCK)
    assert take(tmp_path, passed).entry == "node-1", "what was forgotten stays so"


def leave_in_trouble(directory: Path, me: Me = OTHER) -> Lease:
    """Another leader has passed it over."""
    mine = give_to(directory, me)
    leases.give_back(mine._replace(trouble=STUCK.message))
    return mine


@pytest.mark.parametrize("rests", [True, False])
def test_what_another_passed_over_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rests: bool) -> None:
    if not rests:
        monkeypatch.setattr(choose, "REST_SECONDS", 0.0)
    for number in range(1, 8):
        directory = add_entry(tmp_path, f"node-{number}", number)
        if number != 5:
            leave_in_trouble(directory, ME)
    assert at_once(config(tmp_path)).entry == "node-5"


def test_what_another_passed_over_is_tried_at_once_where_there_is_nothing_else(tmp_path: Path) -> None:
    leave_in_trouble(add_entry(tmp_path, "node-1", 1))
    found = at_once(config(tmp_path))
    assert (found.number, found.trouble) == (2, "")
    top = leases.top(found.directory)
    assert top is not None
    assert (top.released, top.trouble) == (False, "")


def test_all_that_wait_for_another_try_what_was_passed_over_once_in_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = add_entry(tmp_path, "node-1", 1), add_entry(tmp_path, "node-2", 2)
    leave_in_trouble(first)
    give_to(second, OTHER)
    now = time.monotonic()
    clock = SimpleNamespace(monotonic=lambda: now, time=time.time)
    monkeypatch.setattr(leases, "time", clock)

    def waiter(place: str) -> choose._Chooser:
        me = ME._replace(place=place)
        return choose._Chooser(config(tmp_path), me, Inquiry(me, NOBODY))

    queues = [Queue(str(tmp_path / "pool/default"), ME._replace(place=f"place-{number}")) for number in range(3)]
    waiters = [waiter(f"place-{number}") for number in range(3)]
    tries = 0
    for _ in range(10):
        for one, queue in zip(waiters, queues, strict=True):
            found = one.look(queue)
            if found is not None:
                tries += 1
                leases.give_back(found._replace(trouble=STUCK.message))
        now += choose.REST_SECONDS / 3
    assert tries == 3
    assert "node-1 was passed over: Task t of an earlier lease does not end" in waiters[0].holders()


def test_there_is_another_only_where_it_can_be_had(tmp_path: Path) -> None:
    known = config(tmp_path)
    mine = give_to(add_entry(tmp_path, "node-1", 1), ME)
    assert not has_another(known, mine, PassedOver())
    (tmp_path / "pool/default/node-0").mkdir()
    assert not has_another(known, mine, PassedOver()), "a broken one is none"
    second = add_entry(tmp_path, "node-2", 2)
    give_to(second, OTHER)
    assert has_another(known, mine, PassedOver()), "one that somebody has comes free"
    assert not has_another(known, mine, passed_over(second))
    shutil.rmtree(tmp_path / "pool")
    assert not has_another(known, mine, PassedOver())


# -- what can not be read


def hide(path: Path) -> Callable[[], None]:
    """Have it answer with an error of the file system, until what is given back is called."""
    kept = path.with_name("kept")
    path.rename(kept)
    path.mkdir()

    def again() -> None:
        path.rmdir()
        kept.rename(path)

    return again


@pytest.mark.parametrize("name", ["record.json", "config/lta/client-id.txt"])
def test_an_entry_that_can_not_be_read_now_is_waited_for_and_named(tmp_path: Path, name: str) -> None:
    directory = add_entry(tmp_path, "node-1")
    again = hide(directory / name)
    heard: list[str] = []

    def well_again(text: str) -> None:
        heard.append(text)
        again()

    found = acquire(config(tmp_path), ME, Deadline(60), well_again, NOBODY, lambda _: None)
    assert found.number == 1
    assert len(heard) == 1
    assert f"what is said of node-1 can not be read: {directory}/{name} can not be used: Is a directory" in heard[0]


def test_another_one_is_taken_meanwhile(tmp_path: Path) -> None:
    first, _ = add_entry(tmp_path, "node-1", 1), add_entry(tmp_path, "node-2", 2)
    again = hide(first / "record.json")
    mine = at_once(config(tmp_path))
    assert mine.entry == "node-2"
    assert not has_another(config(tmp_path), mine, PassedOver())
    again()
    assert has_another(config(tmp_path), mine, PassedOver())


def test_a_pool_that_can_not_be_listed_now_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = add_entry(tmp_path, "node-1").parent
    heard: list[str] = []

    def well_again(text: str) -> None:
        heard.append(text)
        monkeypatch.undo()

    def stale(*_: object) -> Any:
        raise OSError(errno.ESTALE, "Stale file handle", str(directory))

    monkeypatch.setattr(choose, "read_pool", stale)
    assert not has_another(config(tmp_path), SILENT, PassedOver())
    with pytest.raises(PoolExhausted, match=f"{directory} can not be used: Stale file handle"):
        at_once(config(tmp_path))
    assert acquire(config(tmp_path), ME, Deadline(60), well_again, NOBODY, lambda _: None).number == 1
    assert len(heard) == 1
    assert f"{directory} can not be used: Stale file handle" in heard[0]
