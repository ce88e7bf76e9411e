"""What is done with outputs between TERM and KILL."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nodexfer.errors import HomeFull
from nodexfer.running import rescue, walltime
from nodexfer.running.outputs import Out
from nodexfer.running.program import Ended, Signals
from nodexfer.running.takeout import TakeOut
from nodexfer.running.work import Talk, Work
from nodexfer.staging.location import Remote
from nodexfer.staging.plan import Send


@pytest.mark.parametrize(("left", "within"), [(3600.0, 8.0), (9.0, 4.0)])
def test_who_was_told_to_end_saves_in_the_seconds_before_kill(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left: float, within: float
) -> None:
    """However much time the scheduler had promised, and no longer than the job has."""
    ends: list[float] = []

    def save(_: Any, __: Any, end: float, **___: Any) -> rescue.Saved:
        ends.append(end)
        raise HomeFull("No space is left.", "df")

    monkeypatch.setattr(rescue, "save", save)
    (tmp_path / "out").write_text("x")
    out = Out(Send(str(tmp_path / "out"), Remote("c", "/out", False, "site:/out"), into=False), "always")
    node: Any = SimpleNamespace(client=lambda **_: None)
    timing: Any = SimpleNamespace(left=left, spare=lambda: 5.0)
    talk = Talk(lambda _: None, lambda *_: None, lambda _: nullcontext(lambda _: None))
    work = Work([], [out], ["true"], {})
    begun = time.time()
    taken = TakeOut(node, work, talk, timing, Signals(), Ended(143, told=True))
    error = taken.save(walltime.STOPPED)
    assert error is not None
    assert not taken.safe
    (end,) = ends
    assert end <= time.time() + within
    assert end > begun
