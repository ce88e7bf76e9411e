"""What is done with a job's time: each decision as a table, and what holds for all numbers."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodexfer.cli.run import run
from nodexfer.running import walltime
from nodexfer.running.walltime import Load, Pace

MB, GB = 1024**2, 1024**3
FAST = Pace(200.0 * MB, True)

loads = st.builds(Load, st.integers(0, 1 << 45), st.integers(0, 10**6))
paces = st.builds(Pace, st.floats(1e3, 1e10), st.booleans(), st.floats(1, 60))
seconds = st.floats(0, 1e6)


# outputs by policy -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "outcome", "kept"),
    [
        ("success", "success", True),
        ("success", "failure", False),
        ("success", "stopped", True),
        ("always", "success", True),
        ("always", "failure", True),
        ("always", "stopped", True),
        ("failure", "success", False),
        ("failure", "failure", True),
        ("failure", "stopped", True),
    ],
)
def test_what_is_kept_follows_policy_and_end_and_all_is_kept_when_time_runs_out(
    policy: str, outcome: str, kept: bool
) -> None:
    assert walltime.wanted(policy, outcome) is kept


# how fast Globus is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moved", "took", "waited", "expected"),
    [
        (2100 * MB, 13.0, 3.0, Pace(210.0 * MB, True)),
        (64 * MB, 1.0, 0.0, Pace(64.0 * MB, True)),
        (64 * MB - 1, 1.0, 0.0, Pace(start=1.0)),
        (0, 0.2, 0.0, Pace(start=1.0)),
        (1000, 25.0, 20.0, Pace(start=25.0)),
        (1000, 3600.0, 3500.0, Pace(start=60.0)),
    ],
)
def test_a_rate_is_measured_by_many_bytes_and_what_comes_on_top_by_few(
    moved: int, took: float, waited: float, expected: Pace
) -> None:
    assert walltime.pace(moved, took, waited) == expected


def test_an_assumed_rate_is_called_so() -> None:
    assert FAST.words == "at the 200.0 MiB/s measured"
    assert Pace().words == "at 50.0 MiB/s, which is assumed"


# when the program is stopped ---------------------------------------------------------------------------------

#: From the outputs, at a pace, in a job of so many seconds, to the reserve.
RESERVES = [
    (Load(), FAST, 3600.0, 37.99),
    (Load(), Pace(start=1.0), 3600.0, 30.0),  # at least
    (Load(100 * GB, 10), FAST, 36000.0, 1240.6),
    (Load(100 * GB, 10), Pace(), 36000.0, 3163.1),
    (Load(100 * GB, 10), FAST, 3600.0, 720.0),  # a fifth of the time at most: saving is quicker
    (Load(100 * GB, 10), FAST, 100.0, 30.0),
    (Load(100 * GB, 10), FAST, 40.0, 20.0),  # and never more than a half
    (Load(), FAST, 0.0, 0.0),
]


@pytest.mark.parametrize(("load", "pace", "time", "expected"), RESERVES)
def test_the_reserve_is_by_size_and_pace_within_bounds(load: Load, pace: Pace, time: float, expected: float) -> None:
    assert walltime.reserve(load, pace, time) == pytest.approx(expected, rel=0.001)


@given(loads, loads, paces, seconds)
def test_more_output_never_means_less_reserve(load: Load, more: Load, pace: Pace, time: float) -> None:
    assert walltime.reserve(load, pace, time) <= walltime.reserve(walltime.total([load, more]), pace, time)


@given(loads, paces, seconds)
def test_what_is_reserved_for_outputs_that_fit_is_enough_to_send_them(load: Load, pace: Pace, time: float) -> None:
    reserve = walltime.reserve(load, pace, time)
    if reserve > walltime.LEAST_RESERVE and reserve < max(walltime.LEAST_RESERVE, time / 5) * 0.999:
        left = reserve - walltime.grace(reserve)  # the program took all of its grace
        assert walltime.plan([load], pace, walltime.window(left, reserve, load)).send == (0,)


@given(seconds)
def test_term_kill_and_what_is_left_at_the_end_fit_into_any_reserve(reserve: float) -> None:
    assert walltime.grace(reserve) + 3 * walltime.spare(reserve) <= reserve


@given(st.floats(0.001, 1e6), st.floats(0, 100))
def test_outputs_are_looked_at_before_it_is_too_late_and_seldom(stop_in: float, cost: float) -> None:
    pause = walltime.look_after(stop_in, cost)
    assert 0 < pause <= min(stop_in, walltime.LONGEST_LOOK)
    assert pause >= min(20 * cost, stop_in, walltime.LONGEST_LOOK)


@given(st.floats(0.1, 86400))
def test_the_looks_of_a_whole_job_are_not_many_where_nothing_grows(stop_in: float) -> None:
    looks = 0
    while stop_in > 0 and looks < 3000:
        stop_in -= walltime.look_after(stop_in, 0.0)
        looks += 1
    assert looks < 1500


# what is done with the outputs -------------------------------------------------------------------------------

#: From the outputs' sizes, a pace and a window to what is sent, what is saved, and the words.
PLANS: list[tuple[list[Load], Pace, float, tuple[int, ...], tuple[int, ...], str]] = [
    ([], FAST, 100.0, (), (), "all is sent"),
    (
        [Load(GB, 1)],
        FAST,
        100.0,
        (0,),
        (),
        "1.0 GiB in 1 file needs 15 s at the 200.0 MiB/s measured, 1 min 40 s left: all is sent",
    ),
    (
        [Load(160 * GB, 40)],
        FAST,
        660.0,
        (),
        (0,),
        (
            "160.0 GiB in 40 files need 13 min 50 s at the 200.0 MiB/s measured, 11 min 00 s left: "
            "all is saved on the shared file system"
        ),
    ),
    (
        [Load(150 * GB, 1), Load(GB, 1), Load(2 * GB, 1)],
        FAST,
        60.0,
        (1, 2),
        (0,),
        (
            "153.0 GiB in 3 files need 13 min 13 s at the 200.0 MiB/s measured, 1 min 00 s left: "
            "2 of 3 outputs are sent, the others saved"
        ),
    ),
    (
        [Load(GB, 1)],
        Pace(),
        20.0,
        (0,),
        (),
        (
            "1.0 GiB in 1 file needs 30 s at 50.0 MiB/s, which is assumed, 20 s left: "
            "it is tried, and what has not gone by then is saved"
        ),
    ),
    ([Load(GB, 1)], Pace(), 0.0, (), (0,), "0.0 s left: all is saved on the shared file system"),
]


@pytest.mark.parametrize(("sizes", "pace", "window", "send", "save", "words"), PLANS)
def test_what_fits_is_sent_what_does_not_is_saved_and_both_are_said(
    sizes: list[Load], pace: Pace, window: float, send: tuple[int, ...], save: tuple[int, ...], words: str
) -> None:
    plan = walltime.plan(sizes, pace, window)
    assert (plan.send, plan.save) == (send, save)
    assert plan.words.endswith(words)


@given(st.lists(loads, min_size=1, max_size=6), paces, seconds)
def test_every_output_is_either_sent_or_saved_and_what_is_sent_by_a_measured_pace_fits(
    sizes: list[Load], pace: Pace, window: float
) -> None:
    plan = walltime.plan(sizes, pace, window)
    assert sorted(plan.send + plan.save) == list(range(len(sizes)))
    if pace.measured and plan.send:
        assert pace.needed(walltime.total([sizes[number] for number in plan.send])) <= window
    if pace.measured and plan.save:
        assert pace.needed(walltime.total(sizes)) > window


@given(seconds, seconds, loads)
def test_a_window_leaves_time_to_save_what_has_not_gone(left: float, reserve: float, load: Load) -> None:
    window = walltime.window(left, reserve, load)
    needed = window + walltime.salvage_seconds(load) + walltime.spare(reserve)
    assert window == 0 or needed <= left + 1e-6 * max(1.0, left)  # sums of floats


@pytest.mark.parametrize(
    ("load", "left", "words"),
    [
        (Load(10 * GB, 3), 900.0, "10.0 GiB in 3 files need 3 min 35 s at 50.0 MiB/s, which is assumed, "),
        (Load(10 * GB), 900.0, "10.0 GiB needs 3 min 35 s at 50.0 MiB/s, which is assumed, "),
    ],
)
def test_a_stage_in_is_told_to_fit_or_not(load: Load, left: float, words: str) -> None:
    assert walltime.bring_words(load, Pace(), left) == f"{words}15 min 00 s left: it fits"
    assert walltime.bring_words(load, Pace(), 60.0).endswith("1 min 00 s left: it may not fit, and is called off then")


def test_the_policies_are_those_of_the_command() -> None:
    (option,) = [parameter for parameter in run.params if parameter.name == "on_exit"]
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == walltime.POLICIES
