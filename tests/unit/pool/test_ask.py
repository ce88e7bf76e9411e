"""What others are asked while an endpoint is waited for, and how long."""

from __future__ import annotations

from typing import Any

import pytest

from nodexfer import procs
from nodexfer.pool import ask
from tests.support.holding import place


def test_the_service_is_asked_for_less_long_than_a_leader_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leading thread only waits meanwhile: its heart would not beat."""
    config = place()
    waits: list[float] = []

    def run(_: object, *, timeout: float, **__: Any) -> None:
        waits.append(timeout)
        raise OSError("no answer")

    monkeypatch.setattr(procs, "run", run)
    assert ask.ask_service(config, "an endpoint") is None
    (wait,) = waits
    assert wait <= config.silence / 2
