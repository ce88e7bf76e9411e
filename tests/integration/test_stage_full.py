"""Full disks, and a node_dir that goes: named for what they are, and nothing half done.

What needs a file system of its own is mounted in a mount namespace, and needs root.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nodexfer import procs
from tests.support.holding import remove
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually

COMMAND = f"exec {sys.executable} -m nodexfer stage-in site:/a $ROOT/a"


@pytest.fixture
def user(box: Box) -> User:
    user = User(box)
    (user.site / "a").write_bytes(os.urandom(3_000_000))
    return user


def stage_in(user: User, first: str) -> procs.Completed:
    """Stage in 3 MB, in a mount namespace where ``first`` was done."""
    environ = {**os.environ, **user.environ, "NODEXFER_JOB_ID": "1", "ROOT": str(user.root), "NX": str(user.home)}
    return procs.run(["unshare", "-m", "sh", "-ec", f"{first}; {COMMAND}"], timeout=60, environ=environ)


@pytest.mark.root
def test_a_full_disk_is_found_out_before_anything_moves(user: User) -> None:
    done = stage_in(user, "mount -t tmpfs -o size=2m,mode=700 tmpfs $ROOT")
    assert done.code == 52, done
    assert "3000000" in done.err
    assert user.tasks()["SUCCEEDED"] == 0
    assert user.receipts == []


@pytest.mark.root
def test_a_full_home_is_found_out_before_anything_moves(user: User) -> None:
    (user.home / "receipts").mkdir()
    fill = "head -c 70000 /dev/zero > $NX/receipts/full || true"
    done = stage_in(user, f"mount -t tmpfs -o size=64k tmpfs $NX/receipts; {fill}")
    assert done.code == 53, done
    assert not (user.root / "a").exists()
    assert user.tasks()["SUCCEEDED"] == 0


def test_a_node_dir_that_is_removed_under_us_is_named(user: User) -> None:
    user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=50_000)
    environ = {**os.environ, **user.environ, "NODEXFER_JOB_ID": "1", "ROOT": str(user.root)}
    child = procs.spawn(["sh", "-c", COMMAND], environ=environ, stderr=procs.PIPE)
    eventually(lambda: user.tasks()["ACTIVE"])
    remove(user.config.node_dir)
    code = child.wait(30)
    assert child.stderr is not None
    words = child.stderr.read().decode()
    child.close()
    assert code == 51, words
    assert "removed" in words
    assert "Traceback" not in words
    assert not (user.root / "a").exists()
    assert not Path(user.config.node_dir).exists()
