"""Salvage in a job, resume from a login node: real commands, two site collections, no GCP at all."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.errors import CollectionUnknown
from nodexfer.scheduler import Job
from nodexfer.staging import intents, salvage, salvage_record
from nodexfer.staging.client import Client
from nodexfer.staging.salvage import Salvaged
from tests.support.holding import NODEXFER, nodexfer, told
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually


@pytest.fixture
def user(box: Box) -> User:
    """Whose home the collection ``shared`` shows, below its /users."""
    user = User(box, endpoints=0)
    box.sandbox.add_site("shared", str(user.home.parent))
    config = (user.home / "config.toml").read_text()
    user.configure(
        f'{config}[collections.shared]\nid = "{box.sandbox.site_id("shared")}"\nlocal_path = "{user.home.parent}"\n'
    )
    return user


def save(user: User, *sources: str, dest: str = "site:/results/") -> Salvaged:
    sends = intents.sends(list(sources), dest, user.config, base=str(user.root))
    who = Client(user.config, Job("local", "n", "1", 0), time.time() + 60, user.environ)
    return salvage.save(who, sends, deadline=time.time() + 60)


def outputs(user: User) -> dict[str, bytes]:
    have = {"a": os.urandom(300_000), "d/b": b"b", "d/e/ü": b"", "d/e/f g": os.urandom(70_000)}
    for name, data in have.items():
        (user.root / name).parent.mkdir(parents=True, exist_ok=True)
        (user.root / name).write_bytes(data)
    return have


def contents(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_resume_brings_what_was_salvaged_to_its_destination_without_any_endpoint(user: User) -> None:
    have = outputs(user)
    saved = save(user, "a", "d")
    found = told("resume", saved.receipt.id, environ=user.environ)
    assert contents(user.site / "results") == have
    assert found["failed"] == []
    assert found["resumed"][0]["state"] == "done"
    assert {status: count for status, count in user.tasks().items() if count} == {"SUCCEEDED": 1}
    assert not (user.home / "salvage").exists()
    assert user.leftovers() == []
    assert [receipt["state"] for receipt in user.receipts] == ["done"]
    again = nodexfer("resume", environ=user.environ)
    assert (again.code, "Nothing waits" in again.err) == (0, True)


def test_a_resume_that_was_killed_is_gone_on_with_by_the_next(user: User) -> None:
    """Its task goes on meanwhile; the second follows the same one."""
    have = outputs(user)
    save(user, "a", "d")
    user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=20_000)
    (directory,) = salvage_record.directories(user.config.home_paths)
    child = procs.spawn([*NODEXFER, "resume"], environ={**os.environ, **user.environ})
    eventually(lambda: '"task":"' in "".join(path.read_text() for path in Path(directory).glob("task-*.json")))
    child.signal(signal.SIGKILL)
    child.wait(10)
    user.box.sandbox.clear()
    done = nodexfer("resume", environ=user.environ)
    assert done.code == 0, done
    assert contents(user.site / "results") == have
    assert sum(user.tasks().values()) == 1
    assert not (user.home / "salvage").exists()


def test_where_no_collection_shows_the_salvage_the_error_names_the_line_that_is_missing(user: User) -> None:
    outputs(user)
    save(user, "a")
    user.configure((user.home / "config.toml").read_text().replace("local_path", "#"))
    done = nodexfer("resume", "--json", environ=user.environ)
    assert done.code == CollectionUnknown.exit_code
    assert "local_path" in json.loads(done.out)["message"]
    assert len(salvage_record.directories(user.config.home_paths)) == 1


def test_one_that_fails_does_not_keep_the_others_from_going(user: User) -> None:
    have = outputs(user)
    (user.site / "there").write_bytes(b"old")
    save(user, "a", dest="site:/there")
    save(user, "d", dest="other:/")
    done = nodexfer("resume", "--json", environ=user.environ)
    found = json.loads(done.out)
    assert (done.code, [one["error"] for one in found["failed"]]) == (23, ["DestinationExists"])
    assert len(found["resumed"]) == 1
    assert {f"d/{name}": data for name, data in contents(user.other / "d").items()} == {
        name: data for name, data in have.items() if name.startswith("d/")
    }
    assert (user.site / "there").read_bytes() == b"old"
    assert nodexfer("resume", "--overwrite", environ=user.environ).code == 0
    assert (user.site / "there").read_bytes() == have["a"]
