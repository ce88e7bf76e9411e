"""What a script sets after its first hold: the keeper has the settings of that hold, and whoever asks is told so."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nodexfer.node.surroundings import different
from tests.support.holding import Script, script
from tests.support.sandbox import Box
from tests.support.user import User

NODEXFER = f"'{sys.executable}' -m nodexfer"
STAGE = f"cd $NODEXFER_SCRATCH && {NODEXFER} stage-in site:/a.txt ."
AGAIN = 'nodexfer release; eval "$(nodexfer acquire)"'


@pytest.fixture
def user(box: Box) -> User:
    made = User(box)
    (made.site / "a.txt").write_text("a")
    return made


@contextmanager
def held_without(user: User, *names: str, options: str = "") -> Iterator[Script]:
    """A script whose first hold was taken before it set these variables; now it has."""
    environ = {**user.environ, **dict.fromkeys(names, "")}
    with script(environ=environ) as job:
        job.acquire(options)
        for name in names:
            job.run(f"export {name}='{user.environ[name]}'")
        yield job


@pytest.mark.parametrize(
    ("names", "code"), [(("NODEXFER_GCP",), 30), (("NODEXFER_CLIENT_ID", "NODEXFER_CLIENT_SECRET"), 40)]
)
def test_what_was_set_after_the_first_hold_is_named_and_what_to_type_helps(
    user: User, names: tuple[str, ...], code: int
) -> None:
    with held_without(user, *names) as job:
        found, words = job.run(STAGE)
        assert found == code, words
        assert f"since then {' and '.join(names)} ha" in words
        assert user.environ[names[-1]] not in words.partition("since then")[2], "there are secrets among the values"
        assert words.endswith(f"Next: {AGAIN}")
        job.run(f"cd /; {AGAIN.replace('nodexfer', NODEXFER)}")
        found, words = job.run(STAGE)
        assert found == 0, words
        job.run(f"cd /; {NODEXFER} release")


def test_one_who_waits_for_the_endpoint_itself_is_told_the_same(user: User) -> None:
    with held_without(user, "NODEXFER_GCP") as job:
        found, words = job.run(f"{NODEXFER} acquire --endpoint")
        assert found == 30, words
        assert "since then NODEXFER_GCP has changed" in words
        job.run(f"{NODEXFER} release")


def test_a_hold_that_the_shell_does_not_know_of_is_named(user: User) -> None:
    """Of an acquire that was typed without eval."""
    with script(environ={**user.environ, "NODEXFER_GCP": ""}) as job:
        hold = job.must("acquire").partition("NODEXFER_HOLD='")[2].partition("'")[0]
        job.run(f"export NODEXFER_GCP='{user.environ['NODEXFER_GCP']}'")
        found, words = job.run(f"{NODEXFER} stage-in site:/a.txt {user.root}/into/")
        assert (found, words.splitlines()[-1]) == (30, f"Next: nodexfer release {hold}")
        job.must(f"release {hold}")
        job.must(f"stage-in site:/a.txt {user.root}/into/")


def test_a_configuration_written_after_the_first_hold_is_named(user: User) -> None:
    with script(environ={**user.environ, "NODEXFER_GCP": ""}) as job:
        job.acquire()
        with (user.home / "config.toml").open("r+") as file:
            rest = file.read()
            file.seek(0)
            file.write(f'gcp = "{user.environ["NODEXFER_GCP"]}"\n{rest}')
        later = time.time() + 1.0  # the kernel stamps files by a clock that may be behind
        os.utime(user.home / "config.toml", (later, later))
        found, words = job.run(STAGE)
        assert found == 30, words
        assert "config.toml has changed" in words
        job.run(f"cd /; {NODEXFER} release")


def test_what_is_missing_here_as_well_is_not_laid_on_the_keeper(user: User) -> None:
    with script(environ={**user.environ, "NODEXFER_GCP": ""}) as job:
        job.acquire()
        job.run("export PATH=$PATH:/elsewhere")
        found, words = job.run(STAGE)
        assert (found, words.splitlines()[-1]) == (30, "Next: export NODEXFER_GCP=/path/to/globusconnectpersonal")
        job.run(f"cd /; {NODEXFER} release")


def test_an_app_of_a_stored_login_is_no_service_account(user: User) -> None:
    """Its id alone says nothing of whose request it is: one that said it would be nobody's, and wait for ever."""
    pair = {key: user.environ[f"NODEXFER_{key.upper()}"] for key in ("client_id", "client_secret")}
    file = user.home / "credentials.json"
    file.write_text(json.dumps(pair))
    file.chmod(0o600)
    with script(environ={**user.environ, "NODEXFER_CLIENT_SECRET": "", "NODEXFER_CLIENT_ID": "an-app"}) as job:
        job.must(f"stage-in site:/a.txt {user.root}/into/")


def test_another_account_than_the_keepers_is_told_so_at_once(user: User) -> None:
    """The keeper's endpoint is not its; it would wait until the job ends."""
    with script(environ=user.environ) as job:
        job.acquire()
        found, words = job.run(
            f"NODEXFER_CLIENT_ID=other NODEXFER_CLIENT_SECRET=s sh -c '{STAGE.replace(chr(39), '')}'"
        )
        assert found == 34, words
        assert "as other" in words
        assert "since then NODEXFER_CLIENT_ID and NODEXFER_CLIENT_SECRET have changed" in words
        assert words.endswith(f"Next: {AGAIN}")
        job.run(STAGE)
        job.run(f"cd /; {NODEXFER} release")


def test_differences_are_told_by_name() -> None:
    ours = {"NODEXFER_GCP": "/new", "NODEXFER_POOL": "x", "NODEXFER_HOLD": "h", "GLOBUS_SDK_A": "1", "PATH": os.defpath}
    theirs = {"NODEXFER_POOL": "", "NODEXFER_GCP": "/old", "GLOBUS_SDK_B": "1"}
    assert different(ours, theirs, ["NODEXFER_GCP"]) == ["NODEXFER_GCP"]
    assert different(ours, theirs, ["NODEXFER_"]) == ["NODEXFER_GCP", "NODEXFER_POOL"]
    assert different(ours, theirs, ["GLOBUS_SDK_"]) == ["GLOBUS_SDK_A", "GLOBUS_SDK_B"]
    assert different({"NODEXFER_GCP": ""}, {}, ["NODEXFER_GCP"]) == []
