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
    pool = {"name": "default", "trouble": "", "endpoints": [], "waiting": [], "turns": []}
    tops = {"host": "host", "node_dir": "/tmp/n", "roots": ["/tmp"], "endpoint": None, "pool": pool}
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


def test_who_holds_what_of_the_pool_is_said_when_somebody_waits(capsys: pytest.CaptureFixture[str]) -> None:
    one = found(0)
    held = {"name": "p-1", "state": "held", "host": "n7", "job": "12", "lease": 3, "trouble": ""}
    one["pool"]["endpoints"] = [held]
    status.show(one)
    assert "p-1" not in capsys.readouterr().out, "nobody needs to know"
    waiter = {"host": "n8", "job": "13", "place": "x", "since": time.time() - 125}
    one["pool"] |= {"waiting": [waiter], "turns": [waiter]}
    status.show(one)
    shown = capsys.readouterr().out
    assert "p-1 is held by job 12 on n7" in shown
    assert "job 13 on n8 waits for an endpoint, 2 min" in shown
    assert "job 13 on n8 waits for this host's turn" in shown


def test_what_the_pool_has_trouble_with_is_said_though_nobody_waits(capsys: pytest.CaptureFixture[str]) -> None:
    one = found(0)
    passed = {"name": "p-1", "state": "free", "host": "", "job": "", "lease": 3, "trouble": "its task can not be ended"}
    one["pool"] |= {"trouble": "The pool can not be listed now.", "endpoints": [passed]}
    status.show(one)
    shown = capsys.readouterr().out
    assert "The pool can not be listed now." in shown
    assert "p-1 was passed over: its task can not be ended" in shown
