from __future__ import annotations

import json
import os
import pathlib
import pwd
import subprocess

import pytest

from nodexfer.clock import Deadline
from nodexfer.sandbox.demo.jobs import SCRIPTS, Job
from nodexfer.sandbox.demo.receipts import told
from nodexfer.sandbox.demo.site import OWN, Site
from nodexfer.sandbox.demo.stage import Stage


@pytest.fixture
def stage(tmp_path: pathlib.Path) -> Stage:
    return Stage.at(str(tmp_path)).make()


def test_a_job_inherits_nothing_of_the_users_own_globus_or_scheduler(stage: Stage) -> None:
    mine = {
        "HOME": "/home/me",
        "PATH": "/usr/bin",
        "LANG": "C.UTF-8",
        "NODEXFER_CLIENT_SECRET": "s",
        "GLOBUS_SDK_ENVIRONMENT": "x",
        "PBS_JOBID": "12.server",
        "SLURM_JOB_ID": "12",
    }
    environ = stage.environment({"NODEXFER_GCP": "/gcp"}, mine)
    assert environ["HOME"] == stage.home
    assert environ["PATH"] == f"{stage.bin}:/usr/bin"
    assert environ["NODEXFER_GCP"] == "/gcp"
    assert environ["LANG"] == "C.UTF-8"
    assert not {"NODEXFER_CLIENT_SECRET", "GLOBUS_SDK_ENVIRONMENT", "PBS_JOBID", "SLURM_JOB_ID"} & environ.keys()


def test_a_user_whom_the_password_file_does_not_know_has_a_name_all_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    environ = stage.environment({}, {"HOME": "/"})
    assert environ["USER"] == environ["LOGNAME"] == f"uid{os.getuid()}"


def test_the_command_in_the_jobs_path_is_this_very_nodexfer(stage: Stage) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", "nodexfer --version"],
        env=stage.environment({}, os.environ),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "nodexfer" in done.stdout


@pytest.mark.parametrize("number", SCRIPTS)
def test_each_script_is_one_that_sh_understands(number: int, tmp_path: pathlib.Path) -> None:
    assert number in OWN
    script = tmp_path / "job.sh"
    script.write_text(SCRIPTS[number])
    subprocess.run(["/bin/sh", "-n", str(script)], check=True, timeout=10)


def test_a_job_leads_a_session_of_its_own_and_a_second_attempt_is_another_job(
    stage: Stage, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "nodexfer.sandbox.demo.jobs.SCRIPTS", {3: "cut -d ' ' -f6 /proc/$$/stat; echo $NODEXFER_JOB_ID; exit 4"}
    )
    job = Job(3, stage, Site(str(tmp_path), {}), stage.environment({}, os.environ))
    keys = []
    for attempt in (1, 2):
        job.start()
        assert job.process is not None
        job.process.wait(20)
        assert job.poll() == 4
        assert job.log_tail().split() == [str(job.process.pid), job.id]
        assert job.sessions == [*job.sessions[:-1], job.process.pid]
        assert len(job.sessions) == attempt
        keys.append(job.key)
    assert len(set(keys)) == 2


def test_a_jobs_whole_process_group_is_killed(stage: Stage, tmp_path: pathlib.Path) -> None:
    job = Job(1, stage, Site(str(tmp_path), {}), {"PATH": "/usr/bin:/bin"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nodexfer.sandbox.demo.jobs.SCRIPTS", {1: "sleep 60 & wait"})
        job.start()
    assert job.process is not None
    job.kill()
    assert job.process.wait(10) == -9
    deadline = Deadline(10)
    while _group_lives(job.process.pid):
        assert not deadline.passed


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_receipts_of_the_job_alone_are_read_in_the_order_of_time(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "receipts" / "2026-11"
    place.mkdir(parents=True)
    for name, job, created, tasks, waited in (
        ("a", "one", 2.0, ["t2", "t1"], 0.5),
        ("b", "one", 1.0, ["t1"], 1.0),
        ("c", "two", 0.0, ["t9"], 7.0),
    ):
        record = {"job": job, "created": created, "tasks": tasks, "waited_endpoint": waited}
        (place / f"{name}.json").write_text(json.dumps(record))
    (place / "half.json").write_text("{")
    assert told(str(tmp_path), "one") == (1.5, ("t1", "t2"))
    assert told(str(tmp_path), "three") == (0.0, ())
