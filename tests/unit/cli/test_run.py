"""``nodexfer run``: what is said when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nodexfer import session
from nodexfer.cli import main
from nodexfer.cli import run as command
from nodexfer.errors import DeadlinePassed
from nodexfer.running.work import Outcome


def test_where_the_outputs_are_is_said_before_the_hold_is_given_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Giving back waits for a keeper, and the job may end meanwhile."""
    error = DeadlinePassed("The program was stopped; its outputs are saved.", "nodexfer resume r1")
    said: list[tuple[str, str]] = []

    @contextmanager
    def hold(**_: object) -> Iterator[None]:
        yield
        out, err = capsys.readouterr()
        said.append((out, err))

    monkeypatch.setattr(session, "hold", hold)
    monkeypatch.setattr(command, "_work", lambda *_: None)
    monkeypatch.setattr(command, "_run", lambda *_: Outcome(143, {"stopped": True}, error))
    assert main(["run", "--json", "--", "true"]) == error.exit_code
    ((record, words),) = said
    assert '"stopped": true' in record
    assert "nodexfer resume r1" in words
