"""Which job we are, when it ends, and that nobody is called over without proof."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodexfer import identity, procs
from nodexfer.scheduler import End, Job, detect, end, is_over, local, pbs, run_of, slurm

SLURM = Job("slurm", "test", "12", 1)
PBS = Job("pbs", "server", "1[3]", 0)


class Answer(NamedTuple):
    code: int
    out: str


class Programs:
    """A runner: program name -> what it prints; notes what was asked."""

    def __init__(self, *, code: int = 0, **prints: str) -> None:
        self.code = code
        self.prints = prints
        self.asked: list[list[str]] = []

    def __call__(self, argv: Sequence[str], *, timeout: float) -> Answer:
        assert timeout == 10.0
        self.asked.append(list(argv))
        if argv[0] not in self.prints:
            raise FileNotFoundError(argv[0])
        return Answer(self.code, self.prints[argv[0]])


def too_slow(argv: Sequence[str], *, timeout: float) -> Answer:
    raise procs.ProgramTimeout("too slow")


# which job ---------------------------------------------------------------------------------------------------


def test_a_slurm_job_is_known_by_cluster_number_and_restarts() -> None:
    environ = {"SLURM_JOB_ID": "12", "SLURM_CLUSTER_NAME": "test", "SLURM_RESTART_COUNT": "1"}
    assert detect(environ) == SLURM
    assert SLURM.key == "slurm-test-12.1"
    assert detect({"SLURM_JOB_ID": "12"}) == Job("slurm", "unknown", "12", 0)


@pytest.mark.parametrize(
    ("text", "job"),
    [
        ("12.server", Job("pbs", "server", "12", 0)),
        ("1[3].server", PBS),
        ("1[].pbs.site.edu", Job("pbs", "pbs.site.edu", "1[]", 0)),
        ("12", Job("pbs", "unknown", "12", 0)),
    ],
)
def test_a_pbs_job_is_known_by_server_and_number_with_its_brackets(text: str, job: Job) -> None:
    assert detect({"PBS_JOBID": text}) == job


def test_without_a_batch_system_the_session_is_the_job() -> None:
    job = detect({})
    assert (job.scheduler, job.cluster, job.run) == ("local", identity.host(), 0)
    assert job.id.startswith(f"s{os.getsid(0)}-")
    assert detect({}) == job


def test_a_job_id_of_ones_own_wins_over_the_batch_system() -> None:
    environ = {"NODEXFER_JOB_ID": "five", "SLURM_JOB_ID": "12", "PBS_JOBID": "12.server"}
    assert detect(environ).key == f"local-{identity.host()}-five.0"


def test_a_run_is_known_on_all_nodes_by_its_key_or_its_cookie_or_not_at_all() -> None:
    cookie = {"PBS_JOBCOOKIE": "A1"}
    assert run_of(SLURM, {}) == ""  # the restarts are in the key
    assert run_of(PBS, cookie) == run_of(PBS, {**cookie, "PBS_NODENUM": "1"}) not in (None, "", "A1")
    assert run_of(PBS, cookie) != run_of(PBS, {"PBS_JOBCOOKIE": "B2"})
    unknown = [(PBS, {}), (PBS._replace(cluster="unknown"), cookie), (SLURM._replace(cluster="unknown"), {})]
    unknown.append((Job("local", "host", "1", 0), cookie))
    assert [run_of(job, environ) for job, environ in unknown] == [None] * 4


@pytest.mark.parametrize("environ", [{"SLURM_JOB_ID": "x"}, {"PBS_JOBID": ""}, {"PBS_JOBID": "none"}])
def test_a_job_id_that_is_none_is_no_job(environ: dict[str, str]) -> None:
    assert detect(environ).scheduler == "local"


# when it ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0:30\n", 30),
        ("59:59", 3599),
        ("1:00:00", 3600),
        ("23:59:59", 86399),
        ("2-03:04:05", 183845),
        ("1:00\n2:00\n", 60),
        ("UNLIMITED\n", math.inf),
        ("UNLIMITED\n2:00\n", 120),
        ("NOT_SET", None),
        ("INVALID", None),
        ("", None),
        ("90", None),
        ("slurm_load_jobs error: Invalid job id specified", None),
    ],
)
def test_the_time_left_is_read_in_every_form_that_squeue_prints(text: str, seconds: float | None) -> None:
    assert slurm.parse_left(text) == seconds


@given(st.integers(0, 365 * 86400))
def test_the_time_left_is_read_as_slurm_writes_it(seconds: int) -> None:
    """The forms of secs2time_str in Slurm's source."""
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    text = f"{days}-{h:02}:{m:02}:{s:02}" if days else f"{h}:{m:02}:{s:02}" if h else f"{m}:{s:02}"
    assert slurm.parse_left(text) == seconds


def test_slurms_end_comes_from_the_environment_where_it_is_there() -> None:
    programs = Programs()
    assert end(SLURM, {"SLURM_JOB_END_TIME": "1790000000"}, programs) == End(1790000000.0, "SLURM_JOB_END_TIME")
    assert programs.asked == []


def test_slurms_end_is_asked_for_once_where_it_is_not() -> None:
    programs = Programs(squeue="10:00\n")
    before = time.time()
    found = end(SLURM, {}, programs)
    assert found is not None
    assert found.at is not None
    assert before + 600 <= found.at <= time.time() + 600
    assert programs.asked == [["squeue", "-h", "-j", "12", "-o", "%L"]]


def test_a_limit_that_may_have_been_changed_is_asked_for_whatever_the_environment_says() -> None:
    programs = Programs(squeue="UNLIMITED\n")
    assert end(SLURM, {"SLURM_JOB_END_TIME": "1790000000"}, programs, fresh=True) == End(None, "squeue")
    assert len(programs.asked) == 1


#: As Slurm 22.05 prints it, with a job's name that tries to be taken for more.
SCONTROL = """\
JobId=12 JobName=x EndTime=2001-01-01T00:00:00
   UserId=me(1000) GroupId=me(1000) MCS_label=N/A
   RunTime=00:00:10 TimeLimit=00:10:00 TimeMin=N/A
   SubmitTime=2026-11-20T21:49:58 EligibleTime=2026-11-20T21:49:58
   AccrueTime=2026-11-20T21:49:58
   StartTime=2026-11-20T21:50:00 EndTime={} Deadline=N/A
"""


@pytest.mark.usefixtures("new_york")
def test_scontrol_is_asked_where_squeue_knows_nothing_and_its_time_is_local() -> None:
    programs = Programs(squeue="INVALID\n", scontrol=SCONTROL.format("2026-11-20T22:00:00"))
    assert end(SLURM, {}, programs) == End(1795230000, "scontrol")
    assert programs.asked[1] == ["scontrol", "show", "job", "12"]


@pytest.mark.parametrize("text", ["", SCONTROL.format("Unknown"), "slurm_load_jobs error: Invalid job id specified"])
def test_an_end_that_scontrol_does_not_tell_is_not_guessed(text: str) -> None:
    assert slurm.parse_end(text) is None


def qstat(**attributes: object) -> str:
    """The shape of PBS's own answer: -F json, a job's attributes below its full id."""
    return json.dumps({"timestamp": 1, "pbs_server": "server", "Jobs": {"1[3].server": attributes}})


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("Fri Nov 20 22:00:00 2026", 1795230000),
        ("Wed Jul  1 00:00:00 2026", 1782878400),
        ("Sun Nov  1 01:30:00 2026", 1793511000),  # twice that night: the first
        ("Sun Mar  8 02:30:00 2026", 1772951400),  # never that night: one hour early
        ("20 Nov 2026", None),
        ("Fri Xxx 20 22:00:00 2026", None),
        ("", None),
    ],
)
def test_stime_is_local_time_and_never_too_late(text: str, epoch: float | None) -> None:
    assert pbs.parse_ctime(text) == epoch


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("01:00:00", 3600),
        ("100:00:01", 360001),
        ("05:00", 300),
        ("90", 90),
        ("", None),
        ("1:x", None),
        ("1:2:3:4", None),
    ],
)
def test_a_walltime_keeps_its_seconds_and_any_number_of_hours(text: str, seconds: float | None) -> None:
    assert pbs.parse_walltime(text) == seconds


def test_the_end_under_pbs_is_start_plus_limit() -> None:
    start = time.mktime((2026, 11, 20, 22, 0, 0, 0, 0, -1))
    text = qstat(stime=time.ctime(start), Resource_List={"walltime": "00:10:30"})
    programs = Programs(qstat=text)
    assert end(PBS, {}, programs) == End(start + 630, "qstat")
    assert programs.asked == [["qstat", "-x", "-f", "-F", "json", "1[3].server"]]


def test_a_pbs_job_that_asked_for_no_walltime_has_no_limit() -> None:
    text = qstat(stime="Fri Nov 20 22:00:00 2026", Resource_List={"ncpus": 1})
    assert pbs.parse_end(text, PBS) == End(None, "qstat")


def test_the_used_time_is_never_looked_at() -> None:
    text = qstat(stime="Fri Nov 20 22:00:00 2026", Resource_List={"walltime": "1:00:00"})
    stale = qstat(
        stime="Fri Nov 20 22:00:00 2026",
        Resource_List={"walltime": "1:00:00"},
        resources_used={"walltime": "00:59:59"},
    )
    assert pbs.parse_end(text, PBS) == pbs.parse_end(stale, PBS)


@pytest.mark.parametrize(
    "text",
    [
        qstat(stime="Fri Nov 20 22:00:00 2026", Resource_List={"walltime": "soon"}),
        qstat(stime="Fri Nov 20 22:00:00 2026"),
        qstat(Resource_List={"walltime": "01:00:00"}),
        qstat().replace("1[3].server", "2.server"),
        '{"Jobs": []}',
        "{",
        "",
    ],
)
def test_an_end_that_pbs_does_not_tell_is_not_guessed(text: str) -> None:
    assert pbs.parse_end(text, PBS) is None


def test_control_characters_of_the_users_variables_do_not_hide_the_end() -> None:
    text = qstat(stime="Fri Nov 20 22:00:00 2026", Resource_List={"walltime": "1"}, Variable_List={"A": "@"})
    assert pbs.parse_end(text.replace("@", "\x1b[1m\t"), PBS) is not None


def test_a_local_job_ends_when_it_is_told_to() -> None:
    assert local.end({"NODEXFER_END": "1790000000.5", "NODEXFER_TIME": "1"}, 5.0) == End(1790000000.5, "NODEXFER_END")
    assert local.end({"NODEXFER_TIME": "60"}, 5.0) == End(65.0, "NODEXFER_TIME")
    for none in ({}, {"NODEXFER_TIME": "soon"}, {"NODEXFER_TIME": "inf"}, {"NODEXFER_TIME": "-1"}):
        assert local.end(none, 5.0) is None


@pytest.mark.parametrize("runner", [Programs(), Programs(code=1, squeue="1:00", qstat="{}"), too_slow])
@pytest.mark.parametrize("job", [SLURM, PBS, detect({})])
def test_a_scheduler_that_can_not_be_asked_tells_nothing(runner: Callable[..., Answer], job: Job) -> None:
    assert end(job, {}, runner) is None
    assert is_over(job, runner, {}) is None


# what is over ------------------------------------------------------------------------------------------------


def slurm_says(state: str, *, here: str = "test", job: str = "12", restarts: int = 1) -> bool | None:
    programs = Programs(squeue=f"{job:<20}{state:<20}{restarts:<10}\n", scontrol=f"ClusterName             = {here}\n")
    return is_over(SLURM, programs, {})


@pytest.mark.parametrize(("state", "over"), sorted(slurm.STATES.items()))
def test_every_slurm_state_means_what_the_table_says(state: str, over: bool | None) -> None:
    assert slurm_says(state) is over


def test_slurm_frees_nothing_of_another_cluster_run_or_job_or_of_a_lost_node() -> None:
    assert slurm_says("COMPLETED") is True
    assert slurm_says("COMPLETED", here="other") is None
    assert slurm_says("COMPLETED", restarts=2) is None
    assert slurm_says("COMPLETED", job="13") is None
    assert slurm_says("NODE_FAIL") is None
    assert slurm_says("A_NEW_STATE") is None


def test_of_a_heterogeneous_job_nothing_is_said() -> None:
    assert slurm.parse_state("12 COMPLETED 1\n13 RUNNING 1\n", SLURM) is None
    assert slurm.parse_state("12 COMPLETED 1\n", SLURM) is True
    assert slurm.parse_state("", SLURM) is None


def test_inside_a_job_the_cluster_is_known_without_asking() -> None:
    programs = Programs(squeue="12 COMPLETED 1\n")
    assert is_over(SLURM, programs, {"SLURM_CLUSTER_NAME": "test"}) is True
    assert is_over(SLURM, programs, {"SLURM_CLUSTER_NAME": "other"}) is None
    assert is_over(SLURM, programs, {"SLURM_CLUSTER_NAME": "test", "SLURM_CLUSTERS": "other"}) is None
    assert is_over(SLURM._replace(cluster="unknown"), programs, {"SLURM_CLUSTER_NAME": "test"}) is None


def pbs_says(state: str, run_count: int = 1, job: Job = PBS) -> bool | None:
    return is_over(job, Programs(qstat=qstat(job_state=state, run_count=run_count)))


@pytest.mark.parametrize(("state", "over"), sorted(pbs.STATES.items()))
def test_every_pbs_state_means_what_the_table_says(state: str, over: bool | None) -> None:
    assert pbs_says(state) is over


def test_pbs_frees_nothing_of_another_run_or_server() -> None:
    assert pbs_says("F", run_count=2) is None
    assert pbs_says("F", job=PBS._replace(cluster="other")) is None
    assert pbs_says("F", job=PBS._replace(id="1[4]")) is None
    assert pbs_says("Z") is None


def test_nobody_says_that_a_local_job_is_over() -> None:
    assert is_over(detect({}), Programs()) is None
