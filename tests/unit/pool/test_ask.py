"""What others are asked while an endpoint is waited for, and how long."""

from __future__ import annotations

from typing import Any

import pytest

from nodexfer import procs
from nodexfer.config import load
from nodexfer.pool import ask
from nodexfer.pool.lease import Lease
from tests.unit.pool.support import ID, ME

SILENT = Lease(4, ID, "node-1", "/pool/node-1", *ME, 300.0, 0.0, False)


def test_nobody_is_asked_for_as_long_as_a_leader_may_be_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leading thread only waits meanwhile: its heart would not beat."""
    monkeypatch.setenv("SLURM_CLUSTER_NAME", SILENT.cluster)
    config = load(silence=3)
    waits: list[float] = []

    def run(_: object, *, timeout: float, **__: Any) -> None:
        waits.append(timeout)
        raise OSError("no answer")

    monkeypatch.setattr(procs, "run", run)
    assert ask.ask_service(config, "an endpoint") is None
    for scheduler in ("slurm", "pbs"):
        assert ask.ask_scheduler(config, SILENT._replace(scheduler=scheduler)) is None
    assert len(waits) == 3
    assert max(waits) <= config.silence / 2
