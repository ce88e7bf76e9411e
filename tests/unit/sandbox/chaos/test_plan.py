"""plan: drawn from the seed alone."""

from __future__ import annotations

import json

import pytest

from nodexfer.sandbox.chaos.plan import draw
from nodexfer.sandbox.faults import KINDS


def test_a_seed_draws_the_same_plan_each_time_and_another_one_another() -> None:
    assert draw(7, 30, 180.0) == draw(7, 30, 180.0)
    assert draw(7, 30, 180.0) != draw(8, 30, 180.0)
    assert json.loads(json.dumps(draw(7, 30, 180.0).as_record()))["seed"] == 7


def test_another_number_of_jobs_leaves_the_blows_as_they_are() -> None:
    """So that what a seed has shown is seen with fewer jobs, too; where there are as many places."""
    assert draw(7, 30, 60.0).blows == draw(7, 12, 60.0).blows


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_can_be_carried_out(seed: int) -> None:
    plan = draw(seed, 30, 180.0)
    assert 1 <= plan.pool <= plan.places
    assert [job.number for job in plan.jobs] == list(range(1, 31))
    assert all(job.files and 0 <= job.place < plan.places and job.begins < plan.seconds for job in plan.jobs)
    assert list(plan.blows) == sorted(plan.blows, key=lambda blow: blow.at)
    for blow in plan.blows:
        assert 0 < blow.at < plan.seconds
        assert 0 <= blow.place < plan.places
        if blow.act == "fault":
            kind = blow.what.partition(" ")[0]
            assert blow.fields.keys() <= KINDS[kind]


def test_twenty_seeds_do_everything() -> None:
    done = {(blow.act, blow.what) for seed in range(20) for blow in draw(seed, 30, 180.0).blows}
    assert {act for act, _ in done} == {"kill", "freeze", "fault", "fill"}
    assert ("kill", "job") in done
    assert ("freeze", "keeper") in done
