"""Several places: on one node they take turns, between nodes an idle endpoint is given to who waits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodexfer.config import Config
from nodexfer.identity import boot_id
from nodexfer.node import endpoint
from nodexfer.pool import lease as leases
from nodexfer.pool.waiting import Queue
from tests.support import eventually
from tests.support.holding import Script, keeper, place, script, told
from tests.support.leading import held, leader, make_pool, quiet, ready, user
from tests.support.sandbox import Box, Gcp

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
            eventually(lambda: _gave_back(user, queue), 25.0)
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
        found = eventually(lambda: _waits(other))
        assert "Another place of this node has its turn: job 1" in found.message
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


# -- places with a /tmp of their own

root = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare(1)"),
]
