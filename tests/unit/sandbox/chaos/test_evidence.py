"""What is kept of a chaos run that went wrong."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from rich.console import Console

from nodexfer import procs
from nodexfer.sandbox.chaos import evidence, report, run
from nodexfer.sandbox.chaos.ledger import Verdict
from nodexfer.sandbox.chaos.plan import Plan, draw
from nodexfer.sandbox.chaos.report import ChaosReport
from nodexfer.sandbox.demo.narrate import Narrator
from nodexfer.sandbox.demo.report import Report
from nodexfer.sandbox.model import FileJob, Task
from nodexfer.sandbox.store import Store
from tests.support.waiting import eventually

STANDING = "import sys, time\ndef waiting_here():\n    print('up', flush=True)\n    time.sleep(600)\nwaiting_here()\n"


def test_it_says_where_each_thread_stands_what_was_known_and_what_lay_there(tmp_path: Path) -> None:
    top = tmp_path / "run"
    node = top / "place-0/local/nodexfer"
    for path in ("logs", "spool/job/r1", "jobs/job", "exchange"):
        (node / path).mkdir(parents=True)
    (node / "spool/job/r1/request.json").write_text("{}")
    (node / "jobs/job/large").write_bytes(b"data")
    (top / "ledger").write_text("begun\n")
    environ = evidence.trace(f"{top}/traced", dict(os.environ))
    out = tmp_path / "out"
    with (node / "logs/desk.log").open("wb") as log, out.open("wb") as told:
        child = procs.spawn([sys.executable, "-c", STANDING], environ=environ, stdout=told, stderr=log)
    deaf = procs.spawn([sys.executable, "-S", "-c", STANDING, str(top)], stdout=procs.DEVNULL)
    try:
        eventually(lambda: out.read_bytes() == b"up\n")
        found = Path(evidence.gather(str(top), [str(node)], [], ["1.0 s  SIGKILL to a guard"]))
        assert (child.poll(), deaf.poll()) == (None, None)
    finally:
        for process in (child, deaf):
            process.kill()
            process.wait(5)
            process.close()
    assert "in waiting_here" in (found / "place-0/logs/desk.log").read_text()
    assert f"{child.pid} {os.getpid()} " in (found / "processes").read_text()
    assert (found / "place-0/spool/job/r1/request.json").read_text() == "{}"
    assert not (found / "place-0/jobs").exists()
    assert f" 4 {node}/jobs/job/large\n" in (found / "place-0/listing").read_text()
    assert (found / "ledger").read_text() == "begun\n"
    assert (found / "story").read_text() == "1.0 s  SIGKILL to a guard\n"
    (found / "story").write_text("first")
    assert Path(evidence.gather(str(top), [], [], ["later"])) == found
    assert (found / "story").read_text() == "first"


def test_it_says_what_the_service_knew_and_of_what_was_not_over_the_files(tmp_path: Path) -> None:
    (tmp_path / "sandbox").mkdir()
    store = Store(str(tmp_path / "sandbox/state.db"))
    for at, (name, status) in enumerate({"late": "ACTIVE", "early": "SUCCEEDED"}.items()):
        task = Task(name, "TRANSFER", "me", "s", "a", "b", {}, [], requested=-at, deadline=9.0, deadline_given=True)
        task.status = status  # type: ignore[assignment]
        file = FileJob(0, "/from", "/to", 10, 0.0, offset=7)
        store.save_all([("task", name, task), (f"files/{name}", "0", file)])
    found = Path(evidence.gather(str(tmp_path), [], [], []))
    early, late = json.loads((found / "tasks.json").read_text())
    store.close()
    assert (early["id"], "files_known" in early) == ("early", False)
    assert [file["offset"] for file in late["files_known"]] == [7]


@pytest.mark.parametrize("keep", [True, False])
def test_a_run_that_went_wrong_leaves_it_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    def goes_wrong(plan: Plan, directory: str, narrator: Narrator, last: ExitStack) -> ChaosReport:
        told = Report((), 0, 1, 0, None, (), (), (), ("job 1 was not done",), 1.0, None)
        found = evidence.gather(directory, [], [], narrator.lines)
        return ChaosReport(told, plan, Verdict(1, (), (), {}), 0, 0, 0, False, found)

    monkeypatch.setattr(run, "_play", goes_wrong)
    monkeypatch.setattr(run, "temporary", lambda: str(tmp_path))
    told = run.play(draw(1, 1, 1.0), Narrator(Console(file=io.StringIO())), keep=keep)
    assert told.evidence is not None
    assert Path(told.evidence, "story").exists()
    assert told.as_record()["evidence"] == told.evidence
    (left,) = tmp_path.iterdir()
    assert os.path.dirname(told.evidence) == str(left if keep else tmp_path)
    screen = io.StringIO()
    report.show(told, Console(file=screen))
    assert f"evidence    {told.evidence}\n" in screen.getvalue()
