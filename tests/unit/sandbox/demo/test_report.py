from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from nodexfer.sandbox.demo.report import MIB, Report, Row, show

ROW = Row(1, 1, 0, 1.5, 8.0, 5, 12 * MIB, 5, 4 * MIB, True, ("aaaaaaaa-1", "bbbbbbbb-2"), ())
GOOD = Report(
    jobs=(ROW, ROW._replace(job=2, attempts=2, task_ids=("bbbbbbbb-2",))),
    endpoints_started=2,
    endpoints_live_max=1,
    takeovers=1,
    takeover={"killed": 2, "by": 1, "leads_after": 0.004, "ready_after": 1.2},
    left_processes=(),
    left_leases=(),
    left_files=(),
    problems=(),
    seconds=21.0,
    directory=None,
)


def printed(report: Report) -> str:
    out = io.StringIO()
    show(report, Console(file=out, width=80, highlight=False))
    return out.getvalue()


def test_the_record_has_every_promised_field_as_a_number_or_rows() -> None:
    record = json.loads(json.dumps(GOOD.as_record()))
    assert [row["job"] for row in record["jobs"]] == [1, 2]
    assert record["tasks"] == 2
    assert record["files"] == 20
    assert record["bytes"] == 32 * MIB
    for name in ("mismatches", "leftover_processes", "leftover_leases", "leftover_files"):
        assert record[name] == 0
    assert (record["endpoints_started"], record["endpoints_live_max"], record["takeovers"]) == (2, 1, 1)
    assert record["seconds"] == 21.0
    assert record["ok"]


@pytest.mark.parametrize(
    "change",
    [
        {"takeovers": 0},
        {"takeover": None},
        {"endpoints_live_max": 2},
        {"endpoints_live_max": 0},
        {"left_processes": ("process 1: x",)},
        {"left_leases": ("demo-1: leased",)},
        {"left_files": ("/a",)},
        {"problems": ("job 3 did not end",)},
        {"jobs": (ROW._replace(verified=False),)},
        {"jobs": (ROW._replace(exit_code=1),)},
        {"jobs": (ROW._replace(task_ids=()),)},
    ],
)
def test_whatever_is_not_proven_is_not_ok_and_is_said(change: dict[str, Any]) -> None:
    report = GOOD._replace(**change)
    assert not report.ok
    assert "proven" not in printed(report)


def test_the_table_fits_80_columns_and_tells_the_take_over_and_what_is_left() -> None:
    text = printed(GOOD)
    assert max(map(len, text.splitlines()[:5])) <= 80
    assert "4 ms" in text
    assert "nothing: no process, no lease, no file" in text
    assert "2 killed, again" in text


def test_names_with_brackets_are_printed_as_they_are() -> None:
    bad = GOOD._replace(jobs=(ROW._replace(verified=False, mismatches=("runs/3/[red]a[/red].bin: other",)),))
    assert "[red]a[/red].bin" in printed(bad)


def test_no_line_ends_in_blanks() -> None:
    assert [line for line in printed(GOOD).splitlines() if line != line.rstrip()] == []
