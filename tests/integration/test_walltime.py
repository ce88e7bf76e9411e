"""``nodexfer run`` when time runs out: the program is stopped in time, and what it wrote is sent, or saved."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nodexfer import procs
from nodexfer.staging import journal
from tests.support.holding import NODEXFER, is_cleared
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from globus_sdk import TransferClient

pytestmark = pytest.mark.slow

#: Writes its output, then works for ever.
ENDLESS = "mkdir $NODEXFER_SCRATCH/out && echo data > $NODEXFER_SCRATCH/out/x && exec sleep 600"


WRITES_X = "echo data > $NODEXFER_SCRATCH/x"


@pytest.fixture
def user(box: Box) -> User:
    return User(box)


def environ(user: User, **more: str) -> dict[str, str]:
    return {**os.environ, **user.environ, "NODEXFER_JOB_ID": "1", **more}


def run(user: User, *arguments: str, **more: str) -> procs.Completed:
    argv = [*NODEXFER, "run", *arguments]
    return procs.run(argv, timeout=60, environ=environ(user, **more), cwd=str(user.root))


def told(done: procs.Completed) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.out)
    return found


def salvaged(user: User) -> list[str]:
    """The text of every file that was saved."""
    found = (user.home / "salvage").glob("*/*/data/**/*")
    return [path.read_text() for path in found if path.is_file()]


# stopped for time --------------------------------------------------------------------------------------------


def test_a_program_is_stopped_in_time_and_its_outputs_are_sent(user: User, transfer: TransferClient) -> None:
    out = user.root / "out"  # written before: the test is not about how quickly a program starts
    out.mkdir()
    (out / "x").write_text("data\n")
    done = run(user, "--json", "--time", "46s", "--reserve", "40s", "--out", f"{out}=site:/out", "--", "sleep", "600")
    record = told(done)
    assert done.code == 62, done
    assert (record["stopped"], record["exit_code"], record["error"]) == (True, 143, "DeadlinePassed")
    assert record["out"]["state"] == "done"
    told_by_receipt = {
        "exit_code": 143,
        "stopped": True,
        "on_exit": {record["out"]["files"][0]["source"].removesuffix("/x"): "success"},
    }
    assert record["out"]["program"] == user.receipts[-1]["program"] == told_by_receipt
    assert (user.site / "out/x").read_text() == "data\n"
    assert "The program was stopped" in done.err
    assert re.search(r"the job ends in \d+ s \(--time\); the program is stopped 40 s before", done.err)
    (task,) = transfer.task_list(filter={"label": "~nodexfer*"}, query_params={"fields": "deadline"})
    assert datetime.fromisoformat(task["deadline"]).timestamp() <= record["end"]["at"]
    assert user.leftovers() == []
    assert is_cleared(user.config)


def test_what_globus_does_not_take_in_time_is_called_off_and_saved_and_the_resume_is_named(user: User) -> None:
    user.box.sandbox.fault("slow", bytes_per_second=10_000)
    (user.root / "x").write_text("x" * 4_000_000)
    timing = ("--time", "15s", "--reserve", "9s")
    done = run(user, "--json", *timing, "--out", f"{user.root}/x=site:/x", "--", "sleep", "600")
    record = told(done)
    assert done.code == 62, done
    assert salvaged(user) == ["x" * 4_000_000]
    assert record["out"] is None
    assert record["saved"][0]["salvage"] in record["message"]
    assert record["saved"][0]["program"]["stopped"]
    assert record["next"] == f"nodexfer resume {record['saved'][0]['id']}"
    assert record["next"] in done.err
    assert not (user.site / "x").exists()
    eventually(lambda: user.tasks()["ACTIVE"] == 0)
    eventually(lambda: user.leftovers() == [])


@pytest.mark.parametrize("route", ["direct", "via"])
def test_what_is_in_a_directory_is_known_before_it_has_moved(user: User, route: str) -> None:
    user.box.sandbox.fault("slow", bytes_per_second=1500)
    (user.site / "set/below").mkdir(parents=True)
    for name in ("one", "two", "below/three"):
        (user.site / "set" / name).write_text("x" * 1024)
    user.home.joinpath("config.toml").write_text(
        f'[collections.site]\nid = "{user.box.site_id}"\nlocal_path = "{user.site}"\n'
    )
    done = run(user, "--time", "200s", "--route", route, "--in", "site:/set=set", "--", "true")
    assert done.code == 0, done
    (said,) = [line for line in done.err.splitlines() if "measured" in line or "assumed" in line]
    assert re.match(r"stage-in: 3\.0 KiB in 3 files need \d+ s at .* left: it fits", said)


def test_outputs_that_no_endpoint_can_send_are_saved_with_the_reason(box: Box) -> None:
    user = User(box, endpoints=0)
    done = run(user, "--out", "x=site:/x", "--", "sh", "-c", WRITES_X)
    assert done.code == 31, done
    assert salvaged(user) == ["data\n"]
    assert "pool" in done.err
    assert "nodexfer resume" in done.err


def test_what_is_to_be_saved_first_is_named_and_what_is_called_otherwise_is_said(box: Box) -> None:
    user = User(box, endpoints=0)
    script = 'cd "$NODEXFER_SCRATCH" && mkdir d && echo best > d/best && echo other > d/other && echo new > new'
    script += " && touch -d '1 hour ago' d/best && echo odd > \"$(printf 'd/caf\\351')\""
    outs = ("--out", "d=site:/d", "--out", "new=site:/new")
    done = run(user, "--json", "--salvage-first", "d/best", "--salvage-first", "new", *outs, "--", "sh", "-c", script)
    assert done.code == 25, done
    (saved,) = told(done)["saved"]
    copies = sorted(journal.read(saved["salvage"]), key=lambda copy: copy.order)
    assert [os.path.basename(copy.source) for copy in copies][:2] == ["best", "new"]
    assert {file["source"].rpartition("/")[2] for file in saved["files"]} == {"best", "other", "new", "caf%E9"}
    assert "is sent, as caf%E9" in saved["warnings"][0]
    assert "is sent, as caf%E9." in done.err
    shown = procs.run([*NODEXFER, "receipts", "show", saved["id"]], timeout=60, environ=environ(user))
    assert "is sent, as caf%E9" in shown.out
    bad = run(user, "--salvage-first", "", *outs, "--", "true")
    assert (bad.code, "a pattern names something" in bad.err) == (2, True)


def test_the_command_that_is_named_brings_what_was_saved_to_where_it_was_to_go(box: Box) -> None:
    user = User(box, endpoints=0)
    box.sandbox.add_site("shared", str(user.home.parent))
    shared = f'[collections.shared]\nid = "{box.sandbox.site_id("shared")}"\nlocal_path = "{user.home.parent}"\n'
    user.configure((user.home / "config.toml").read_text() + shared)
    done = run(user, "--json", "--route", "direct", "--out", "x=site:/out/x", "--", "sh", "-c", WRITES_X)
    assert done.code == 31, done
    resumed = procs.run([*NODEXFER, *told(done)["next"].split()[1:]], timeout=60, environ=environ(user))
    assert resumed.code == 0, resumed
    assert (user.site / "out/x").read_text() == "data\n"
    assert salvaged(user) == []
    assert [receipt["program"]["exit_code"] for receipt in user.receipts] == [0]


def test_where_there_is_less_time_than_is_reserved_nothing_is_started(user: User) -> None:
    done = run(user, "--time", "5s", "--reserve", "5m", "--", "touch", str(user.root / "started"))
    assert done.code == 62, done
    assert "the program was not started" in done.err
    assert not (user.root / "started").exists()


def test_that_nobody_knows_the_end_is_said_aloud(user: User) -> None:
    done = run(user, "--", "true")
    assert done.code == 0
    assert "nobody says when this job ends: each transfer gets 1 d 00 h, and the program is not stopped" in done.err


# outputs by policy -------------------------------------------------------------------------------------------

#: Two of the three outputs; ends with its argument.
WRITES = "for name in a b; do echo $name > $NODEXFER_SCRATCH/$name; done; exit $0"


@pytest.mark.parametrize(
    ("policy", "code", "sent"),
    [
        (["--out", "a=site:/a"], 7, set()),
        (["--on-exit", "always", "--out", "a=site:/a", "--out", "forgotten=site:/f"], 7, {"a"}),
        (["--on-exit", "failure", "--out", "a=site:/a", "--out-always", "b=site:/b"], 0, {"b"}),
        (["--out", "a=site:/a", "--out-failure", "b=site:/b"], 7, {"b"}),
    ],
)
def test_outputs_follow_their_policy_and_the_programs_code_stays_its_own(
    user: User, policy: list[str], code: int, sent: set[str]
) -> None:
    done = run(user, *policy, "--", "sh", "-c", WRITES, str(code))
    assert done.code == code, done
    assert {path.name for path in user.site.iterdir()} == sent
    assert ("forgotten was not written" in done.err) == ("forgotten=site:/f" in policy)
    assert salvaged(user) == []


def test_two_outputs_that_would_become_one_are_refused_before_the_program_starts(user: User) -> None:
    done = run(user, "--out", "a=site:/x", "--out-failure", "b=site:/x", "--", "touch", str(user.root / "started"))
    assert done.code == 23, done
    assert not (user.root / "started").exists()


# a job that is ended from outside ----------------------------------------------------------------------------


def start(user: User, *arguments: str) -> procs.Process:
    argv = [*NODEXFER, "run", *arguments]
    return procs.spawn(argv, environ=environ(user), cwd=str(user.root), new_session=True, stderr=procs.PIPE)


def ended(child: procs.Process) -> tuple[int | None, str]:
    code = child.wait(40)
    assert child.stderr is not None
    said = child.stderr.read().decode()
    child.close()
    return code, said


def test_a_job_that_is_told_to_end_during_a_stage_in_leaves_no_task(user: User) -> None:
    (user.site / "a").write_bytes(os.urandom(4 << 20))
    user.box.sandbox.fault("slow", bytes_per_second=10_000)
    child = start(user, "--in", "site:/a", "--", "touch", str(user.root / "started"))
    eventually(lambda: user.tasks()["ACTIVE"] == 1, 30)
    child.signal(signal.SIGUSR1)  # a warning that has nobody to reach ends nothing
    child.signal(signal.SIGTERM)
    code, said = ended(child)
    assert code == 63, said
    assert user.tasks()["ACTIVE"] == 0
    assert not (user.root / "started").exists()
    assert user.leftovers() == []
    eventually(lambda: is_cleared(user.config))


def test_a_job_that_is_told_to_end_during_a_stage_out_cancels_its_task_and_saves_the_outputs(user: User) -> None:
    user.box.sandbox.fault("slow", bytes_per_second=10_000)
    line = "head -c 4000000 /dev/zero | tr '\\0' x > $NODEXFER_SCRATCH/x"
    child = start(user, "--out", "x=site:/x", "--", "sh", "-c", line)
    eventually(lambda: user.tasks()["ACTIVE"] == 1, 30)
    child.signal(signal.SIGTERM)
    code, said = ended(child)
    assert code == 63, said
    assert "nodexfer resume" in said
    assert salvaged(user) == ["x" * 4_000_000]
    assert user.tasks()["ACTIVE"] == 0
    assert not (user.site / "x").exists()
    assert user.leftovers() == []


def test_a_program_that_is_told_to_end_from_outside_has_its_outputs_saved_in_the_seconds_that_are_left(
    user: User,
) -> None:
    child = start(user, "--out", "out=site:/out", "--", "sh", "-c", ENDLESS)
    eventually(lambda: [path.read_text() for path in user.root.glob("**/jobs/*/out/x")] == ["data\n"], 30)
    child.signal(signal.SIGTERM)
    code, said = ended(child)
    assert code == 143, said  # the program's own
    assert "told to end (SIGTERM)" in said
    assert "nodexfer resume" in said
    assert salvaged(user) == ["data\n"]
    assert not (user.site / "out").exists()
    assert user.leftovers() == []


def test_a_run_that_is_killed_orphans_no_task(user: User) -> None:
    (user.site / "a").write_bytes(os.urandom(4 << 20))
    user.box.sandbox.fault("slow", bytes_per_second=10_000)
    other = user.job("2")  # somebody has to be there who cancels it
    try:
        other.acquire("--endpoint")
        child = start(user, "--in", "site:/a", "--", "true")
        eventually(lambda: user.tasks()["ACTIVE"] == 1, 30)
        child.kill()
        child.wait(10)
        child.close()
        eventually(lambda: user.tasks()["ACTIVE"] == 0, 30)
        eventually(lambda: user.leftovers() == [], 30)
        other.must("release")
    finally:
        other.kill()


# the scheduler -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "own", "prints"),
    [
        ("squeue", {"SLURM_JOB_ID": "12", "SLURM_CLUSTER_NAME": "c"}, "1:00:00"),
        ("squeue", {"SLURM_JOB_ID": "12", "SLURM_CLUSTER_NAME": "c"}, ""),
        ("qstat", {"PBS_JOBID": "12.server"}, ""),
    ],
)
def test_a_whole_job_asks_its_scheduler_three_times_at_most(
    user: User, tmp_path: Path, program: str, own: dict[str, str], prints: str
) -> None:
    for name in ("squeue", "scontrol", "qstat"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} >> {tmp_path}/asked\necho '{prints}'\n")
        (tmp_path / name).chmod(0o700)
    (user.site / "a").write_text("a")
    nodexfer = f'"{sys.executable}" -m nodexfer'
    inner = f"{nodexfer} stage-in --overwrite site:/a $NODEXFER_SCRATCH/b && {nodexfer} stage-out $NODEXFER_SCRATCH/b "
    own = {**own, "PATH": f"{tmp_path}:{os.environ['PATH']}", "NODEXFER_JOB_ID": ""}
    done = run(
        user, "--in", "site:/a", "--out", "b=site:/b", "--", "sh", "-c", f"{inner} site:/c && {inner} site:/d", **own
    )
    assert done.code == 0, done
    again = run(user, "--", "true", **own)  # with a hold of its own: that of the first one has gone
    assert again.code == 0, again
    asked = (tmp_path / "asked").read_text().split()
    assert asked[0] == program
    assert len(asked) <= 3
    assert ("the job ends in" in done.err) == bool(prints)
    assert ("stage-in: nobody says when this job ends; a day is allowed for it" in done.err) == (not prints)
