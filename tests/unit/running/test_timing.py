"""How much time is left: by the scheduler, by --time, and when a limit is changed on the way."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from nodexfer.clock import Deadline
from nodexfer.errors import DeadlinePassed, NodeDirRemoved
from nodexfer.node.jobend import JobEnd
from nodexfer.running import program, runner
from nodexfer.running.timing import Timing
from nodexfer.running.walltime import Pace
from nodexfer.running.work import Talk, Work
from nodexfer.staging.client import OnProgress
from nodexfer.staging.request import Need, Progress


class Told:
    """A node whose job ends in so many seconds: the first for who asks first, and so on; the last stays."""

    def __init__(self, *left: float, known: bool = True) -> None:
        self.ends = [JobEnd(time.time() + seconds, known, "squeue") for seconds in left]
        self.again = 0
        self.ends_at: float | None = None

    def end(self, *, again: bool = False) -> JobEnd:
        self.again += again
        return self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]


def work(**fields: Any) -> Work:
    return Work((), (), ["true"], {}, **fields)


def timing(node: Any, **fields: Any) -> Timing:
    return Timing(node, work(**fields))


@pytest.mark.parametrize(
    ("scheduler", "known", "allowed", "left", "source"),
    [
        (3600.0, True, None, 3600.0, "squeue"),
        (3600.0, True, 60.0, 60.0, "--time"),
        (60.0, True, 3600.0, 60.0, "squeue"),
        (86400.0, False, 60.0, 60.0, "--time"),
        (86400.0, False, 10**6, 10**6, "--time"),  # an assumption counts for nothing
        (86400.0, False, None, 86400.0, "squeue"),
    ],
)
def test_the_sooner_of_two_known_ends_counts(
    scheduler: float, known: bool, allowed: float | None, left: float, source: str
) -> None:
    found = timing(Told(scheduler, known=known), time=allowed)
    assert found.left == pytest.approx(left, abs=30)
    assert (found.end.source, found.known) == (source, known or allowed is not None)


@pytest.mark.parametrize(("known", "allowed", "left"), [(True, None, 100.0), (True, 50.0, 50.0), (False, None, None)])
def test_the_node_knows_until_when_its_release_may_wait(known: bool, allowed: float | None, left: float | None) -> None:
    node = Told(100.0, known=known)
    timing(node, time=allowed)
    if left is None:
        assert node.ends_at is None
    else:
        assert node.ends_at is not None
        assert node.ends_at - time.time() == pytest.approx(left, abs=30)


def test_a_reserve_that_was_named_is_the_reserve() -> None:
    assert timing(Told(3600.0), reserve=5.0).reserve() == 5.0
    assert timing(Told(3600.0)).reserve() >= 30.0
    assert not timing(Told(3600.0), reserve=5.0).depends_on_outputs


@pytest.mark.parametrize(("left", "reserve", "late"), [(100.0, 200.0, True), (1000.0, 200.0, False)])
def test_a_program_is_not_started_for_nothing(left: float, reserve: float, late: bool) -> None:
    found = timing(Told(left), reserve=reserve)
    if late:
        with pytest.raises(DeadlinePassed, match="not started"):
            found.refuse_late()
    else:
        found.refuse_late()


def watched(node: Any, **fields: Any) -> tuple[Any, list[str]]:
    """A runner, and what it says."""
    said: list[str] = []

    @contextmanager
    def progress(_: str) -> Iterator[OnProgress]:
        yield lambda _: None

    talk = Talk(said.append, lambda *_: None, progress)
    return runner._Runner(node, work(**fields), talk, program.Signals()), said


def test_before_a_program_is_stopped_the_scheduler_is_asked_again_and_a_raised_limit_counts() -> None:
    node = Told(1000.0, 5000.0)
    running, said = watched(node, reserve=990.0)
    assert running._watch() > 0
    assert node.again == 1
    assert said[0].startswith("run: the limit was changed; the job ends in 1 h 23 min")


def test_where_it_was_not_raised_the_program_is_stopped() -> None:
    running, said = watched(Told(1000.0), reserve=1000.0)
    assert running._watch() is None
    assert said == []


def test_a_node_that_is_broken_meanwhile_is_no_reason_to_leave_the_program_alone() -> None:
    class Broken(Told):
        def end(self, *, again: bool = False) -> JobEnd:
            if again:
                raise NodeDirRemoved("gone")
            return super().end()

    running, _ = watched(Broken(1000.0), reserve=995.0)
    assert 0 < running._watch() <= 5


def test_while_there_is_time_nobody_is_asked() -> None:
    node = Told(1000.0)
    running, _ = watched(node, reserve=100.0)
    assert 1 < running._watch() <= 60
    assert node.again == 0


def test_a_program_with_an_end_that_is_only_assumed_is_never_stopped() -> None:
    node = Told(0.0, known=False)
    running, _ = watched(node)
    assert running._watch() == 120.0
    assert node.again == 0


def test_whether_a_stage_in_fits_is_said_once_as_soon_as_its_size_is_known() -> None:
    said: list[str] = []
    shown: list[Progress] = []
    talk = Talk(said.append, lambda *_: None, lambda _: nullcontext(shown.append))
    fits = runner._Fits(shown.append, talk, Pace(200.0 * 1024**2, True), Deadline(600.0))
    news = [Progress(state="waiting"), Progress(state="moving", bytes_total=1024**3, files_total=2)]
    for one in (*news, news[-1]):
        fits(one)
    assert shown == [*news, news[-1]]
    assert len(said) == 1
    assert said[0].startswith("stage-in: 1.0 GiB in 2 files need 15 s at the 200.0 MiB/s measured, ")
    assert said[0].endswith(" left: it fits")


def test_what_a_request_needs_says_more_than_the_task_that_it_shares() -> None:
    said: list[str] = []
    talk = Talk(said.append, lambda *_: None, lambda _: nullcontext(lambda _: None))
    fits = runner._Fits(lambda _: None, talk, Pace(200.0 * 1024**2, True), Deadline(600.0))
    fits(Progress(state="moving", task="t"))
    assert said == [], "it may be known in a moment"
    need = Need(bytes=1024**3, files=2, least=True)
    fits(Progress(state="moving", task="t", bytes_total=9 * 1024**3, need=need))
    assert len(said) == 1
    assert said[0].startswith("stage-in: at least 1.0 GiB in 2 files need 15 s at the 200.0 MiB/s measured, ")
    assert said[0].endswith(" left: it is called off then")


def test_of_a_directory_whose_size_nobody_knows_the_time_that_is_left_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_LOOK_SECONDS", 0.0)
    said: list[str] = []
    talk = Talk(said.append, lambda *_: None, lambda _: nullcontext(lambda _: None))
    fits = runner._Fits(lambda _: None, talk, Pace(), Deadline(600.0))
    fits(Progress(state="waiting"))
    assert said == []
    for _ in range(2):
        fits(Progress(state="moving", task="t"))
    assert len(said) == 1
    assert re.fullmatch(
        "stage-in: how much is in a directory is not known before, (9|10) min [0-9]+ s left: it is called off then",
        said[0],
    )
