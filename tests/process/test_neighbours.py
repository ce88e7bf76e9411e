"""Whatever dies on the leader's side, the requests of others finish: one task, one GCP, nothing left of the old."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from nodexfer import procs
from nodexfer.config import Config
from nodexfer.identity import ProcessId
from nodexfer.node import endpoint
from nodexfer.node.status import tasks
from nodexfer.sandbox.launch import Sandbox
from tests.support import eventually
from tests.support.holding import NODEXFER, is_cleared, job, keeper, kill, place, script
from tests.support.leading import leader, make_pool, one_of, parts, quiet, ready, user
from tests.support.sandbox import QUICK, Box

__all__ = ["user"]

pytestmark = pytest.mark.slow

SIZE = 4_000_000
#: So slow that nothing is over before what is done to it is done, on a loaded machine either.
RATE = 40_000

OTHERS = ("2", "3")


class Crowd:
    """Job 1 leads and wants nothing but the endpoint; jobs 2 and 3 have a transfer each on its way."""

    def __init__(self, user: Config, box: Box, stack: ExitStack) -> None:
        self.user, self.box = user, box
        self.data = {number: os.urandom(SIZE) for number in OTHERS}
        for number, data in self.data.items():
            (box.site / number).write_bytes(data)
        make_pool(2)
        self.leader = stack.enter_context(script("1"))
        self.leader.acquire("--endpoint")
        self.first = ready(user, self.leader.job.key)
        box.sandbox.fault("slow", bytes_per_second=RATE)
        self.others = [stack.enter_context(script(number)) for number in OTHERS]
        for other in self.others:
            other.acquire()
        self.stages = [self._stage(number) for number in OTHERS]
        self.tasks = eventually(self._moving)
        self.old = parts(user)

    def _stage(self, number: str) -> procs.Process:
        return procs.spawn(
            [*NODEXFER, "stage-in", f"site:/{number}", f"{self.user.node_paths.scratch(job(number).key)}/"],
            environ={**os.environ, "NODEXFER_JOB_ID": number},
        )

    def _moving(self) -> set[Any]:
        """The ids of the tasks, once both requests move bytes."""
        rows = tasks(self.user.node_paths)
        assert len(rows) == len(OTHERS)
        assert all(row["task"] and row["bytes_done"] for row in rows)
        return {row["task"] for row in rows}

    def finish(self) -> None:
        """Both requests end well, by the tasks that they had. :raises AssertionError: they do not."""
        eventually(self._goes_on)
        self.box.sandbox.clear()
        assert [stage.wait(40) for stage in self.stages] == [0, 0]
        for number, data in self.data.items():
            assert Path(self.user.node_paths.scratch(job(number).key), number).read_bytes() == data
        found = self.box.sandbox.status()
        assert sum(found["tasks"].values()) == len(self.tasks), "a task was submitted twice"
        assert set(found["gcp"]["user_live_max"].values()) == {1}, "two GCP were up at a time"

    def _goes_on(self) -> bool:
        found = leader(self.user)
        assert found.ready
        assert (found.endpoint_id, found.lease) == (self.first.endpoint_id, self.first.lease)
        return True

    def nothing_is_left(self) -> None:
        for made in (self.leader, *self.others):
            if made.process.alive:
                made.run(f"'{NODEXFER[0]}' -m nodexfer release")
        assert is_cleared(self.user)
        assert quiet(self.user)


@contextmanager
def crowded(user: Config, box: Box) -> Iterator[Crowd]:
    with ExitStack() as stack:
        yield Crowd(user, box, stack)


@pytest.fixture
def crowd(user: Config, box: Box) -> Iterator[Crowd]:
    with crowded(user, box) as made:
        yield made


def gone(crowd: Crowd, *kinds: str) -> bool:
    """None of these processes, as they were before, lives. :raises AssertionError: one does."""
    left = [process for kind in kinds for process in crowd.old[kind] if process.alive]
    assert not left, left
    return True


# -- the leader's side dies


def the_script_ends(crowd: Crowd) -> None:
    crowd.leader.end()


def the_hold_is_released(crowd: Crowd) -> None:
    crowd.leader.must("release")


def the_whole_group(crowd: Crowd) -> None:
    crowd.leader.kill()


def everything_at_once(crowd: Crowd) -> None:
    """As a cgroup is killed: no time between the leader, its desk, its guard and GCP."""
    found = [process for kind in ("desk", "guard", "gcp") for process in crowd.old[kind]]
    for process in [keeper(crowd.user, "1"), *found]:
        procs.signal(process, signal.SIGKILL)
    crowd.leader.kill()


def the_keeper(crowd: Crowd) -> None:
    kill(keeper(crowd.user, "1"))


def the_keeper_and_the_guard(crowd: Crowd) -> None:
    procs.signal(one_of(crowd.user, "guard"), signal.SIGKILL)
    kill(keeper(crowd.user, "1"))


def the_keeper_is_told_to_go(crowd: Crowd) -> None:
    procs.signal(keeper(crowd.user, "1"), signal.SIGTERM)


@pytest.mark.parametrize(
    "death",
    [
        the_script_ends,
        the_hold_is_released,
        the_whole_group,
        everything_at_once,
        the_keeper,
        the_keeper_and_the_guard,
        the_keeper_is_told_to_go,
    ],
)
def test_the_requests_of_others_outlive_the_leader(crowd: Crowd, death: Callable[[Crowd], None]) -> None:
    death(crowd)
    second = eventually(lambda: _led_by_another(crowd))
    assert second.keeper in {job(number).key for number in OTHERS}
    gone(crowd, "desk", "guard", "gcp")
    crowd.finish()
    crowd.nothing_is_left()


def _led_by_another(crowd: Crowd) -> endpoint.Endpoint:
    found = leader(crowd.user)
    assert found.keeper != crowd.first.keeper
    assert found.ready
    return found


# -- a part of it dies, and the leader mends


def _of_gcp(crowd: Crowd, word: str) -> ProcessId:
    """The first of GCP's processes with ``word`` in its command line."""
    for process in sorted(crowd.old["gcp"]):
        if word.encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            return process
    raise AssertionError(f"no process of GCP is called {word}")


@pytest.mark.parametrize("part", ["gc-ctrl.py", "globusconnectpersonal", "gc.py"])
def test_the_requests_of_others_outlive_gcp(crowd: Crowd, part: str) -> None:
    kill(_of_gcp(crowd, part))
    eventually(lambda: gone(crowd, "guard", "gcp"))
    crowd.finish()
    crowd.nothing_is_left()


def test_the_requests_of_others_outlive_a_relaytool(crowd: Crowd) -> None:
    """GCP starts another one by itself: nobody has to do anything."""
    kill(_of_gcp(crowd, "relaytool"))
    crowd.finish()
    crowd.nothing_is_left()


def test_the_requests_of_others_outlive_the_guard(crowd: Crowd) -> None:
    kill(one_of(crowd.user, "guard"))
    eventually(lambda: gone(crowd, "guard", "gcp"))
    crowd.finish()
    crowd.nothing_is_left()


def test_the_requests_of_others_outlive_the_desk(crowd: Crowd) -> None:
    kill(one_of(crowd.user, "desk"))
    eventually(lambda: bool(parts(crowd.user)["desk"]))
    crowd.finish()
    assert parts(crowd.user)["guard"] == crowd.old["guard"], "GCP was stopped for nothing"
    crowd.nothing_is_left()


# -- the service, and the way to it


@pytest.mark.parametrize("kind", ["wedge", "disconnect"])
def test_an_endpoint_that_the_service_loses_is_mended_and_the_requests_finish(crowd: Crowd, kind: str) -> None:
    crowd.box.sandbox.fault(kind, endpoint=crowd.first.endpoint_id)
    eventually(lambda: leader(crowd.user).state == endpoint.MENDING)
    eventually(lambda: gone(crowd, "guard", "gcp"))
    crowd.box.sandbox.clear()
    crowd.finish()
    crowd.nothing_is_left()


def test_an_endpoint_that_is_away_for_a_moment_is_left_alone(crowd: Crowd) -> None:
    fault = crowd.box.sandbox.fault("disconnect", endpoint=crowd.first.endpoint_id)
    eventually(lambda: not _connected(crowd))
    crowd.box.sandbox.clear(fault)
    crowd.finish()
    assert parts(crowd.user)["gcp"], "GCP is there"
    assert parts(crowd.user)["guard"] == crowd.old["guard"], "and is the one that it was"
    crowd.nothing_is_left()


def _connected(crowd: Crowd) -> bool:
    known = crowd.box.sandbox.status()["endpoints"]
    return any(found["connected"] for found in known if found["id"] == crowd.first.endpoint_id)


def test_a_service_that_is_started_again_finishes_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sites = {name: str(tmp_path / name) for name in ("site", "other")}
    for directory in sites.values():
        os.mkdir(directory)
    with Sandbox.start(tmp_path / "box", sites, allow_root=True, switches=QUICK) as sandbox:
        box = Box(sandbox, tmp_path / "site", tmp_path / "other")
        with crowded(_user_of(box, monkeypatch), box) as crowd:
            sandbox._kill()
            sandbox.stop(0.1)
            with Sandbox.start(tmp_path / "box", sites, allow_root=True, switches=QUICK) as again:
                crowd.box = Box(again, box.site, box.other)
                crowd.finish()
                crowd.nothing_is_left()


def _user_of(box: Box, monkeypatch: pytest.MonkeyPatch) -> Config:
    """As the fixture ``user``, of a sandbox that may be killed."""
    for name, value in {**box.sandbox.environment, "NODEXFER_LINGER": "0.5"}.items():
        monkeypatch.setenv(name, value)
    home = Path(os.environ["HOME"], ".nodexfer")
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(f'[collections.site]\nid = "{box.site_id}"\n')
    return place()
