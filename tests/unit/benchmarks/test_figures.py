from __future__ import annotations

import json
import pathlib
import sys
import types

import pytest

from benchmarks import __main__ as benches
from benchmarks.figures import Figure, save, table


def test_a_bar_is_met_from_the_side_that_it_names() -> None:
    assert Figure("a", 5.0, "x", 5.0).ok
    assert not Figure("a", 5.1, "x", 5.0).ok
    assert Figure("a", 0.1, "x", 0.1, "at least").ok
    assert not Figure("a", 0.09, "x", 0.1, "at least").ok


def test_what_others_wrote_stays_and_what_was_measured_again_is_replaced(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "build" / "bench.json")
    save([Figure("a", 1.0, "x", 2.0), Figure("b", 1.0, "x", 2.0)], path)
    save([Figure("b", 3.0, "x", 2.0), Figure("c", 0.0, "s", 1.0)], path)
    found = json.loads(pathlib.Path(path).read_text())
    assert {one["name"]: (one["value"], one["ok"]) for one in found} == {
        "a": (1, True),
        "b": (3, False),
        "c": (0, True),
    }
    assert all({"name", "value", "unit", "bar", "ok"} <= one.keys() for one in found)


def test_what_could_not_be_measured_is_a_miss_and_still_json(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "bench.json"
    save([Figure("a", float("inf"), "x", 2.0, note="no rsync")], str(path))
    (found,) = json.loads(path.read_text(), parse_constant=lambda text: text)
    assert (found["value"], found["ok"], found["note"]) == (None, False, "no rsync")


def test_a_broken_file_does_not_cost_a_run(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text("{half")
    assert len(save([Figure("a", 1.0, "x", 2.0)], str(path))) == 1
    assert len(json.loads(path.read_text())) == 1


def test_the_table_names_what_was_missed() -> None:
    lines = table([Figure("good", 1.0, "x", 2.0), Figure("bad", 3.0, "x", 2.0, note="3 ms")]).splitlines()
    assert "MISSED" not in lines[1]
    assert "MISSED" in lines[2]
    assert "3 ms" in lines[2]


@pytest.mark.parametrize(("values", "code"), [([1.0, 2.0], 0), ([1.0, 3.0], 1), ([1.0, None], 1)])
def test_a_missed_bar_and_a_benchmark_that_fails_are_no_success(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    values: list[float | None],
    code: int,
) -> None:
    """What could be measured is in the table and in the file all the same."""
    for number, value in enumerate(values):
        module = types.ModuleType(f"measured_{number}")
        figures = [] if value is None else [Figure(f"figure {number}", value, "x", 2.0)]
        module.figures = (lambda: 1 / 0) if value is None else lambda figures=figures: figures  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # it is taken away, and comes back afterwards
    monkeypatch.setattr(benches, "BENCHMARKS", {name: f"measured_{name}" for name in ("0", "1")})
    monkeypatch.setattr(sys, "argv", ["bench", "--output", str(tmp_path / "bench.json")])
    assert benches.main() == code
    assert "figure 0" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "bench.json").read_text())) == len(values) - values.count(None)
