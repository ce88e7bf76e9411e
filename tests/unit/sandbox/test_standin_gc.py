"""The stand-in's gc.py where its children die at the wrong moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodexfer.sandbox.standin import children, gc, settings
from nodexfer.sandbox.standin.children import Child


def test_a_server_that_is_killed_as_it_starts_is_not_the_end_of_gcp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lta").mkdir()
    nobody, lifeline = os.pipe()
    os.close(nobody)
    monkeypatch.setattr(settings, "read", lambda _: None)
    monkeypatch.setattr(children, "start", lambda *_, **__: Child(1, lifeline, -1, -1))
    connect = gc._Connect("/nowhere", str(tmp_path), "rw/", "", "forward")
    connect._start_server("number")
    assert list(connect._servers) == [1]
    os.close(lifeline)
