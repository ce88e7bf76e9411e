"""ledger, command: what the jobs' commands have said, and whether it was true."""

from __future__ import annotations

from pathlib import Path

from nodexfer.errors import DiskFull
from nodexfer.sandbox.chaos import ledger
from nodexfer.sandbox.chaos.command import differences


def judged(tmp_path: Path, *ends: int | None, wrong: tuple[str, ...] = (), killed: tuple[str, ...] = ()) -> object:
    book = ledger.Ledger(str(tmp_path / "ledger"))
    for number, code in enumerate(ends, 1):
        book.begin(number, f"job-{number}", ["stage-in", "site:/a", "a"])
        if code is not None:
            book.end(number, f"job-{number}", code, wrong)
    return ledger.judge(ledger.read(str(tmp_path / "ledger")), killed)


def test_success_and_named_errors_are_no_loss(tmp_path: Path) -> None:
    assert judged(tmp_path, 0, DiskFull.exit_code, 0) == ledger.Verdict(3, (), (), {"DiskFull": 1})


def test_an_end_without_a_name_is_a_loss(tmp_path: Path) -> None:
    verdict = judged(tmp_path, 1, -9, 99)
    assert isinstance(verdict, ledger.Verdict)
    assert [text.split(": ")[-1] for text in verdict.lost] == ["ended with 1", "ended with -9", "ended with 99"]


def test_who_was_killed_owes_nobody_a_word_and_who_was_not_does(tmp_path: Path) -> None:
    verdict = judged(tmp_path, None, None, killed=("job-1",))
    assert isinstance(verdict, ledger.Verdict)
    assert verdict.lost == ("job-2: stage-in site:/a a: never ended",)


def test_a_success_with_other_bytes_is_a_false_one(tmp_path: Path) -> None:
    verdict = judged(tmp_path, 0, wrong=("a: other bytes",))
    assert isinstance(verdict, ledger.Verdict)
    assert verdict.false == ("job-1: stage-in site:/a a: a: other bytes",)


def test_a_process_number_that_comes_again_is_another_command(tmp_path: Path) -> None:
    book = ledger.Ledger(str(tmp_path / "ledger"))
    for _ in range(2):
        book.begin(1, "job", ["run"])
        book.end(1, "job", 0, [])
    assert len(ledger.read(str(tmp_path / "ledger"))) == 2


def test_both_sides_are_compared_byte_by_byte(tmp_path: Path) -> None:
    site, scratch = tmp_path / "site", tmp_path / "scratch"
    for top in (site / "runs/1", scratch / "own"):
        top.mkdir(parents=True)
        (top / "a").write_text("abc")
    environ = {"CHAOS_SITE": str(site), "NUMBER": "1"}
    command = ["stage-in", "site:/runs/1", str(scratch / "own")]
    assert differences(command, environ) == []
    (scratch / "own/a").write_text("abd")
    assert differences(command, environ) == [f"{scratch}/own/a: other bytes"]
    (scratch / "own/b").write_text("")
    assert f"{scratch}/own/b: at one side only" in differences(command, environ)


def test_results_must_be_the_inputs_back_to_front(tmp_path: Path) -> None:
    for top, text in (("runs/1", "abc"), ("results/1/turned", "cba")):
        (tmp_path / top).mkdir(parents=True)
        (tmp_path / top / "a").write_text(text)
    environ = {"CHAOS_SITE": str(tmp_path), "NUMBER": "1"}
    assert differences(["run", "--", "x"], environ) == []
    (tmp_path / "results/1/turned/a").write_text("abc")
    assert differences(["run", "--", "x"], environ) == [f"{tmp_path}/results/1/turned/a: other bytes"]


def test_a_manifest_of_either_form_names_what_is_compared(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for path in (site / "runs/1", site / "results/1/turned", tmp_path / "results"):
        path.mkdir(parents=True)
    (tmp_path / "results/x").write_text("1")
    manifest = tmp_path / "list"
    manifest.write_text(f'{{"source": "{tmp_path}/results", "destination": "site:/results/1"}}\n')
    environ = {"CHAOS_SITE": str(site), "NUMBER": "1"}
    first = differences(["stage-out", "--overwrite", "--manifest", str(manifest)], environ)
    assert first == ["site:/results/1/x: at one side only"]
    manifest.write_text(f"{tmp_path}/results\tsite:/results/1\n")
    assert differences(["stage-out", "--overwrite", "--manifest", str(manifest)], environ) == first
