from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable

import pytest

from benchmarks import baseline, measure
from benchmarks.crowd import Crowd


def test_rounds_are_interleaved_and_the_first_is_thrown_away() -> None:
    calls: list[str] = []

    def taking(name: str) -> Callable[[], float]:
        def take() -> float:
            calls.append(name)
            return len(calls)

        return take

    found = measure.interleaved(2, {"a": taking("a"), "b": taking("b")})
    assert calls == ["a", "b"] * 3
    assert found == {"a": [3, 5], "b": [4, 6]}
    assert measure.medians(found) == {"a": 4, "b": 5}


def test_quantiles_are_values_that_were_measured() -> None:
    assert measure.quantile([3, 1, 2], 0.5) == 2
    assert measure.quantile(list(range(1, 101)), 0.99) == 99
    assert measure.quantile([7], 0.9) == 7


def test_a_command_that_fails_gives_no_figure() -> None:
    with pytest.raises(RuntimeError, match="ended with 3"):
        measure.command([sys.executable, "-c", "raise SystemExit(3)"], os.environ)


def test_files_that_a_process_opens_are_counted(tmp_path: pathlib.Path) -> None:
    files = [tmp_path / str(number) for number in range(20)]
    for file in files:
        file.touch()
    few, _ = measure.files_opened([sys.executable, "-m", "this"], os.environ, str(tmp_path))
    program = f"for n in range(20): open(f'{tmp_path}/{{n}}').close()\nimport this"
    (tmp_path / "opener.py").write_text(program)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    many, how = measure.files_opened([sys.executable, "-m", "opener"], environ, str(tmp_path))
    assert how
    assert 20 <= many - few <= 30


def test_foreign_modules_are_told_from_the_standard_librarys(tmp_path: pathlib.Path) -> None:
    (tmp_path / "stranger.py").write_text("")
    (tmp_path / "importer.py").write_text("import json, click, stranger")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    found = measure.modules_imported([sys.executable, "-m", "importer"], environ)
    assert measure.foreign(found) == {"stranger"}


def test_a_bare_write_is_whole_and_leaves_one_file(tmp_path: pathlib.Path) -> None:
    bare = baseline.Bare(str(tmp_path / "record"), {"a": 1})
    assert bare.timed() > 0
    assert sorted(os.listdir(tmp_path)) == ["record", "record.lock"]
    assert (tmp_path / "record").read_text() == '{"a":1}'


def test_a_lock_changes_hands_when_its_holder_is_killed(tmp_path: pathlib.Path) -> None:
    assert 0 < baseline.flock_hand_over(str(tmp_path / "lock")) < 5


def test_a_crowd_starts_together_tells_all_and_ends() -> None:
    crowd = Crowd(8, lambda: float(os.getpid()))
    found = crowd.go()
    crowd.end()
    assert len(set(found)) == 8


def test_a_crowd_with_a_failing_process_is_an_error() -> None:
    crowd = Crowd(1, lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="failed"):
        crowd.go()
    with pytest.raises(RuntimeError, match="failed"):
        crowd.end()
