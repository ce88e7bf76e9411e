"""The pool as a user has it: created, listed, shown and removed, with the sandbox and its stand-in for GCP."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.config import load
from nodexfer.errors import ForeignGcp
from nodexfer.gcp import configdir, install, process
from nodexfer.gcp.strays import strays
from nodexfer.pool import lease as leases
from nodexfer.pool.ask import Ask, ask_scheduler, ask_service
from nodexfer.pool.choose import acquire
from nodexfer.pool.lease import Me
from tests.support.sandbox import Box
from tests.support.waiting import eventually

ME = Me("local", "here", "node1", "boot-1", "place-1", "/nowhere", "17", 0)


class User(NamedTuple):
    box: Box
    environ: dict[str, str]

    def pool(self, *arguments: str) -> procs.Completed:
        return procs.run(
            [sys.executable, "-m", "nodexfer", "pool", *arguments], timeout=60, environ=self.environ, cwd="/"
        )

    def json(self, *arguments: str) -> Any:
        done = self.pool(*arguments, "--json")
        assert done.code == 0, done
        return json.loads(done.out)

    def fails(self, *arguments: str) -> dict[str, Any]:
        """The error record that the command prints."""
        done = self.pool(*arguments, "--json")
        found: dict[str, Any] = json.loads(done.out)
        assert done.code == found["exit_code"], done
        assert "Traceback" not in done.err
        return found

    @property
    def entries(self) -> Path:
        return Path(self.environ["HOME"]) / ".nodexfer/pool/default"

    def endpoints(self) -> list[str]:
        """The ids of the GCP endpoints that the service knows."""
        return [found["id"] for found in self.box.sandbox.status()["endpoints"] if found["kind"] == "gcp"]


@pytest.fixture
def user(box: Box, tmp_path: Path) -> User:
    home = tmp_path / "home"
    home.mkdir()
    return User(box, {**box.environment, "HOME": str(home), "NODEXFER_NODE_DIR": str(tmp_path / "node")})


def test_a_pool_is_created_listed_shown_and_removed(user: User) -> None:
    made = user.json("create", "--count", "2", "--prefix", "mynode")
    assert [one["name"] for one in made] == ["mynode-1", "mynode-2"]
    assert sorted(user.endpoints()) == sorted(one["endpoint_id"] for one in made)
    listed = user.json("list")
    assert [one["state"] for one in listed] == ["free", "free"]
    shown = user.json("show", "mynode-2")
    assert (shown["endpoint_id"], shown["connected"], shown["state"]) == (made[1]["endpoint_id"], False, "free")
    assert user.json("remove", "mynode-1") == {"removed": "mynode-1"}
    assert user.endpoints() == [made[1]["endpoint_id"]]
    assert os.listdir(user.entries) == ["mynode-2"]
    assert [one["name"] for one in user.json("create", "--count", "1", "--prefix", "mynode")] == ["mynode-1"]


def test_for_people_it_prints_tables_of_80_columns(user: User) -> None:
    user.json("create", "--count", "1", "--prefix", "a-rather-long-prefix-for-an-endpoint")
    for arguments in (["list"], ["show", "a-rather-long-prefix-for-an-endpoint-1"]):
        done = user.pool(*arguments)
        assert done.code == 0, done
        assert max(map(len, done.out.splitlines())) <= 80
        assert "free" in done.out
        assert not [line for line in done.out.splitlines() if line != line.rstrip()]
    assert user.pool("show", "a-rather-long-prefix-for-an-endpoint-1").out.startswith("name ")


def test_what_comes_next_is_told_when_a_pool_is_made(user: User) -> None:
    assert user.pool("create", "--count", "1", "--prefix", "a").err.endswith("\nNext: nodexfer pool list\n")
    more = user.pool("create", "--count", "1", "--prefix", "b", "--pool", "other")
    assert more.err.endswith("\nNext: nodexfer pool list --pool other\n")


def test_all_of_it_is_private_and_no_secret_is_printed_or_kept(user: User) -> None:
    done = user.pool("create", "--count", "1", "--prefix", "mynode")
    (name,) = os.listdir(user.entries)
    files = [path for path in user.entries.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (*files, user.entries, user.entries / name)} == {0}
    secret = user.environ["NODEXFER_CLIENT_SECRET"]
    assert secret not in done.out + done.err
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert "setup_key" not in json.dumps(user.json("show", name))


def test_a_held_endpoint_is_listed_with_its_holder_and_not_removed(user: User) -> None:
    user.json("create", "--count", "1", "--prefix", "mynode")
    lease = acquire(load(user.environ), ME, Deadline(30), lambda text: None)
    (listed,) = user.json("list")
    assert (listed["state"], listed["lease"]["job"], listed["lease"]["host"]) == ("held", "17", "node1")
    error = user.fails("remove", "mynode-1")
    assert error["error"] == "EndpointHeld"
    assert "job 17 on node1" in error["message"]
    leases.give_back(lease)
    user.json("remove", "mynode-1")
    assert user.endpoints() == []


def test_another_identitys_endpoint_is_named_and_only_forgotten(user: User) -> None:
    user.json("create", "--count", "1", "--prefix", "mynode")
    client, secret = user.box.sandbox.add_client()
    other = User(user.box, {**user.environ, "NODEXFER_CLIENT_ID": client, "NODEXFER_CLIENT_SECRET": secret})
    for command in ("show", "remove"):
        error = other.fails(command, "mynode-1")
        assert error["error"] == "EndpointNotOurs"
        assert error["next"] == "nodexfer pool remove --forget mynode-1"
    other.json("remove", "--forget", "mynode-1")
    assert os.listdir(user.entries) == []
    assert len(user.endpoints()) == 1


def test_a_setup_that_fails_leaves_nothing(user: User, tmp_path: Path) -> None:
    gcp = tmp_path / "gcp"
    gcp.write_text("#!/bin/sh\necho no such key >&2\nexit 1\n")
    gcp.chmod(0o700)
    broken = User(user.box, {**user.environ, "NODEXFER_GCP": str(gcp)})
    error = broken.fails("create", "--count", "2", "--prefix", "mynode")
    assert error["error"] == "EndpointFailed"
    assert "no such key" in error["message"]
    assert os.listdir(user.entries) == []
    assert user.endpoints() == []


@pytest.mark.parametrize("stage", ["asked", "created", "set up"])
def test_what_a_killed_creation_left_is_broken_and_can_be_removed(user: User, stage: str) -> None:
    user.json("create", "--count", "1", "--prefix", "mynode")
    path = user.entries / "mynode-1/record.json"
    record = {**json.loads(path.read_text()), "complete": False}
    if stage != "set up":
        configdir.remove(str(user.entries / "mynode-1/config"))
    path.write_text(json.dumps({**record, "endpoint_id": None} if stage == "asked" else record))
    (listed,) = user.json("list")
    assert (listed["state"], listed["broken"]) == ("broken", "its set-up was never finished")
    user.json("remove", "mynode-1")
    assert user.endpoints() == []
    assert os.listdir(user.entries) == []


def test_an_endpoint_that_the_service_forgot_is_shown_as_broken_and_removed(user: User) -> None:
    (made,) = user.json("create", "--count", "1", "--prefix", "mynode")
    user.box.sandbox.reset()
    assert user.json("show", "mynode-1")["broken"] == "the service does not know its endpoint any more"
    assert made["endpoint_id"] not in user.endpoints()
    user.json("remove", "mynode-1")
    assert os.listdir(user.entries) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["list"], "PoolMissing"),
        (["show", "nobody"], "PoolMissing"),
        (["create", "--count", "1", "--prefix", "a/b"], "ConfigInvalid"),
        (["create", "--count", "1", "--prefix", ".hidden"], "ConfigInvalid"),
    ],
)
def test_what_can_not_be_is_said_in_a_sentence(user: User, arguments: list[str], error: str) -> None:
    found = user.fails(*arguments)
    assert found["error"] == error
    assert found["next"].startswith("nodexfer pool")


def test_without_a_token_or_a_program_nothing_is_made(user: User) -> None:
    bare = User(user.box, {key: value for key, value in user.environ.items() if "CLIENT" not in key})
    assert bare.fails("create", "--count", "1", "--prefix", "mynode")["error"] == "TokenMissing"
    no_gcp = User(user.box, {**user.environ, "NODEXFER_GCP": "/nowhere/gcp"})
    assert no_gcp.fails("create", "--count", "1", "--prefix", "mynode")["error"] == "GcpMissing"
    assert not user.entries.exists()


class Node(NamedTuple):
    """What a leader has for one lease: GCP's program, working copy, exchange, log and guard's lock."""

    user: User
    lease: leases.Lease
    directory: Path

    @property
    def working(self) -> str:
        return str(self.directory / "gcp-working")

    def start(self) -> process.Running:
        config = load(self.user.environ)
        program = install.find(config, self.user.environ)
        log, lock = str(self.directory / "gcp.log"), str(self.directory / "guard.lock")
        return process.start(program, config, self.working, [str(self.directory)], log, lock, allowed=60.0)

    def connected(self) -> bool:
        (found,) = [one for one in self.user.box.sandbox.status()["endpoints"] if one["kind"] == "gcp"]
        return bool(found["connected"])


@pytest.fixture
def node(user: User, tmp_path: Path) -> Node:
    """A lease is taken, and its config directory checked out."""
    (made,) = user.json("create", "--count", "1", "--prefix", "mynode")
    lease = acquire(load(user.environ), ME, Deadline(30), lambda text: None)
    (tmp_path / "leader").mkdir(mode=0o700)
    found = Node(user, lease, tmp_path / "leader")
    assert configdir.check_out(f"{lease.directory}/config", found.working) == made["endpoint_id"]
    return found


def test_a_leased_endpoint_runs_under_a_guard_and_the_service_sees_it_come_and_go(node: Node) -> None:
    running = node.start()
    try:
        eventually(lambda: running.holds_address(load(node.user.environ)))
        eventually(node.connected)
        assert node.user.json("show", "mynode-1")["connected"] is True
    finally:
        assert running.stop()
    assert strays(node.working) == []
    eventually(lambda: not node.connected())
    configdir.check_in(node.working, f"{node.lease.directory}/config")
    leases.give_back(node.lease)
    assert node.user.json("list")[0]["state"] == "free"


def test_after_the_guard_itself_was_killed_the_next_start_leaves_one_gcp(node: Node) -> None:
    first = node.start()
    eventually(node.connected)
    first.guard.kill()
    eventually(lambda: not first.alive)
    second = node.start()
    try:
        eventually(node.connected)
        assert second.holds_address(load(node.user.environ))
    finally:
        assert second.stop()
        first.guard.close()
    assert strays(node.working) == []
    live = node.user.box.sandbox.status()["gcp"]["live_max"]
    assert (max(live.values()) if isinstance(live, dict) else live) == 1


def test_a_second_gcp_of_the_user_is_never_started(node: Node) -> None:
    first = node.start()
    try:
        config = load(node.user.environ)
        program = install.find(config, node.user.environ)
        log, lock = str(node.directory / "other.log"), str(node.directory / "other.lock")
        with pytest.raises(ForeignGcp):
            process.start(program, config, f"{node.working}-2", [str(node.directory)], log, lock, timeout=0.5)
        assert first.alive
    finally:
        assert first.stop()


def test_the_endpoint_of_a_silent_owner_is_asked_about_and_taken(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in user.environ.items():
        monkeypatch.setenv(name, value)
    user.json("create", "--count", "1", "--prefix", "mynode")
    config = load({**user.environ, "NODEXFER_LEASE": "0.2"})
    assert acquire(config, ME, Deadline(30), lambda text: None).number == 1

    def connected(endpoint: str) -> bool | None:
        return ask_service(load(user.environ), endpoint)

    ask = Ask(connected, partial(ask_scheduler, config), quiet=1.0)
    other = ME._replace(host="node2", boot="boot-2", place="place-2")
    found = acquire(config, other, Deadline(30), lambda text: None, ask, lambda _: time.sleep(0.05))
    assert found.number == 2
