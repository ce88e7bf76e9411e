"""A job on many nodes: one question for all of them, three in the job's life, whoever is killed meanwhile."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from nodexfer import procs, records
from nodexfer.config import Config, load
from nodexfer.node import answers, jobend, locks, questions
from nodexfer.scheduler import End, Job
from nodexfer.scheduler.protocol import RunArgv
from tests.support.waiting import eventually

SLURM = Job("slurm", "test", "12", 0)
#: What each node of a job has in its environment.
JOBS = {
    "slurm": {"SLURM_JOB_ID": "12", "SLURM_CLUSTER_NAME": "test"},
    "pbs": {"PBS_JOBID": "12.server", "PBS_JOBCOOKIE": "A1"},
}

#: What ``qstat`` says.
LIMIT = '{"Jobs": {"12.server": {"stime": "Fri Nov 20 22:00:00 2099", "Resource_List": {"walltime": "1:00"}}}}'

#: A scheduler's command: notes that it was started, waits until it may speak, and prints what its file says.
PROGRAM = """\
#!/bin/sh
echo "${0##*/}" >> TOP/asked
until [ -e TOP/speak ]; do sleep 0.05; done
cat TOP/answer 2>/dev/null
"""

#: One command on one node. Nobody is too slow here, unless a test says so.
COMMAND = """\
import os, sys
from nodexfer.config import load
from nodexfer.node import jobend, questions
from nodexfer.scheduler import detect, protocol
questions.WAIT_SECONDS, protocol.TIMEOUT = float(sys.argv[1]), 300.0
if sys.argv[3]:
    jobend._session = lambda: sys.argv[3]
config = load()
config.node_paths.make()
print("ready", flush=True)
sys.stdin.readline()
found = jobend.find(config, detect(os.environ), os.environ, again=sys.argv[2] == "again")
print(round(found.at) if found.known else "unknown")
"""


class Site:
    """Many nodes, one home, one scheduler."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.running: list[procs.Process] = []
        for name in ("squeue", "scontrol", "qstat"):
            (top / name).write_text(PROGRAM.replace("TOP", str(top)))
            (top / name).chmod(0o700)

    @property
    def asked(self) -> list[str]:
        try:
            return (self.top / "asked").read_text().split()
        except FileNotFoundError:
            return []

    @property
    def ends(self) -> Path:
        return Path(load().home_paths.ends)

    def see_asked(self, times: int) -> None:
        eventually(lambda: len(self.asked) >= times)

    def speak(self, answer: str = "10:00\n") -> None:
        (self.top / "answer").write_text(answer)
        (self.top / "speak").touch()

    def config(self, node: str) -> Config:
        """Of a node, in this process."""
        (self.top / node).mkdir(exist_ok=True)
        found = load(node_dir=f"{self.top}/{node}/place")
        found.node_paths.make()
        return found

    def start(
        self, node: str, job: Mapping[str, str], *, patience: float = 300.0, again: bool = False, session: str = ""
    ) -> procs.Process:
        """A command that is ready to ask."""
        node_dir = self.config(node).node_dir
        process = procs.spawn(
            [sys.executable, "-c", COMMAND, str(patience), "again" if again else "", session],
            environ={**os.environ, **job, "NODEXFER_NODE_DIR": node_dir},
            stdin=procs.PIPE,
            stdout=procs.PIPE,
        )
        self.running.append(process)
        return process

    def grow_old(self) -> None:
        """A minute passes, for all nodes."""
        logs = (*self.top.glob("*/place/logs/end-*"), *self.top.glob("*/place/logs/ends/*/answer.*"))
        for path in (*self.ends.glob("*/answer.*"), *logs):
            path.write_text(path.read_text().replace('"asked":', '"asked":1.0,"was":'))


def go(process: procs.Process) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdin.write(b"go\n")
    process.stdin.flush()


def said(process: procs.Process) -> str:
    assert process.stdout is not None
    words = process.stdout.read().decode().strip()
    assert process.wait(30) == 0
    return words


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    made = Site(tmp_path)
    yield made
    made.speak()  # what was killed has left its question
    for process in made.running:
        process.kill()
        process.wait(30)
        process.close()


# many nodes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job", JOBS)
def test_all_nodes_of_a_job_that_start_at_once_are_one_question(site: Site, job: str) -> None:
    running = [site.start(f"n{number}", JOBS[job]) for number in range(8) for _ in range(2)]
    for process in running:
        go(process)
    site.speak(LIMIT if job == "pbs" else "10:00\n")
    found = {said(process) for process in running}
    assert len(site.asked) == 1
    assert "unknown" not in found
    assert max(map(int, found)) - min(map(int, found)) <= 4  # what files' stamps may be off
    for process in (late := [site.start("late", JOBS[job]), site.start("n0", JOBS[job])]):
        go(process)
    assert "unknown" not in {said(process) for process in late}
    assert len(site.asked) == 1


def test_a_scheduler_that_says_nothing_is_asked_three_times_by_all_nodes_together(site: Site) -> None:
    site.speak("")
    for _ in range(3):
        running = [site.start(f"n{number}", JOBS["slurm"]) for number in range(4)]
        for process in running:
            go(process)
        assert {said(process) for process in running} == {"unknown"}
        site.grow_old()
    assert site.asked == ["squeue", "scontrol", "squeue"]


def test_nodes_that_ask_again_together_are_one_more_question(site: Site) -> None:
    site.speak()
    first = jobend.find(site.config("n0"), SLURM, {})
    site.grow_old()
    site.speak("1:10:00\n")
    running = [site.start(f"n{number}", JOBS["slurm"], again=True) for number in range(4)]
    for process in running:
        go(process)
    found = [said(process) for process in running]
    assert all(int(end) > first.at + 3000 for end in found)
    assert site.asked == ["squeue", "squeue"]
    assert jobend.find(site.config("n9"), SLURM, {}).at > first.at + 3000
    assert len(site.asked) == 2


def test_each_run_of_a_job_asks_for_itself_on_every_node(site: Site) -> None:
    """What was said of an earlier one would end the later one too early."""
    site.speak()
    later = [{**JOBS["slurm"], "SLURM_RESTART_COUNT": "1"}, {**JOBS["pbs"], "PBS_JOBCOOKIE": "B2"}]
    for environ in (*JOBS.values(), *later):
        for node in ("n0", "n1"):
            go(process := site.start(node, environ))
            said(process)
    assert site.asked == ["squeue", "qstat", "squeue", "qstat"]


def test_where_the_environment_says_it_nothing_is_asked_and_the_home_left_alone(site: Site) -> None:
    found = jobend.find(site.config("n0"), SLURM, {"SLURM_JOB_END_TIME": "4099766400"})
    assert found == jobend.JobEnd(4099766400.0, True, "SLURM_JOB_END_TIME")
    assert not site.ends.exists()
    assert site.asked == []


@pytest.mark.parametrize("answer", ["10:00\n", ""], ids=["an end", "nothing"])
def test_what_was_just_said_here_needs_no_look_at_the_home(
    site: Site, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    site.speak(answer)
    config = site.config("n0")
    jobend.find(config, SLURM, {})
    monkeypatch.setattr(answers.Place, "look", lambda _: pytest.fail("it was looked at"))
    assert jobend.find(config, SLURM, {}).known == bool(answer)


def test_what_a_command_beside_us_was_just_told_needs_no_look_at_the_home(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.speak()
    config, take = site.config("n0"), locks.take

    def late(path: str, seconds: float) -> int:
        monkeypatch.setattr(locks, "take", take)
        jobend.find(config, SLURM, {})
        monkeypatch.setattr(answers.Place, "look", lambda _: pytest.fail("it was looked at"))
        return take(path, seconds)

    monkeypatch.setattr(locks, "take", late)
    assert jobend.find(config, SLURM, {}).known


@pytest.mark.parametrize("environ", [{"PBS_JOBID": "12.server"}, {"SLURM_JOB_ID": "12"}], ids=["pbs", "slurm"])
def test_where_a_run_can_not_be_told_each_node_counts_for_itself(site: Site, environ: dict[str, str]) -> None:
    site.speak(LIMIT if "PBS_JOBID" in environ else "10:00\n")
    for node in ("n0", "n1", "n0"):
        go(process := site.start(node, environ))
        assert said(process) != "unknown"
    assert len(site.asked) == 2
    assert not site.ends.exists()


def test_where_a_run_can_not_be_told_what_was_said_in_another_session_is_not_believed(site: Site) -> None:
    """It may have been of an earlier run, whose end would be too early. Both count."""
    environ = {"PBS_JOBID": "12.server"}
    site.speak(LIMIT)
    for session in range(4):
        for _ in range(2):
            go(process := site.start("n0", environ, session=f"s{session}"))
            assert (said(process) == "unknown") == (session == 3)
    assert site.asked == ["qstat"] * 3


# deaths ------------------------------------------------------------------------------------------------------


def test_who_is_killed_while_it_asks_is_waited_for_and_then_another_one_asks(site: Site) -> None:
    go(killed := site.start("n0", JOBS["slurm"]))
    site.see_asked(1)
    running = [site.start(f"n{number}", JOBS["slurm"], patience=2.0) for number in (1, 2)]
    killed.kill()
    for process in running:
        go(process)
    site.see_asked(2)
    site.speak()
    found = [said(process) for process in running]
    assert "unknown" not in found[:1] or "unknown" not in found[1:]
    assert len(site.asked) <= 3


def test_three_that_are_killed_are_all_that_is_ever_asked(site: Site) -> None:
    for number in range(3):
        go(killed := site.start(f"n{number}", JOBS["slurm"], patience=0.2))
        site.see_asked(number + 1)
        killed.kill()
        killed.wait(30)
    for patience in (0.2, 300.0, 300.0):  # once only
        go(process := site.start("n3", JOBS["slurm"], patience=patience, again=patience > 1))
        assert said(process) == "unknown"
        site.grow_old()
    assert len(site.asked) == 3


def test_a_call_that_somebody_else_has_claimed_meanwhile_is_answered_by_him(site: Site) -> None:
    place, other = (answers.Place(f"{site.top}/ends/12").make() for _ in range(2))
    end = End(time.time() + 600, "squeue")

    def put(run: RunArgv) -> End | None:
        assert run(["squeue"], timeout=10.0).code == 0
        other.claim(2)
        other.write(2, end)
        with pytest.raises(FileExistsError):
            run(["scontrol"], timeout=10.0)
        return None

    site.speak()
    assert questions.settle(place, put, again=False).end == end
    assert site.asked == ["squeue"]


def test_who_waits_for_a_call_waits_no_longer_when_the_next_one_is_claimed(site: Site) -> None:
    place = answers.Place(f"{site.top}/ends/12").make()
    place.claim(1)
    assert not place.wait(1, 0.1)
    place.claim(2)
    assert place.wait(1, 0.1)


def test_a_question_that_is_being_asked_is_waited_for_although_the_last_one_was_just_now(site: Site) -> None:
    place = answers.Place(f"{site.top}/ends/12").make()
    place.claim(1)
    place.write(1, None)
    place.claim(2)
    end = End(time.time() + 600, "scontrol")
    told: list[int] = []

    class Watched(answers.Place):
        def wait(self, call: int, seconds: float) -> bool:
            told.append(call)
            place.write(2, end)
            return super().wait(call, seconds)

    waiting = Watched(f"{site.top}/ends/12")
    assert questions.settle(waiting, lambda _: pytest.fail("it was asked"), again=False).end == end
    assert told == [2]


def test_where_no_questions_are_left_the_last_answer_has_to_do(site: Site) -> None:
    place = answers.Place(f"{site.ends}/12").make()
    end = End(time.time() + 600, "squeue")
    for call in (1, 2, 3):
        place.claim(call)
        place.write(call, end if call == 1 else None)
    site.grow_old()
    assert questions.settle(place, lambda _: pytest.fail("it was asked"), again=True).end == end


def test_an_asker_that_hangs_costs_who_asks_again_one_wait_and_nothing_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.speak()
    first = jobend.find(site.config("n0"), SLURM, {})
    site.grow_old()
    answers.Place(f"{site.ends}/{SLURM.key}").claim(2)
    monkeypatch.setattr(questions, "WAIT_SECONDS", 0.2)
    assert jobend.find(site.config("n0"), SLURM, {}, again=True) == first
    monkeypatch.setattr(questions, "WAIT_SECONDS", 300.0)
    assert jobend.find(site.config("n1"), SLURM, {}).known  # an end that is known is not waited for
    assert site.asked == ["squeue"]


def test_what_was_waited_for_is_new_whatever_the_clocks_say(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems stamp by the clock of the node that writes."""
    monkeypatch.setattr(answers.Place, "_ahead", lambda _: 0.0)
    place, other = (answers.Place(f"{site.top}/ends/12").make() for _ in range(2))
    other.claim(1)
    waits = answers.Place.wait

    def wait(waiting: answers.Place, call: int, seconds: float) -> bool:
        record = {"format": 1, "end": None, "source": None, "asked": time.time() - 5 * 3600, "whose": ""}
        records.write(f"{site.top}/ends/12/answer.1", record)
        return waits(waiting, call, seconds)

    monkeypatch.setattr(answers.Place, "wait", wait)
    assert questions.settle(place, lambda _: pytest.fail("it was asked"), again=False).end is None


def test_a_program_that_is_not_there_is_no_call(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.speak()
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", "/nowhere")
    for _ in range(4):
        assert not jobend.find(site.config("n0"), SLURM, {}).known
    monkeypatch.setenv("PATH", path)
    assert jobend.find(site.config("n0"), SLURM, {}).known
    assert site.asked == ["squeue"]


# the home ----------------------------------------------------------------------------------------------------


def no_directory(site: Site, _: pytest.MonkeyPatch) -> None:
    site.ends.parent.mkdir()
    site.ends.write_text("a file")


def open_to_others(site: Site, _: pytest.MonkeyPatch) -> None:
    site.ends.mkdir(parents=True)
    site.ends.chmod(0o755)


def no_room(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = answers.Place.claim

    def refused(place: answers.Place, call: int) -> None:
        if place._directory.startswith(str(site.ends)):
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        claim(place, call)

    monkeypatch.setattr(answers.Place, "claim", refused)


@pytest.mark.parametrize("spoil", [no_directory, open_to_others, no_room])
def test_where_the_home_can_not_be_written_the_node_counts_for_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Site, pytest.MonkeyPatch], None]
) -> None:
    spoil(site, monkeypatch)
    site.speak()
    config = site.config("n0")
    ends = []
    for _ in range(5):
        ends.append(jobend.find(config, SLURM, {}, again=True))
        site.grow_old()
    assert all(end.known for end in ends)
    assert site.asked == ["squeue"] * 3


def test_what_was_asked_together_counts_when_the_home_can_not_be_written_any_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.speak("")
    jobend.find(site.config("n0"), SLURM, {})
    site.grow_old()
    no_room(site, monkeypatch)
    jobend.find(site.config("n0"), SLURM, {})
    assert site.asked == ["squeue", "scontrol", "squeue"]


def test_a_home_that_is_lost_while_it_is_asked_starts_no_count_anew(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.speak("")
    claim, look = answers.Place.claim, answers.Place.look
    lost: list[bool] = []

    def claim_one(place: answers.Place, call: int) -> None:
        if place._directory.startswith(str(site.ends)) and call == 2:
            lost.append(True)
            raise FileExistsError
        claim(place, call)

    def look_before(place: answers.Place) -> tuple[answers.Said, int]:
        if place._directory.startswith(str(site.ends)) and lost:
            raise OSError(errno.ESTALE, "Stale file handle")
        return look(place)

    monkeypatch.setattr(answers.Place, "claim", claim_one)
    monkeypatch.setattr(answers.Place, "look", look_before)
    for _ in range(2):
        jobend.find(site.config("n0"), SLURM, {})
        site.grow_old()
    assert site.asked == ["squeue", "squeue", "scontrol"]


# clocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-5, 5])
@pytest.mark.parametrize("wrong", ["n0", "n1"])
def test_clocks_of_nodes_that_differ_by_hours_do_no_harm(
    site: Site, monkeypatch: pytest.MonkeyPatch, hours: int, wrong: str
) -> None:
    """Each is told an end by its own clock; what was just asked is new to all."""
    site.speak()
    true = time.time

    def find(node: str, again: bool) -> float:
        ahead = hours * 3600 if node == wrong else 0
        monkeypatch.setattr(time, "time", lambda: true() + ahead)
        found = jobend.find(site.config(node), SLURM, {}, again=again)
        left = found.at - time.time()
        monkeypatch.setattr(time, "time", true)
        assert found.known
        return left

    for again in (False, True):
        for node in ("n0", "n1"):
            assert abs(find(node, again) - 600) < 60
    assert site.asked == ["squeue"]


# what is over ------------------------------------------------------------------------------------------------


def left_by(site: Site, name: str, days: float, end: float | None, source: str | None = "squeue") -> Path:
    """What a job has left that was asked about ``days`` ago; ``end``: the same."""
    place = answers.Place(f"{site.ends}/{name}").make()
    place.claim(1)
    if source is not None:
        place.write(1, End(None if end is None else time.time() - end * 86400, source))
    directory = site.ends / name
    os.utime(directory, (time.time() - days * 86400,) * 2)
    return directory


def test_what_is_long_over_goes_and_nothing_else(site: Site) -> None:
    gone = [left_by(site, "over", 9, 8), left_by(site, "silent", 91, None, None), left_by(site, "unlimited", 91, None)]
    kept = [
        left_by(site, "lately", 9, 6),
        left_by(site, "asked-lately", 6, 8),
        left_by(site, "waiting", 89, None, None),
    ]
    kept += [left_by(site, "runs", 30, -1), left_by(site, "no-limit", 89, None)]
    (half := site.ends / ".gone-0-x").mkdir()
    (site.ends / "file").write_text("not ours")
    site.speak()
    jobend.find(site.config("n0"), SLURM, {})
    assert [path.name for path in gone if path.exists()] == []
    assert [path.name for path in kept if not path.exists()] == []
    assert not half.exists()
    assert (site.ends / SLURM.key).exists()


def test_each_who_asks_removes_a_few(site: Site) -> None:
    for number in range(40):
        left_by(site, str(number), 9, 8)
    place = answers.Place(f"{site.ends}/{SLURM.key}").make()
    counts = [len(os.listdir(site.ends))]
    while counts[-1] > 1:
        place.forget_old()
        counts.append(len(os.listdir(site.ends)))
        assert counts[-2] - counts[-1] <= 16
        assert len(counts) < 1000
