"""What ``nodexfer status`` shows to people."""

from __future__ import annotations

import time
from typing import Any

import pytest

from nodexfer.cli import status


def found(holds: int) -> dict[str, Any]:
    now = time.time()
    made = [
        {"id": f"{n:016x}", "job": "local-host-1.0", "by": "process", "pid": 4000 + n, "endpoint": n == 1, "since": now}
        for n in range(holds)
    ]
    job = {"job": "local-host-1.0", "holds": holds, "keeper": 17, "leads": True, "scratch": "/tmp/x", "since": now}
    tops = {"host": "host", "node_dir": "/tmp/n", "roots": ["/tmp"], "endpoint": None}
    return {**tops, "jobs": [job] if holds else [], "holds": made, "tasks": []}


def test_it_says_who_holds_and_since_when(capsys: pytest.CaptureFixture[str]) -> None:
    one = found(2)
    one["holds"][0] |= {"by": "job", "since": time.time() - 125}
    status.show(one)
    shown = capsys.readouterr().out
    lines = {line.split()[0]: line for line in shown.splitlines() if line}
    assert "the job" in lines["0" * 16]
    assert "2 min" in lines["0" * 16]
    assert "process 4001, with endpoint" in lines[f"{1:016x}"]
    assert all(len(line) <= 80 and line == line.rstrip() for line in shown.splitlines())


def test_of_hundreds_of_holds_ten_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    status.show(found(300))
    shown = capsys.readouterr().out
    assert shown.count("process 4") == 10
    assert shown.endswith("and 290 more: nodexfer status --json\n")


def test_where_nobody_holds_there_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    status.show(found(0))
    assert "HOLD" not in capsys.readouterr().out
