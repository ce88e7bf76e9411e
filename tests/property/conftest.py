"""How much the state machine went through is told at the end."""

from __future__ import annotations

import pytest

from tests.property import test_life_machine


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lived = test_life_machine.LIVED
    if lived:
        terminalreporter.line(
            f"holds, leases and requests beside a model: {lived['lives']} lives, {lived['steps']} steps"
        )
