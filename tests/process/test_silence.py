"""A leader that is stopped is ended by who waits; one that can not be ended is named to all who wait for it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.config import Config
from nodexfer.identity import ProcessId
from nodexfer.node import hold, silence
from tests.support import eventually
from tests.support.holding import NODEXFER, Script, is_cleared, job, keeper, script
from tests.support.leading import is_ready, leader, make_pool, parts, quiet, ready, user
from tests.support.sandbox import Box

__all__ = ["user"]

pytestmark = pytest.mark.slow

#: Seconds of silence: a beat comes every sixth of it.
SILENCE = 3.0
#: Where the leader is to be left alone: no stall of a busy machine or its disk takes so long.
LONG_SILENCE = 6.0


@pytest.fixture(autouse=True)
def soon(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """How long, in seconds; also for what other fixtures start."""
    seconds: float = getattr(request, "param", SILENCE)
    monkeypatch.setenv("NODEXFER_SILENCE", str(seconds))
    return seconds


late = pytest.mark.parametrize("soon", [LONG_SILENCE], indirect=True)


@pytest.fixture
def one(user: Config, box: Box) -> Iterator[Script]:
    """The job that leads."""
    make_pool(2)
    with script("1") as made:
        made.acquire("--endpoint")
        yield made


def stage(user: Config, number: str, *options: str) -> procs.Process:
    return procs.spawn(
        [*NODEXFER, "stage-in", *options, "site:/a", f"{user.node_paths.scratch(job(number).key)}/"],
        environ={**os.environ, "NODEXFER_JOB_ID": number},
        stderr=procs.PIPE,
    )


def ended(process: procs.Process) -> tuple[int | None, str]:
    """Its exit code, and what it said on stderr with all blanks made one."""
    assert process.stderr is not None
    said = " ".join(process.stderr.read().decode().split())
    code = process.wait(30.0)
    process.close()
    return code, said


def everybody(user: Config) -> list[ProcessId]:
    """Keeper, desk, guard, and all of GCP."""
    return [process for found in parts(user).values() for process in found]


@pytest.mark.parametrize("what", ["keeper", "job"])
def test_a_leader_that_is_stopped_is_ended_and_the_requests_of_others_go_on(
    user: Config, one: Script, box: Box, what: str
) -> None:
    (box.site / "a").write_bytes(os.urandom(100_000))
    first = ready(user, one.job.key)
    old = everybody(user)
    for process in [keeper(user, "1")] if what == "keeper" else [*old, one.process]:
        procs.signal(process, signal.SIGSTOP)
    with script("2") as two:
        two.acquire("--endpoint")
        second = ready(user, two.job.key)
        assert (second.endpoint_id, second.lease) == (first.endpoint_id, first.lease)
        assert not any(process.alive for process in old)
        assert ended(stage(user, "2"))[0] == 0
        procs.signal(one.process, signal.SIGCONT)
        one.must("status")
        one.acquire()
        assert keeper(user, "1").alive, "the job that was stopped has a keeper again"
        assert set(box.sandbox.status()["gcp"]["user_live_max"].values()) == {1}
        two.must("release")
    ready(user, one.job.key)
    one.run(f"for hold in $({_holds_of(user, '1')}); do '{NODEXFER[0]}' -m nodexfer release $hold; done")
    assert is_cleared(user)
    assert quiet(user)


def _holds_of(user: Config, number: str) -> str:
    from tests.support.holding import holds

    return "echo " + " ".join(hold.id for hold in holds(user) if hold.job == job(number).key)


def test_a_leader_that_hangs_while_its_process_lives_is_ended_and_the_requests_of_others_go_on(
    user: Config, box: Box, tmp_path: Path
) -> None:
    """In a system call that does not come back: open(2) of a FIFO, where the pool had a file."""
    (box.site / "a").write_bytes(os.urandom(100_000))
    make_pool()
    [entry] = Path(user.home_paths.pool(user.pool)).glob("p*")
    record, kept, fifo = entry / "record.json", entry / ".kept", entry / ".fifo"
    os.rename(record, kept)
    os.mkfifo(record)
    os.link(record, fifo)
    with script("1") as one, script("2") as two:
        one.acquire()
        two.acquire()
        old = keeper(user, "1")
        hold.take(user, job("1"), procs.this(), endpoint=True)
        eventually(lambda: leader(user).keeper == job("1").key)
        waits = stage(user, "2")
        eventually(lambda: not old.alive)
        os.rename(kept, record)
        # The next one may hang there by now: it gets what it waits for.
        eventually(lambda: _is_over(waits, fifo, record.read_bytes()))
        assert ended(waits)[0] == 0
        fifo.unlink()
        two.must("release")
        one.kill()
    eventually(lambda: not parts(user)["keeper"])


def _is_over(waits: procs.Process, fifo: Path, data: bytes) -> bool:
    """Meanwhile a leader that hangs gets what it waits for."""
    if waits.poll() is not None:
        return True
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # nobody has it open
        return False
    with open(descriptor, "wb", buffering=0) as file:
        file.write(data)
    return False


@late
def test_a_leader_that_lives_is_left_alone_however_long_others_wait(
    user: Config, soon: float, one: Script, box: Box
) -> None:
    found = ready(user, one.job.key)
    with script("2") as two:
        two.acquire("--endpoint")
        procs.run(["sleep", str(2 * soon)], timeout=30)
        assert ready(user, one.job.key).since == found.since
        two.must("release")
    one.must("release")


@late
def test_a_leader_that_is_stopped_for_less_than_the_time_goes_on(
    user: Config, soon: float, one: Script, box: Box
) -> None:
    old = keeper(user, "1")
    with script("2") as two:
        two.acquire("--endpoint")
        procs.signal(old, signal.SIGSTOP)
        procs.run(["sleep", str(soon / 3)], timeout=30)
        procs.signal(old, signal.SIGCONT)
        procs.run(["sleep", str(soon)], timeout=30)
        assert old.alive
        two.must("release")
    one.must("release")


# -- who can not be ended

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
FREEZER = Path("/sys/fs/cgroup/freezer")


@contextmanager
def frozen(processes: list[ProcessId]) -> Iterator[None]:
    """In a frozen cgroup (version 1: not even SIGKILL gets through), thawed and back at the end."""
    group = FREEZER / f"nodexfer-test-{os.getpid()}"
    group.mkdir()

    def is_empty() -> bool:
        """What was thawed may start others before it is moved."""
        for pid in (group / "cgroup.procs").read_text().split():
            _move(pid, FREEZER)
        return not (group / "cgroup.procs").read_text()

    try:
        for process in processes:
            _move(str(process.pid), group)
        (group / "freezer.state").write_text("FROZEN")
        eventually(lambda: (group / "freezer.state").read_text() == "FROZEN\n")
        yield
    finally:
        (group / "freezer.state").write_text("THAWED")
        eventually(is_empty)
        group.rmdir()


def _move(pid: str, group: Path) -> None:
    """One that has ended is nowhere."""
    try:
        (group / "cgroup.procs").write_text(pid)
    except ProcessLookupError:
        pass


@late
@pytest.mark.root
@needs_root
@pytest.mark.skipif(not (FREEZER / "cgroup.procs").exists(), reason="needs the freezer of cgroup version 1")
def test_a_leader_in_a_frozen_cgroup_is_named_and_goes_on_when_it_thaws(user: Config, one: Script, box: Box) -> None:
    (box.site / "a").write_bytes(os.urandom(100_000))
    first = ready(user, one.job.key)
    old = everybody(user)
    with script("2") as two:
        two.acquire()
        with frozen(old):
            waits = stage(user, "2")
            _is_blocked(user, two, f"process {keeper(user, '1').pid} of job {one.job.key}, which is frozen")
            assert waits.poll() is None
        assert ended(waits)[0] == 0
        found = ready(user, one.job.key)
        assert found.since == first.since, "it was not taken over"
        assert "frozen" not in two.must("status")
        two.must("release")
    one.must("release")
    assert quiet(user)


@pytest.mark.root
@needs_root
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare(1)")
def test_a_silent_leader_of_another_pid_namespace_is_named_and_goes_on_when_it_wakes(user: Config, box: Box) -> None:
    (box.site / "a").write_bytes(os.urandom(100_000))
    make_pool(2)
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", 'setsid --wait "$0"; true']
    with script("1", prefix=unshare) as one, script("2") as two:
        one.acquire("--endpoint")
        first = ready(user, one.job.key)
        old = everybody(user)
        two.acquire()
        for process in old:
            procs.signal(process, signal.SIGSTOP)
        waits = stage(user, "2")
        _is_blocked(user, two, f"of job {one.job.key}, which can not be ended from here")
        for process in old:
            procs.signal(process, signal.SIGCONT)
        assert ended(waits)[0] == 0
        assert ready(user, one.job.key).since == first.since
        two.must("release")
        one.must("release")
    assert quiet(user)


def _is_blocked(user: Config, two: Script, words: str) -> None:
    """Everybody who waits is told so; who does not want to wait is refused."""
    error = eventually(lambda: silence.blocked(user.node_paths), 20.0)
    assert error is not None
    assert words in error.message
    assert leader(user).keeper != two.job.key
    assert words in " ".join(two.must("status").split())
    code, said = ended(stage(user, "2", "--wait-endpoint", "0"))
    assert code == 36, said
    assert words in said
    code, text = two.run(f"'{NODEXFER[0]}' -m nodexfer acquire --endpoint --wait-endpoint 0 2>&1")
    assert code == 36, text
    assert words in " ".join(text.split())


def test_a_stopped_leader_without_anybody_who_wants_to_lead_is_left_alone(user: Config, one: Script, box: Box) -> None:
    old = keeper(user, "1")
    procs.signal(old, signal.SIGSTOP)
    with script("2") as two:
        two.acquire()
        procs.run(["sleep", str(2 * SILENCE)], timeout=30)
        assert old.alive
        two.must("release")
    procs.signal(old, signal.SIGCONT)
    assert eventually(lambda: is_ready(user, one.job.key))
    one.must("release")
