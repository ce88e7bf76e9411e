"""One laboratory a test; how many points there were is told at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.lab import Census, Lab

#: ``make prove`` looks at every point; the ordinary suite at one of several.
EVERY = "NODEXFER_EVERY_POINT"
_every = os.environ.get(EVERY) == "1"
_deaths: dict[str, int] = {}
PROPERTY = "deaths while: "


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "zygote.log")
    yield made
    made.close()


@pytest.fixture
def census(request: pytest.FixtureRequest) -> Iterator[Census]:
    marker = request.node.get_closest_marker("points")
    found = Census(1 if _every or marker is None else marker.args[0])
    yield found
    # With the report of the teardown, which also comes from another process of pytest-xdist.
    request.node.user_properties.extend((PROPERTY + operation, deaths) for operation, deaths in found.found.items())


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when != "teardown":
        return
    for name, deaths in report.user_properties:
        if name.startswith(PROPERTY) and isinstance(deaths, int):
            operation = name.removeprefix(PROPERTY)
            _deaths[operation] = _deaths.get(operation, 0) + deaths


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _deaths:
        return
    terminalreporter.section("crash points")
    for operation, deaths in sorted(_deaths.items()):
        terminalreporter.line(f"{deaths:6} {operation}")
    failed = len(terminalreporter.stats.get("failed", ()))
    outcome = "each recovered" if not failed else f"and {failed} tests failed"
    terminalreporter.line(f"{sum(_deaths.values()):6} in all, {outcome}{'' if _every else '; one of several'}")
