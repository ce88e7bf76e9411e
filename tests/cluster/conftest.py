"""A cluster lasts for all tests of its kind; each test has a pool of its own, and leaves no process on any node."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.identity import ProcessId
from tests.cluster.jobs import User
from tests.cluster.lab import Cluster, cluster
from tests.cluster.machine import PROJECT, Machine
from tests.support import eventually

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def lab(homes: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Parametrized by the kind (:data:`tests.cluster.lab.KINDS`); pytest keeps tests of one kind together."""
    if request.param == "tmpfs" and Path("/tmp") in (*PROJECT.parents, *Path(sys.executable).parents):
        pytest.skip(f"job_container/tmpfs hides /tmp from the jobs, and with it this project ({PROJECT})")
    with cluster(request.param) as up:
        yield up


@pytest.fixture
def user(lab: Cluster) -> Iterator[Callable[[int], User]]:
    """``user(endpoints)`` makes the test's user."""
    made: list[User] = []

    def make(endpoints: int = 1) -> User:
        made.append(User(lab, f"p{next(_numbers)}", endpoints))
        return made[-1]

    yield make
    lab.box.clear()
    lab.box.switch(resume_seconds=1.0)
    for one in made:
        one.end()
    left = {name: _left(node) for name, node in lab.nodes.items()}
    assert not any(left.values()), f"processes are left: {left}"


def _left(node: Machine) -> dict[int, str]:
    """What does not end within 15 s; it is killed, so that the next test finds none of it."""
    try:
        eventually(lambda: not node.processes(), 15.0, every=0.1)
    except AssertionError:
        found = node.processes()
        procs.kill_tree([ProcessId.of(pid) for pid in found])
        return found
    return {}
