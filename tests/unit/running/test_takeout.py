"""What is done with outputs between TERM and KILL."""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nodexfer.config import load
from nodexfer.errors import DiskFull, HomeFull, NodexferError, TransferFailed
from nodexfer.running import rescue, walltime
from nodexfer.running.outputs import Out
from nodexfer.running.program import Ended, Signals
from nodexfer.running.takeout import TakeOut
from nodexfer.running.walltime import Pace
from nodexfer.running.work import Talk, Work
from nodexfer.scheduler import Job
from nodexfer.staging.client import Client
from nodexfer.staging.location import Remote
from nodexfer.staging.plan import Send


def take_out(path: Path, left: float) -> TakeOut:
    """Of one output, in a job that has ``left`` seconds."""
    out = Out(Send(str(path), Remote("c", "/out", False, "site:/out"), into=False), "always")
    client = Client(load(), Job("local", "host", "1", 0), 0.0, {})
    node: Any = SimpleNamespace(client=lambda **_: client)
    timing: Any = SimpleNamespace(left=left, pace=Pace(), spare=lambda: 5.0, window=lambda _: left)
    talk = Talk(lambda _: None, lambda *_: None, lambda _: nullcontext(lambda _: None))
    return TakeOut(node, Work([], [out], ["true"], {}), talk, timing, Signals(), Ended(143, told=True))


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
    begun = time.time()
    taken = take_out(tmp_path / "out", left)
    error = taken.save(walltime.STOPPED)
    assert error is not None
    assert not taken.safe
    (end,) = ends
    assert end <= time.time() + within
    assert end > begun


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), DiskFull),
        (OSError(errno.EIO, "I/O"), TransferFailed),
    ],
)
def test_outputs_that_this_nodes_disk_does_not_let_go_are_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: OSError, named: type[NodexferError]
) -> None:
    """A disk that the program has filled takes no request for its outputs either; the shared file system may."""
    saved: list[str] = []

    def save(_: Any, sends: Sequence[Send], *__: Any, **___: Any) -> rescue.Saved:
        saved.extend(send.source for send in sends)
        raise HomeFull("No space is left there either.", "df")

    def send(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(rescue, "save", save)
    monkeypatch.setattr("nodexfer.staging.send.send", send)
    (tmp_path / "out").write_text("x")
    found = take_out(tmp_path / "out", left=3600.0).take(walltime.SUCCESS, "")
    assert saved == [str(tmp_path / "out")]
    assert type(found) is named
