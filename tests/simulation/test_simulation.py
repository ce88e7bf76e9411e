"""A cluster of 100 nodes in virtual time; `make simulate` looks at 1,000 nodes, 10,000 jobs and 20 seeds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from nodexfer.pool import lease as leases
from nodexfer.pool import waiting
from nodexfer.pool.lease import Verdict
from nodexfer.staging import batches, fence
from tests.simulation.promises import BrokenPromise
from tests.simulation.world import Scenario, World

pytestmark = pytest.mark.slow

SMALL = Scenario(nodes=100, jobs=1000, pool=5)


def test_a_thousand_jobs_with_faults_break_no_promise() -> None:
    began = time.process_time()
    summary = World(1, SMALL).run()
    assert summary.requests > 1900
    assert summary.outcomes["done"] > 0.9 * summary.requests
    assert summary.checks > summary.requests
    assert time.process_time() - began < 20.0


def test_without_faults_every_request_is_done_and_the_oldest_waiter_is_first() -> None:
    summary = World(2, SMALL._replace(faults=0.0)).run()
    assert summary.outcomes == {"done": 2000}
    assert summary.overtaken == 0
    assert summary.slowest < 600.0


def test_a_seed_shows_the_same_again() -> None:
    scenario = Scenario(nodes=30, jobs=300, pool=2)
    assert World(3, scenario).run() == World(3, scenario).run()


def test_an_endpoint_whose_tasks_are_not_cancelled_is_passed_over_and_tried_once_in_a_while() -> None:
    """It connects only when they have ended. However many wait for another one, the service is not asked often."""
    outcomes = Counter[str]()
    passed = refusals = 0
    for seed in range(1, 6):
        world = World(seed, Scenario(nodes=60, jobs=600, pool=4, faults=0.5, kinds=("stuck", "kill")))
        outcomes.update(world.run().outcomes)
        passed, refusals = passed + world.passed, refusals + world.service.refusals
    assert passed > 0
    assert refusals < 100
    assert outcomes["done"] > 0.8 * outcomes.total()
    assert outcomes["EndpointFailed"] < 0.05 * outcomes.total()


# -- the simulation sees what it is there for: each rule is broken, and a promise with it ----------------------------


def impatient(lease: Any, me: Any, unchanged: float, **known: Any) -> Verdict:
    """A silent owner is believed dead, without asking the service."""
    found = VERDICT(lease, me, unchanged, **known)
    return Verdict.DEAD if found is Verdict.SUSPECT or (found is Verdict.HELD and unchanged > 30.0) else found


VERDICT: Callable[..., Verdict] = leases.verdict

BROKEN_RULES = {
    "silence alone frees": (leases, "verdict", impatient),
    "GCP outlives its allowance": (leases, "allowance", lambda lease: 1e6),
    "no fence": (fence, "strangers", lambda tasks, endpoint, lease: []),
    "no queue": (waiting.Queue, "ahead", lambda queue: 0),
    "no limit of tasks": (batches, "wait_before_submit", lambda *_, **__: 0.0),
    "another cluster's word counts": (leases, "same_cluster", lambda lease, me: True),
}


@pytest.mark.parametrize("rule", BROKEN_RULES)
def test_a_rule_that_is_broken_is_seen(rule: str) -> None:
    module, name, wrong = BROKEN_RULES[rule]
    scenario = Scenario(nodes=60, jobs=600, pool=3, faults=2.0)
    if rule == "GCP outlives its allowance":
        scenario = scenario._replace(pool=1, kinds=("cut off",))
    with mock.patch.object(module, name, wrong):
        assert any(is_broken(seed, scenario) for seed in range(1, 13))


def is_broken(seed: int, scenario: Scenario) -> bool:
    try:
        World(seed, scenario).run()
    except BrokenPromise:
        return True
    return False
