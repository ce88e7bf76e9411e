"""Every test starts at home in a directory of its own, and must leave everything as it was."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.hygiene import Before, clean_environment, environment

pytest_plugins = ["tests.support.sandbox", "tests.support.compute", "tests.support.user"]

# A shell's background job starts with interrupts ignored, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

_numbers = itertools.count()

# Machines differ, and are loaded: no deadline for one example. Nothing is kept between runs, and one commit is tried
# with the same examples every time; `make prove` takes others each time.
hypothesis.settings.register_profile(
    "nodexfer",
    deadline=None,
    database=None,
    max_examples=50,
    print_blob=True,
    derandomize="NODEXFER_EVERY_POINT" not in os.environ,
)
hypothesis.settings.load_profile("nodexfer")


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The directory of the tests' homes. What wider fixtures start has a home of its own in it, and ends with them.

    Of a run in which all is well nothing stays in /tmp: pytest would keep three of them, of more than a gigabyte each.
    """
    directory = tmp_path_factory.mktemp("homes")
    home = directory / "shared"
    with environment(clean_environment(home)):
        before = Before(home)
        yield directory
        left = before.stop_processes()
    assert not left, f"fixtures left processes: {left}"
    if not request.session.testsfailed:
        shutil.rmtree(tmp_path_factory.getbasetemp(), ignore_errors=True)


@pytest.fixture(autouse=True)
def clean(homes: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """A home of its own; afterwards signals, environment, directory and processes are as before."""
    home = homes / str(next(_numbers))
    with environment(clean_environment(home)):
        before = Before(home)
        yield
        faults = before.faults()
    if request.node.get_closest_marker("filterwarnings"):
        gc.collect()  # what others leave open is found here, where it is allowed, and not in some other test
    assert not faults, "; ".join(faults)
