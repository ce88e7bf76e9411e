"""What a dead guard left is gone when it was not seen twice."""

from __future__ import annotations

import subprocess

import pytest

from nodexfer.gcp import strays
from nodexfer.identity import ProcessId


def test_a_process_that_one_look_could_not_see_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["/bin/sleep", "600"]) as child:
        process = ProcessId.of(child.pid)
        looks = iter([[], [process], [], []])  # within execve(2) at the first
        monkeypatch.setattr(strays, "strays", lambda _: next(looks))
        assert strays.kill_strays("/nowhere")
        assert child.wait(60) == -9
    assert list(looks) == []


def test_one_that_can_not_be_ended_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["/bin/sleep", "600"]) as child:
        process = ProcessId.of(child.pid)
        monkeypatch.setattr(strays, "strays", lambda _: [process])
        assert not strays.kill_strays("/nowhere", 0.05)
        child.wait(60)
