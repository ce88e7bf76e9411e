"""Deaths while a job asks when it ends: no more than three processes of the scheduler in all, and the others know."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.lab import Census, End, Lab, at
from tests.crash.scene import each_death

pytestmark = pytest.mark.slow


class Job:
    """Nodes with one home. ``squeue`` knows nothing of this job, ``scontrol`` does."""

    def __init__(self, top: Path, lab: Lab) -> None:
        self.top, self._lab = top, lab
        (top / "bin").mkdir(parents=True)
        for name in ("squeue", "scontrol"):
            (top / "bin" / name).touch(0o700)
        (top / "home").mkdir()

    def ask(self, node: str, die_at: int = 0) -> End:
        (self.top / node).mkdir(exist_ok=True)
        environ = {"PATH": f"{self.top}/bin", "NODEXFER_HOME": f"{self.top}/home/nodexfer"}
        environ["NODEXFER_NODE_DIR"] = f"{self.top}/{node}/place"
        tops = (self.top / "home", self.top / node)
        return self._lab.run("ask_end", die_at=die_at, tops=tops, environ=environ, asked=f"{self.top}/asked")

    @property
    def asked(self) -> int:
        path = self.top / "asked"
        return len(path.read_text().split()) if path.exists() else 0


@pytest.mark.points(2)
@pytest.mark.parametrize("first", ["n0", "n1"], ids=["here", "on another node"])
def test_the_others_of_a_job_are_told_when_it_ends(lab: Lab, census: Census, tmp_path: Path, first: str) -> None:
    def die_at(number: int) -> End:
        job = Job(tmp_path / str(number), lab)
        end = job.ask("n0", number)
        with at(number, end):
            # Who died may have claimed two of the three, and only the second program knows the end.
            known = [job.ask(node).said for node in (first, "n0", "n1", "n2")]
            assert job.asked <= 3
            assert len(set(known)) == 1, known
            assert known[0] or job.asked == 3 or len(list(job.top.glob("home/nodexfer/ends/*/call.*"))) == 3
        return end

    each_death(census, "asking when the job ends", die_at)


@pytest.mark.points(2)
def test_however_many_die_three_processes_are_all_that_is_started(lab: Lab, census: Census, tmp_path: Path) -> None:
    def die_at(number: int) -> End:
        job = Job(tmp_path / str(number), lab)
        end = job.ask("n0", number)
        with at(number, end):
            for node in ("n0", "n1", "n2", "n3", "n4"):
                job.ask(node, number)
            for node in ("n0", "n5"):
                job.ask(node)
            assert job.asked <= 3
        return end

    each_death(census, "asking when the job ends, each of its nodes", die_at)
