"""The route via the site's own collection: no GCP, no pool, two site collections on this machine."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.errors import CollectionUnknown, DestinationExists, Interrupted, PoolMissing, SourceMissing
from nodexfer.pool import entries, lease
from nodexfer.pool.leasefile import Me
from tests.support.holding import NODEXFER
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually

AWKWARD = ["a b", "ü漢", "100%25", "a,b", "[x]{y}", "-dash", "new\nline"]


@pytest.fixture
def user(box: Box) -> User:
    """Whose home the collection ``shared`` shows; there is no endpoint."""
    return shown(User(box, endpoints=0))


def shown(user: User) -> User:
    box = user.box
    box.sandbox.add_site("shared", str(user.home.parent))
    config = (user.home / "config.toml").read_text()
    user.configure(
        f'{config}[collections.shared]\nid = "{box.sandbox.site_id("shared")}"\nlocal_path = "{user.home.parent}"\n'
    )
    return user


def run(user: User, *arguments: str) -> procs.Completed:
    environ = {**os.environ, **user.environ, "NODEXFER_JOB_ID": "1"}
    return procs.run([*NODEXFER, *arguments], timeout=60, environ=environ, cwd=str(user.root))


def fill(top: Path) -> dict[str, bytes]:
    for number, name in enumerate(AWKWARD):
        path = top / ("deep/er" if number % 2 else "") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(20_000 * number))
    return contents(top)


def contents(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def is_clean(user: User) -> bool:
    assert not (user.home / "via").exists()
    assert user.leftovers() == []
    return True


@pytest.mark.parametrize("route", ["via", "auto"])
def test_there_and_back_again_without_any_endpoint(user: User, route: str) -> None:
    have = fill(user.site / "set")
    done = run(user, "stage-in", "--route", route, "--json", "site:/set", "site:/set/a b", "here/")
    assert done.code == 0, done
    assert contents(user.root / "here/set") == have
    assert (user.root / "here/a b").read_bytes() == have["a b"]
    found = json.loads(done.out)
    assert (found["state"], found["route"], found["endpoint"], len(found["tasks"])) == ("done", "via", None, 1)
    done = run(user, "stage-out", "--route", route, "--verify", "checksum", "here/set", "other:/back/again")
    assert done.code == 0, done
    assert contents(user.other / "back/again") == have
    assert is_clean(user)


def test_who_says_nothing_waits_for_an_endpoint_for_a_while_and_then_goes_via(box: Box) -> None:
    user = shown(User(box, endpoints=1))
    (entry,) = entries.read_pool(user.config.home_paths, "default")
    elsewhere = Me("slurm", "alpha", "node17", "boot", "place", "/tmp/nodexfer-1", "4711", 0)
    assert lease.take(entry.directory, 1, elsewhere, entry.endpoint_id, 300.0) is not None
    (user.site / "f").write_bytes(b"f")
    user.environ["NODEXFER_VIA_AFTER"] = "5"
    done = run(user, "stage-in", "--json", "site:/f", "f")
    assert done.code == 0, done
    assert (user.root / "f").read_bytes() == b"f"
    found = json.loads(done.out)
    assert (found["route"], found["endpoint"], len(found["warnings"])) == ("via", None, 1)
    assert "node17" in found["warnings"][0]
    assert "Else in " in done.err, done
    assert "Warning: it went via the site's own collection: No endpoint is free" in done.err
    eventually(lambda: is_clean(user))


def test_flags_mean_what_they_mean_by_the_other_route(user: User) -> None:
    (user.site / "f").write_bytes(b"new")
    (user.root / "f").write_bytes(b"old")
    assert run(user, "stage-in", "site:/f", "f").code == DestinationExists.exit_code
    assert run(user, "stage-in", "--overwrite", "site:/f", "f").code == 0
    assert (user.root / "f").read_bytes() == b"new"
    (user.other / "f").write_bytes(b"old")
    assert run(user, "stage-out", "--route", "via", "f", "other:/f").code == DestinationExists.exit_code
    assert (user.other / "f").read_bytes() == b"old"
    assert run(user, "stage-out", "--overwrite", "f", "other:/f").code == 0
    assert (user.other / "f").read_bytes() == b"new"
    assert is_clean(user)


def test_direct_stays_direct_and_what_is_missing_is_said(user: User) -> None:
    (user.site / "f").write_bytes(b"f")
    assert run(user, "stage-in", "--route", "direct", "site:/f", "f").code == PoolMissing.exit_code
    assert run(user, "stage-in", "site:/missing", "f").code == SourceMissing.exit_code
    user.configure((user.home / "config.toml").read_text().replace("local_path", "#"))
    done = run(user, "stage-in", "--route", "via", "site:/f", "f")
    assert (done.code, "local_path" in done.err) == (CollectionUnknown.exit_code, True)
    assert run(user, "stage-in", "site:/f", "f").code == PoolMissing.exit_code
    assert is_clean(user)


def test_a_signal_to_the_whole_job_ends_the_task_in_good_order(user: User) -> None:
    (user.site / "f").write_bytes(os.urandom(5_000_000))
    user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=20_000)
    environ = {**os.environ, **user.environ, "NODEXFER_JOB_ID": "1"}
    argv = [*NODEXFER, "stage-in", "--route", "via", "site:/f", f"{user.root}/f"]
    child = procs.spawn(argv, environ=environ, new_group=True)
    eventually(lambda: user.tasks().get("ACTIVE") == 1)
    os.killpg(child.pid, signal.SIGTERM)
    assert child.wait(30) == Interrupted.exit_code
    assert (user.tasks()["ACTIVE"], user.tasks()["FAILED"]) == (0, 1)
    assert not (user.home / "via").exists()


def test_run_takes_the_same_way(user: User) -> None:
    (user.site / "f").write_bytes(b"data")
    script = 'cp "$NODEXFER_SCRATCH/f" "$NODEXFER_SCRATCH/g"'
    done = run(user, "run", "--in", "site:/f", "--out", "g=other:/g", "--", "sh", "-c", script)
    assert done.code == 0, done
    assert (user.other / "g").read_bytes() == b"data"
    assert is_clean(user)


def test_a_task_that_stands_still_is_ended_and_another_one_brings_the_bytes(user: User) -> None:
    have = fill(user.site / "set")
    user.box.sandbox.fault("fail_path", endpoint=user.box.site_id, path="/set/a b", code="ENDPOINT_TOO_BUSY")
    environ = {**os.environ, **user.environ, "NODEXFER_JOB_ID": "1"}
    argv = [*NODEXFER, "stage-in", "--route", "via", "--stall", "2", "site:/set", f"{user.root}/here"]
    child = procs.spawn(argv, environ=environ)
    eventually(lambda: user.tasks().get("FAILED") == 1, 60.0)
    user.box.sandbox.clear()
    assert child.wait(60) == 0
    assert contents(user.root / "here") == have
    (found,) = user.receipts
    assert (found["attempts"], len(found["tasks"])) == (2, 2)
    assert [trouble["code"] for trouble in found["troubles"]] == ["ENDPOINT_TOO_BUSY", "STALLED"]
    assert is_clean(user)


def test_what_a_whole_job_that_was_killed_has_left_is_ended_by_the_next(user: User) -> None:
    """Command and child at once, as a cgroup is killed: nobody is there to end the task."""
    (user.site / "f").write_bytes(os.urandom(5_000_000))
    user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=20_000)
    environ = {**os.environ, **user.environ, "NODEXFER_JOB_ID": "1"}
    argv = [*NODEXFER, "stage-in", "--route", "via", "site:/f", f"{user.root}/f"]
    child = procs.spawn(argv, environ=environ, new_group=True)
    eventually(lambda: user.tasks().get("ACTIVE") == 1)
    child.kill_group()
    child.wait(10)
    assert user.tasks().get("ACTIVE") == 1
    assert (user.home / "via").exists()
    (user.site / "g").write_bytes(b"g")
    assert run(user, "stage-in", "--route", "via", "site:/g", "g").code == 0
    assert (user.tasks()["ACTIVE"], user.tasks()["FAILED"]) == (0, 1)
    assert not (user.home / "via").exists()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_ended_takes_its_task_with_it(user: User, end: signal.Signals) -> None:
    (user.site / "f").write_bytes(os.urandom(5_000_000))
    user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=20_000)
    environ = {**os.environ, **user.environ, "NODEXFER_JOB_ID": "1"}
    child = procs.spawn([*NODEXFER, "stage-in", "--route", "via", "site:/f", f"{user.root}/f"], environ=environ)
    eventually(lambda: user.tasks().get("ACTIVE") == 1)
    child.signal(end)
    child.wait(30)
    eventually(lambda: user.tasks().get("FAILED") == 1 and not (user.home / "via").exists())
    assert not (user.root / "f").exists()
    user.box.sandbox.clear()
    assert run(user, "stage-in", "site:/f", "f").code == 0
    assert (user.root / "f").read_bytes() == (user.site / "f").read_bytes()
    eventually(lambda: user.leftovers() == [])
