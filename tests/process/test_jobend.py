"""When the job ends: one answer for all its commands on a node. (On several: test_questions.)"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from nodexfer import procs, session
from nodexfer.config import Config, load
from nodexfer.node import jobend
from nodexfer.scheduler import Job
from nodexfer.staging import client

SLURM = Job("slurm", "test", "12", 0)
PBS = Job("pbs", "server", "12", 0)

#: A scheduler's command: notes that it was started, and prints what its file says; silent without one.
PROGRAM = """\
#!/bin/sh
echo "${0##*/}" >> asked
cat answer 2>/dev/null
"""


@pytest.fixture
def config() -> Config:
    found = load()
    found.node_paths.make()
    return found


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """squeue, scontrol and qstat on PATH; the directory with ``answer`` and ``asked``."""
    for name in ("squeue", "scontrol", "qstat"):
        (tmp_path / name).write_text(
            PROGRAM.replace("asked", f"{tmp_path}/asked").replace("answer", f"{tmp_path}/answer")
        )
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def asked(scheduler: Path) -> list[str]:
    try:
        return (scheduler / "asked").read_text().split()
    except FileNotFoundError:
        return []


def record(config: Config, job: Job) -> Path:
    (found,) = Path(config.node_paths.logs).glob(f"end-{job.key}*")
    return found


def grow_old(config: Config, job: Job) -> None:
    """A minute passes."""
    tops = (Path(config.home_paths.ends), Path(config.node_paths.logs, "ends"))
    for path in (record(config, job), *(answer for top in tops for answer in top.glob("*/answer.*"))):
        path.write_text(path.read_text().replace('"asked":', '"asked":1.0,"was":'))


def test_many_commands_at_once_are_one_question(config: Config, scheduler: Path) -> None:
    (scheduler / "answer").write_text("10:00\n")
    line = (
        "import os, sys; from nodexfer.config import load; from nodexfer.node import jobend\n"
        "from nodexfer.scheduler import detect; sys.stdin.readline()\n"
        "print(round(jobend.find(load(), detect(os.environ), os.environ).at))"
    )
    environ = {**os.environ, "SLURM_JOB_ID": "12", "SLURM_CLUSTER_NAME": "test"}
    running = [
        procs.spawn([sys.executable, "-c", line], environ=environ, stdin=procs.PIPE, stdout=procs.PIPE)
        for _ in range(4)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    answers = set()
    for process in running:
        assert process.stdout is not None
        answers.add(process.stdout.read())
        assert process.wait(30) == 0
        process.close()
    assert len(answers) == 1
    assert abs(float(answers.pop()) - time.time() - 600) < 60
    assert asked(scheduler) == ["squeue"]


@pytest.mark.parametrize("job", [SLURM, PBS], ids=["slurm", "pbs"])
def test_a_scheduler_that_does_not_answer_is_asked_three_times_in_a_jobs_life(
    job: Job, config: Config, scheduler: Path
) -> None:
    for _ in range(4):
        found = jobend.find(config, job, {}, again=True)
        assert not found.known
        assert abs(found.at - time.time() - jobend.ASSUMED_SECONDS) < 60
        client.deadline_of(config, job, {})
        grow_old(config, job)
    assert len(asked(scheduler)) == 3


def test_a_limit_that_was_raised_is_found_by_who_asks_again(config: Config, scheduler: Path) -> None:
    (scheduler / "answer").write_text("10:00\n")
    first = jobend.find(config, SLURM, {})
    assert first == jobend.find(config, SLURM, {}, again=True)  # it was only now
    (scheduler / "answer").write_text("1:10:00\n")
    grow_old(config, SLURM)
    assert jobend.find(config, SLURM, {}).at == first.at
    assert jobend.find(config, SLURM, {}, again=True).at >= first.at + 3500
    (scheduler / "answer").write_text("INVALID\n")
    grow_old(config, SLURM)
    assert jobend.find(config, SLURM, {}, again=True).at >= first.at + 3500  # no answer changes nothing
    grow_old(config, SLURM)
    jobend.find(config, SLURM, {}, again=True)
    assert len(asked(scheduler)) == 3


def test_a_job_without_a_limit_gets_a_day_from_now_and_is_not_asked_again(config: Config, scheduler: Path) -> None:
    (scheduler / "answer").write_text("UNLIMITED\n")
    for _ in range(2):
        found = jobend.find(config, SLURM, {})
        assert not found.known
        assert found.source == "squeue says that this job has no limit"
        grow_old(config, SLURM)
    assert asked(scheduler) == ["squeue"]


def test_commands_one_after_the_other_are_one_question(
    config: Config, scheduler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a hold of its own, and takes away with the last one what the job has at this place."""
    (scheduler / "answer").write_text("10:00\n")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "test")
    monkeypatch.setenv("NODEXFER_JOB_ID", "")
    ends = set()
    for _ in range(4):
        with session.hold() as node:
            assert node.job == SLURM.key
            ends.add(node.end())
        assert not os.path.exists(config.node_paths.job_spool(SLURM.key))
    assert len(ends) == 1
    assert asked(scheduler) == ["squeue"]


def test_another_run_of_a_pbs_job_asks_for_itself(config: Config, scheduler: Path) -> None:
    for _ in range(2):
        jobend.find(config, PBS, {"PBS_JOBCOOKIE": "A1"})
    assert asked(scheduler) == ["qstat"]
    jobend.find(config, PBS, {"PBS_JOBCOOKIE": "B2"})
    assert asked(scheduler) == ["qstat", "qstat"]
    written = [*Path(config.home_paths.ends).rglob("*"), *Path(config.node_paths.node_dir).rglob("*")]
    assert not any("B2" in f"{path.name} {path.read_text()}" for path in written if path.is_file()), "it is a secret"


def test_an_end_that_is_long_over_is_none(config: Config, scheduler: Path) -> None:
    """The job was suspended meanwhile, or it was another job's with our number."""
    (scheduler / "answer").write_text("10:00\n")
    jobend.find(config, SLURM, {})
    for path in (record(config, SLURM), *Path(config.home_paths.ends).glob("*/answer.1")):
        path.write_text(path.read_text().replace('"end":', '"end":1.0,"was":').replace('"asked":', '"asked":1.0,"is":'))
    assert jobend.find(config, SLURM, {}).known
    assert len(asked(scheduler)) == 2


def test_without_a_scheduler_a_day_from_now_is_assumed_every_time(config: Config) -> None:
    job = Job("local", "host", "1", 0)
    first = jobend.find(config, job, {})
    assert not first.known
    assert first.at <= jobend.find(config, job, {}).at
    known = jobend.find(config, job, {"NODEXFER_TIME": "60"})
    assert known.known
    assert known == jobend.find(config, job, {"NODEXFER_TIME": "60"})


def test_a_broken_record_is_asked_for_anew(config: Config, scheduler: Path) -> None:
    (scheduler / "answer").write_text("10:00\n")
    first = jobend.find(config, SLURM, {})
    record(config, SLURM).write_text("{")
    assert abs(jobend.find(config, SLURM, {}).at - first.at) < 60
