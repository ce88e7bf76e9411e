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
    for operation, deaths in found.found.items():
        _deaths[operation] = _deaths.get(operation, 0) + deaths


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _deaths:
        return
    terminalreporter.section("crash points")
    for operation, deaths in sorted(_deaths.items()):
        terminalreporter.line(f"{deaths:6} {operation}")
    terminalreporter.line(f"{sum(_deaths.values()):6} in all, each recovered")
