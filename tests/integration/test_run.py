"""``nodexfer run``: inputs, a program, outputs; one command, one exit code."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from nodexfer import procs
from nodexfer.cli.run import split_in, split_out
from nodexfer.errors import UrlMalformed
from tests.support.holding import NODEXFER, is_cleared
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually


@pytest.fixture
def user(box: Box) -> User:
    return User(box)


def run(user: User, *arguments: str) -> procs.Completed:
    environ = {**os.environ, **user.environ, "NODEXFER_JOB_ID": "1"}
    return procs.run([*NODEXFER, "run", *arguments], timeout=60, environ=environ, cwd=str(user.root))


def test_inputs_program_outputs(user: User) -> None:
    (user.site / "a=b c").write_text("input")
    (user.site / "plain").write_text("more")
    done = run(
        user,
        *("--in", "site:/a=b c=one", "--in", "site:/plain", "--out", "results=site:/out/run 7"),
        *("--", "sh", "-c", "cd $NODEXFER_SCRATCH && mkdir results && cat one plain > results/both && echo hi && pwd"),
    )
    assert done.code == 0, done
    assert (user.site / "out/run 7/both").read_text() == "inputmore"
    assert done.out.splitlines()[0] == "hi"
    assert done.out.splitlines()[1].startswith(f"{user.config.node_dir}/jobs/")
    assert user.leftovers() == []
    assert is_cleared(user.config)


def test_the_record_is_all_that_is_on_stdout_when_it_is_asked_for(user: User) -> None:
    (user.site / "a").write_text("a")
    done = run(user, "--json", "--in", "site:/a", "--out", "a=site:/b", "--", "echo", "noise")
    record = json.loads(done.out)
    assert record["exit_code"] == 0
    assert (record["in"]["state"], record["out"]["bytes"]) == ("done", 1)
    assert "noise" in done.err


def test_a_program_that_fails_sends_nothing_and_its_code_is_ours(user: User) -> None:
    done = run(user, "--out", "x=site:/x", "--", "sh", "-c", "echo x > $NODEXFER_SCRATCH/x; exit 7")
    assert done.code == 7
    assert not (user.site / "x").exists()
    assert user.tasks() == {"ACTIVE": 0, "SUCCEEDED": 0, "FAILED": 0}


def test_an_output_that_was_not_written_is_named_and_the_others_stay(user: User) -> None:
    done = run(user, "--out", "x=site:/x", "--out", "forgotten=site:/y", "--", "sh", "-c", "> $NODEXFER_SCRATCH/x")
    assert done.code == 24
    assert "forgotten" in done.err
    assert not (user.site / "x").exists()
    assert user.leftovers() == []


def test_an_output_beside_the_program_is_pointed_out(user: User) -> None:
    """The commonest mistake. The scratch has gone with the command: to look into it is no advice."""
    done = run(user, "--out", "x=site:/x", "--", "sh", "-c", "> x")
    assert done.code == 24
    assert "There is a x in the present directory: sent is what the program writes into $NODEXFER_SCRATCH." in done.err
    assert done.err.endswith("Next: nodexfer run --help\n")


def test_a_program_of_the_present_directory_is_pointed_out(user: User) -> None:
    (user.root / "mine").write_text("#!/bin/sh\n")
    assert "The one in the present directory is ./mine." in run(user, "--", "mine").err


@pytest.mark.parametrize(("program", "code"), [("/no/such/program", 127), ("/etc/passwd", 126)])
def test_a_program_that_can_not_start_is_told_as_a_shell_does(user: User, program: str, code: int) -> None:
    done = run(user, "--", program)
    assert done.code == code
    assert program in done.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_program(user: User, number: signal.Signals) -> None:
    handle = f"import signal, sys; signal.signal({int(number)}, lambda *_: sys.exit(5))"
    line = f"{handle}; print('up', flush=True); signal.pause()"
    environ = {**os.environ, **user.environ, "NODEXFER_JOB_ID": "1"}
    argv = [*NODEXFER, "run", "--out", "x=site:/x", "--", sys.executable, "-c", line]
    child = procs.spawn(argv, environ=environ, stdout=procs.PIPE, new_session=True)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    child.signal(number)
    assert child.wait(60) == 5
    child.close()
    eventually(lambda: is_cleared(user.config))


def test_a_program_that_a_signal_ends_is_told_as_a_shell_does(user: User) -> None:
    assert run(user, "--", "sh", "-c", "kill -9 $$").code == 137


def test_bad_options_are_refused_before_the_program_starts(user: User) -> None:
    for arguments in (["--in", "nowhere:/x"], ["--out", "x=/local"], ["--in", "site:/a=x", "--in", "site:/b=x"]):
        done = run(user, *arguments, "--", "touch", str(user.root / "started"))
        assert done.code in (12, 13, 23)
    assert not (user.root / "started").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("site:/a", ("site:/a", "")),
        ("site:/a=b", ("site:/a", "b")),
        ("site:/a=b=", ("site:/a=b", "")),
        ("site:/a=b=c", ("site:/a=b", "c")),
    ],
)
def test_an_input_is_split_at_its_last_equals_sign(text: str, expected: tuple[str, str]) -> None:
    assert split_in(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=site:/b", ("a", "site:/b")),
        ("a=1=site:/b", ("a=1", "site:/b")),
        ("a=site:/b=2", ("a", "site:/b=2")),
        ("x=globus://u/y", ("x", "globus://u/y")),
    ],
)
def test_an_output_is_split_where_a_collection_follows(text: str, expected: tuple[str, str]) -> None:
    assert split_out(text) == expected


@pytest.mark.parametrize("text", ["a", "a=b", "=site:/x", "site:/x"])
def test_an_output_without_a_collection_is_refused(text: str) -> None:
    with pytest.raises(UrlMalformed):
        split_out(text)
