"""endpoint.json: what the leader says, and whether a leader stands behind it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import EndpointFailed, ForeignGcp, GcpMissing, PoolExhausted
from nodexfer.node import endpoint, failure, hold, ready
from nodexfer.node.status import gather
from nodexfer.paths import NodePaths, ground
from tests.support.holding import job, place


@pytest.fixture
def config() -> Config:
    found = place()
    found.node_paths.make()
    return found


@pytest.fixture
def paths(config: Config) -> NodePaths:
    return config.node_paths


@contextmanager
def leading(paths: NodePaths) -> Iterator[endpoint.Notice]:
    descriptor = os.open(paths.node_dir, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield endpoint.Notice(paths, "job", 1.0)
    finally:
        os.close(descriptor)


def test_nobody_has_said_anything_where_nobody_led(paths: NodePaths) -> None:
    assert endpoint.read(paths) is None
    assert not endpoint.left_behind(paths)


def test_what_a_leader_says_is_ready_only_while_it_leads(paths: NodePaths) -> None:
    with leading(paths) as notice:
        notice.say(endpoint.STARTING, "on its way")
        notice.say(endpoint.READY, ready_at=1.0, endpoint_id="e", lease=3, exchanges={"/tmp": "/tmp/x"})
        found = endpoint.read(paths)
        assert found is not None
        assert (found.ready, found.endpoint_id, found.lease, found.exchanges) == (True, "e", 3, {"/tmp": "/tmp/x"})
        assert not endpoint.left_behind(paths)
    found = endpoint.read(paths)
    assert found is not None
    assert (found.ready, found.state, found.led) == (False, endpoint.READY, False)
    assert endpoint.left_behind(paths)


def test_it_says_again_what_it_has_said_without_writing(paths: NodePaths) -> None:
    with leading(paths) as notice:
        notice.say(endpoint.STARTING)
        before = os.stat(paths.endpoint)
        notice.say(endpoint.STARTING)
        assert os.stat(paths.endpoint).st_ino == before.st_ino


def test_a_beat_shows_that_the_leader_lives(paths: NodePaths) -> None:
    with leading(paths) as notice:
        notice.say(endpoint.STARTING)
        os.utime(paths.endpoint, (1, 1))
        endpoint.beat(paths)
        found = endpoint.read(paths)
        assert found is not None
        assert found.beat > 1e9
        notice.remove()
        endpoint.beat(paths)
    assert endpoint.read(paths) is None


# -- waiting for it


def taken(since: float | None = None) -> hold.Taken:
    return hold.Taken("hold", job().key, "/scratch", time.time() if since is None else since)


def test_an_endpoint_that_is_ready_is_not_waited_for(config: Config) -> None:
    with leading(config.node_paths) as notice:
        notice.say(endpoint.READY, endpoint_id="e")
        found = ready.wait(config, job(), taken(), 0.0, Deadline(5))
    assert found.endpoint_id == "e"


def test_who_has_no_patience_is_told_what_is_waited_for(config: Config) -> None:
    with leading(config.node_paths) as notice:
        notice.say(endpoint.WAITING, waiting=PoolExhausted("All are taken."))
        with pytest.raises(PoolExhausted, match=r"All are taken\."):
            ready.wait(config, job(), taken(), 0.0, Deadline(5))


def test_patience_is_for_waiting_and_not_for_starting(config: Config) -> None:
    with leading(config.node_paths) as notice:
        notice.say(endpoint.STARTING, "starting GCP")
        with pytest.raises(EndpointFailed, match="not ready in time: starting, starting GCP"):
            ready.wait(config, job(), taken(), 0.0, Deadline(0.2))


def test_a_leader_that_is_suspended_is_named(config: Config) -> None:
    with leading(config.node_paths) as notice:
        notice.say(endpoint.STARTING)
        os.utime(config.node_paths.endpoint, (1, 1))
        with pytest.raises(EndpointFailed, match=rf"process {os.getpid()} of job job.*no sign of life"):
            ready.wait(config, job(), taken(), None, Deadline(0.1))


def test_a_failure_from_before_the_hold_is_not_about_it(config: Config) -> None:
    failure.write(config.node_paths, job().key, GcpMissing("There is none."))
    with pytest.raises(EndpointFailed, match="nobody leads"):
        ready.wait(config, job(), taken(time.time() + 60), None, Deadline(0.1))
    with pytest.raises(GcpMissing, match=r"There is none\."):
        ready.wait(config, job(), taken(0.0), None, Deadline(5))


def test_a_failure_from_before_the_clock_was_set_back_is_not_about_the_hold(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    failure.write(config.node_paths, job().key, GcpMissing("There is none."))
    monkeypatch.setattr(time, "time", lambda: now() - 3600.0)
    with pytest.raises(EndpointFailed, match="nobody leads"):
        ready.wait(config, job(), taken(), None, Deadline(0.1))


def test_the_variables_name_a_directory_that_the_endpoint_sees(config: Config) -> None:
    exchange = Path(config.node_dir, "exchange/1")
    (exchange / "jobs").mkdir(parents=True)
    with leading(config.node_paths) as notice:
        notice.say(endpoint.READY, endpoint_id="e", exchanges={config.roots[0]: str(exchange)})
        found = endpoint.read(config.node_paths)
    assert found is not None
    values = ready.variables(config, taken(), found)
    assert values["NODEXFER_ENDPOINT_ID"] == "e"
    assert os.path.isdir(values["NODEXFER_ROOT"])
    assert values["NODEXFER_ROOT"].startswith(str(exchange))


def test_the_variables_name_no_directory_of_a_root_that_is_another_one_to_the_leader(
    config: Config, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    mine, theirs = (Path(top, "exchange/1") for top in (config.node_dir, other))
    for exchange in (mine, theirs):
        (exchange / "jobs").mkdir(parents=True)
    here = place(node_dir=config.node_dir, roots=[str(other), *config.roots])
    for seen, expected in ((ground(str(other), here.node_dir), theirs), ("another", mine)):
        with leading(config.node_paths) as notice:
            exchanges = {str(other): str(theirs), config.roots[0]: str(mine)}
            grounds = {str(other): seen, config.roots[0]: ground(config.roots[0], here.node_dir)}
            notice.say(endpoint.READY, endpoint_id="e", exchanges=exchanges, grounds=grounds)
            found = endpoint.read(config.node_paths)
        assert found is not None
        assert ready.variables(here, taken(), found)["NODEXFER_ROOT"].startswith(f"{expected}/")


# -- status


def test_status_of_a_node_that_nobody_uses_makes_nothing() -> None:
    config = place()
    found = gather(config)
    assert (found["place"], found["endpoint"], found["jobs"], found["tasks"]) == (None, None, [], [])
    assert not os.path.exists(config.node_dir)


def test_status_calls_what_a_dead_leader_left_by_its_name(config: Config) -> None:
    with leading(config.node_paths) as notice:
        notice.say(endpoint.WAITING, waiting=ForeignGcp("Another one runs."))
        assert gather(config)["endpoint"]["state"] == "waiting"
        assert gather(config)["endpoint"]["waiting"]["error"] == "ForeignGcp"
    assert gather(config)["endpoint"]["state"] == "left behind"
