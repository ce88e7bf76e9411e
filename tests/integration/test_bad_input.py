"""Whatever is wrong: one clear sentence, the next command to type, an exit code of its own, and nothing half done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.pool import entries, lease
from nodexfer.pool.leasefile import Me
from tests.support.holding import NODEXFER
from tests.support.sandbox import Box
from tests.support.user import User

UUID = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def user(box: Box) -> User:
    return User(box)


def nodexfer(user: User, *arguments: str, **environ: str) -> procs.Completed:
    known = {**os.environ, **user.environ, "NODEXFER_JOB_ID": "1", **environ}
    kept = {key: value for key, value in known.items() if value != "-"}
    return procs.run([*NODEXFER, *arguments], timeout=60, environ=kept, cwd=str(user.root))


def refused(user: User, code: int, *arguments: str, **environ: str) -> str:
    """Run it; its words. Everything that every refusal has in common is seen to."""
    began = time.monotonic()
    done = nodexfer(user, *arguments, **environ)
    assert done.code == code, done
    assert time.monotonic() - began < 30
    lines = [line for line in done.err.strip().splitlines() if not line.startswith("stage-")]  # without progress
    assert done.out == ""
    assert "Traceback" not in done.err
    assert [line for line in lines if line.startswith("nodexfer: ")], done.err
    assert lines[-1].startswith("Next: "), done.err
    assert len(lines) == 2, done.err
    assert user.leftovers() == []
    assert not (user.home / "receipts").exists() or user.receipts == []
    return done.err


def test_no_configuration(user: User) -> None:
    (user.home / "config.toml").unlink()
    assert "config.toml" in refused(user, 10, "stage-in", "site:/a", "x")


def test_a_configuration_that_is_none(user: User) -> None:
    user.configure("colections = 3")
    assert "colections" in refused(user, 11, "stage-in", "site:/a", "x")


def test_an_unknown_collection(user: User) -> None:
    assert "site" in refused(user, 12, "stage-in", "sight:/a", "x")
    assert UUID in refused(user, 12, "stage-in", f"globus://{UUID}/a", "x")


@pytest.mark.parametrize("source", ["globus://site/a", "https://site/a", "site:a", "site:/../a", "/a", ""])
def test_a_malformed_source(user: User, source: str) -> None:
    refused(user, 13, "stage-in", source, "x")


def test_a_missing_source_is_told_in_seconds(user: User) -> None:
    (user.site / "there").write_text("x")
    words = refused(user, 20, "stage-in", "site:/there", "site:/gone", "into/")
    assert "/gone does not exist on collection site;" in words
    assert f"globus ls {user.box.site_id}:/" in words, "globus-cli does not know the name"
    assert not (user.root / "into").exists()


def test_a_pattern_is_said_to_be_none(user: User) -> None:
    assert "not as a pattern" in refused(user, 20, "stage-in", "site:/*.h5", "into/")


def test_a_source_that_may_not_be_read(user: User) -> None:
    (user.site / "secret").write_text("x")
    user.box.sandbox.fault("fail_path", path="/secret", code="PERMISSION_DENIED")
    refused(user, 21, "stage-in", "site:/secret", "x")
    assert not (user.root / "x").exists()


def test_a_destination_outside_the_roots(user: User) -> None:
    words = refused(user, 22, "stage-in", "site:/a", "/var/x")
    assert str(user.root) in words
    assert words.endswith('Next: eval "$(nodexfer acquire)"\n')
    assert refused(user, 22, "stage-in", "site:/a", "/var/x", NODEXFER_SCRATCH="/x").endswith("Next: nodexfer status\n")
    refused(user, 22, "stage-out", "/etc/passwd", "site:/x")


def test_a_destination_that_exists_on_the_node(user: User) -> None:
    (user.root / "x").write_text("mine")
    (user.site / "a").write_text("other")
    assert "--overwrite" in refused(user, 23, "stage-in", "site:/a", "x")
    assert (user.root / "x").read_text() == "mine"


def test_a_destination_that_exists_at_the_far_side(user: User) -> None:
    (user.root / "x").write_text("mine")
    (user.site / "a").write_text("other")
    words = refused(user, 23, "stage-out", "x", "site:/a")
    assert "exists already on collection site;" in words
    assert "--overwrite" in words
    assert (user.site / "a").read_text() == "other"


def test_an_output_that_is_not_there(user: User) -> None:
    (user.root / "x").write_text("x")
    assert "never" in refused(user, 24, "stage-out", "x", "never", "site:/out/")
    assert not (user.site / "out").exists()


def test_an_output_of_a_kind_that_is_not_moved(user: User) -> None:
    os.mkfifo(user.root / "fifo")
    refused(user, 25, "stage-out", "fifo", "site:/fifo")


def test_no_gcp_program(user: User) -> None:
    (user.site / "a").write_text("a")
    refused(user, 30, "stage-in", "site:/a", "x", NODEXFER_GCP="-", PATH="/usr/bin:/bin")


def test_no_pool(user: User) -> None:
    (user.site / "a").write_text("a")
    refused(user, 31, "stage-in", "site:/a", "x", NODEXFER_POOL="empty")


def test_a_pool_that_is_exhausted_is_not_waited_for_when_told_so(user: User) -> None:
    (user.site / "a").write_text("a")
    (entry,) = entries.read_pool(user.config.home_paths, "default")
    elsewhere = Me("slurm", "alpha", "node17", "boot", "place", "/tmp/nodexfer-1", "4711", 0)
    taken = lease.take(entry.directory, 1, elsewhere, entry.endpoint_id, 300.0)
    assert taken is not None
    words = refused(user, 33, "stage-in", "--wait-endpoint", "0", "site:/a", "x")
    assert "node17" in words


def test_no_token(user: User) -> None:
    (user.site / "a").write_text("a")
    refused(user, 40, "stage-in", "site:/a", "x", NODEXFER_CLIENT_ID="-", NODEXFER_CLIENT_SECRET="-")


def test_credentials_that_are_not_accepted(user: User) -> None:
    refused(user, 41, "stage-in", "site:/a", "x", NODEXFER_CLIENT_SECRET="wrong")


def test_a_secret_that_others_can_read(user: User) -> None:
    path = user.home / "credentials.json"
    path.write_text('{"client_id": "x", "client_secret": "y"}')
    path.chmod(0o644)
    words = refused(user, 42, "stage-in", "site:/a", "x", NODEXFER_CLIENT_ID="-", NODEXFER_CLIENT_SECRET="-")
    assert str(path) in words


def test_a_service_that_can_not_be_reached(user: User) -> None:
    nowhere = "http://127.0.0.1:9/"
    refused(
        user,
        43,
        *("stage-in", "site:/a", "x"),
        GLOBUS_SDK_SERVICE_URL_TRANSFER=nowhere,
        GLOBUS_SDK_SERVICE_URL_AUTH=nowhere,
        NODEXFER_SERVICE_TIMEOUT="1",
    )


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: path.symlink_to(path.parent), 50),
        (lambda path: path.mkdir() or path.chmod(0o755), 50),
        (lambda path: path.write_text(""), 50),
    ],
)
def test_a_node_dir_that_is_not_ours_alone(user: User, make: Callable[[Path], object], code: int) -> None:
    make(Path(os.environ["NODEXFER_NODE_DIR"]))
    refused(user, code, "stage-in", "site:/a", "x")


def test_a_manifest_that_is_wrong(user: User) -> None:
    (user.root / "m").write_text("site:/a\tx\nonly one column\n")
    assert "line 2" in refused(user, 13, "stage-in", "--manifest", "m")
    refused(user, 20, "stage-in", "--manifest", "gone")
    refused(user, 13, "stage-in", "--manifest", "m", "site:/a", "x")


def test_a_home_that_takes_no_receipt_is_found_out_before_anything_moves(user: User) -> None:
    (user.site / "a").write_text("a")
    (user.home / "receipts").write_text("in the way")
    done = nodexfer(user, "stage-in", "site:/a", "x")
    assert done.code == 21
    assert not (user.root / "x").exists()
    assert user.tasks()["SUCCEEDED"] == 0


def test_too_few_arguments(user: User) -> None:
    refused(user, 13, "stage-in", "site:/a")
    refused(user, 13, "stage-out")
