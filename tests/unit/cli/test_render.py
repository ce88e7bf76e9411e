"""Tables that fit, progress that is quiet in a log and lively on a terminal."""

from __future__ import annotations

import errno
import io
import json
import os
import pty
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodexfer import procs
from nodexfer.cli import render
from nodexfer.cli.render import Meter, Progress

MIB = 2**20


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Log(io.StringIO):
    """A job's log: no terminal."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_is_quick_says_nothing_in_a_log(clock: Clock) -> None:
    log = Log()
    with Progress("stage-in", stream=log, clock=clock) as progress:
        for _ in range(19):
            progress.show("moving", 1, 2)
            clock.now += 0.1
    assert log.getvalue() == ""


def test_a_log_gets_a_line_after_two_seconds_and_then_every_ten(clock: Clock) -> None:
    log = Log()
    with Progress("stage-in", stream=log, clock=clock) as progress:
        for second in range(25):
            progress.show("moving", second * MIB, 24 * MIB)
            clock.now += 1
    assert log.getvalue().splitlines() == [
        "stage-in: moving, 2.0 MiB of 24.0 MiB (8 %), 1.0 MiB/s, 22 s left",
        "stage-in: moving, 12.0 MiB of 24.0 MiB (50 %), 1.0 MiB/s, 12 s left",
        "stage-in: moving, 22.0 MiB of 24.0 MiB (91 %), 1.0 MiB/s, 2.0 s left",
    ]


def test_waiting_is_told_without_numbers(clock: Clock) -> None:
    log = Log()
    with Progress("stage-in", stream=log, clock=clock) as progress:
        clock.now += 3
        progress.show("waiting for an endpoint")
    assert log.getvalue() == "stage-in: waiting for an endpoint\n"


def test_what_another_wrote_can_not_move_the_terminals_cursor(clock: Clock) -> None:
    log = Log()
    with Progress("a\nb", stream=log, clock=clock) as progress:
        clock.now += 3
        progress.show("x\x1b[2Jy")
    assert log.getvalue() == "a?b: x?[2Jy\n"


def test_a_log_that_is_gone_does_not_stop_the_transfer(clock: Clock) -> None:
    class Gone(Log):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with Progress("stage-in", stream=Gone(), clock=clock) as progress:
        clock.now += 3
        progress.show("moving", 1, 2)


@pytest.fixture
def terminal() -> Iterator[tuple[int, io.TextIOWrapper]]:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        yield ours, stream
    os.close(ours)


def written(terminal: int) -> str:
    """Everything that a terminal was sent so far: one read gives what one write gave at most."""
    found = b""
    os.set_blocking(terminal, False)
    while True:
        try:
            found += os.read(terminal, 4096)
        except BlockingIOError:
            return found.decode()


def test_a_terminal_gets_a_bar_that_is_taken_away(
    terminal: tuple[int, io.TextIOWrapper], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, stream = terminal
    with Progress("stage-in", stream=stream, clock=clock) as progress:
        for done in (MIB, 2 * MIB):
            clock.now += 1
            progress.show("moving", done, 4 * MIB)
    stream.flush()
    drawn = written(ours)
    assert "stage-in" in drawn
    assert "1.0 MiB of 4.0 MiB" in drawn
    assert drawn.endswith("\x1b[2K") or "\x1b[2K" in drawn[-40:]


def test_the_rate_is_that_of_the_last_seconds_not_of_the_whole() -> None:
    meter = Meter()
    for second in range(60):
        meter.add(second, second * MIB)
    for second in range(60, 120):
        meter.add(second, 60 * MIB + (second - 60) * 10 * MIB)
    assert meter.rate == pytest.approx(10 * MIB, rel=0.01)
    assert meter.left(700 * MIB) == pytest.approx(5.0, rel=0.05)


def test_nothing_is_promised_before_something_is_known() -> None:
    meter = Meter()
    assert (meter.rate, meter.left(5)) == (None, None)
    meter.add(1.0, 0)
    meter.add(1.0, 5)
    assert meter.rate is None
    meter.add(2.0, 0)  # another task began
    assert meter.rate is None
    assert render.words(meter, 0, None) == "0 B"
    assert render.words(meter, 0, 0) == "0 B of 0 B"


CELLS = st.one_of(st.text(max_size=60), st.integers(0, 10**9))


@given(st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=8))
def test_a_table_fits_whatever_is_in_it(rows: list[list[object]]) -> None:
    lines = render.table(["one", "two", "three", "four"], rows)
    assert len(lines) == len(rows) + 1
    assert max(map(len, lines)) <= 80
    assert all(line.isprintable() for line in lines)


def test_numbers_stand_to_the_right_and_what_is_cut_says_so() -> None:
    rows = [("short", 5), ("a very long name", 12345)]
    assert render.table(["name", "count"], rows, width=20) == [
        "name           count",
        "short              5",
        "a very long …  12345",
    ]
    assert render.table(["name"], []) == ["name"]


def test_json_is_one_value_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    render.show_json({"name": "ü"})
    assert capsys.readouterr().out == '{\n  "name": "ü"\n}\n'


def test_an_id_is_whole_where_words_can_be_cut() -> None:
    """Half of a UUID is of no use; ``pool list`` and ``status`` are where people take it from."""
    uuid = "1f3a5b7c-0000-4000-8000-0123456789ab"
    rows = [
        ["mynode-1", uuid, "broken", "its set-up was never finished, whatever that may mean"],
        ["x" * 60, uuid, "", ""],
    ]
    lines = render.table(["NAME", "ENDPOINT", "STATE", "WHO"], rows, whole=["ENDPOINT"])
    assert all(uuid in line for line in lines[1:])
    assert max(map(len, lines)) <= 80
    assert max(map(len, render.table(["ID"], [["x" * 100]], whole=["ID"]))) == 80


def test_a_table_in_a_file_has_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    render.show_table(["a"], [["b"]])
    assert capsys.readouterr().out == "a\nb\n"


def test_json_of_a_name_that_is_not_utf_8_is_still_json() -> None:
    """The transfer is done by then: its receipt must not fail on a terminal that takes UTF-8 only."""
    line = "import os; from nodexfer.cli import render; render.show_json({'name': os.fsdecode(b'\\xff'), 'b': 'ü'})"
    environ = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = procs.run([sys.executable, "-c", line], timeout=60, environ=environ)
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"name": "\udcff", "b": "ü"}


def test_a_line_that_nobody_can_be_told_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job's stderr may be above its user's quota: its outputs are to be sent all the same."""

    class Full(Log):
        def write(self, _: str) -> int:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(sys, "stderr", Full())
    render.say("the job ends in 3 min")
