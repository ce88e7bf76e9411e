"""Somebody's program in our place: its signals, its exit code, and its end when the time is over."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.errors import Interrupted
from nodexfer.identity import ProcessId
from nodexfer.running import program
from nodexfer.running.program import Ended, NotStarted, Signals
from tests.support.waiting import eventually


def run(command: Sequence[str], watch: program.Watch = lambda: 60.0, grace: float = 30.0) -> Ended:
    with Signals() as signals:
        return program.run(command, os.environ, signals, watch=watch, grace=lambda: grace)


def when(path: Path) -> program.Watch:
    """Stop it as soon as ``path`` is there: by then it does what the test is about."""
    return lambda: None if path.exists() else 0.01


def numbers(path: Path) -> list[ProcessId]:
    return [ProcessId.of(int(word)) for word in path.read_text().split()]


@pytest.mark.parametrize(("line", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_a_program_that_ends_by_itself_keeps_its_code(line: str, code: int) -> None:
    assert run(["sh", "-c", line]) == Ended(code)


@pytest.mark.parametrize(("name", "code"), [("/no/such/program", 127), ("/etc/passwd", 126)])
def test_one_that_can_not_start_is_told_as_a_shell_does(name: str, code: int) -> None:
    with pytest.raises(NotStarted, match=name) as caught:
        run([name])
    assert caught.value.code == code


def test_at_its_end_a_program_gets_term_and_may_end_in_its_own_way(tmp_path: Path) -> None:
    up, saved = tmp_path / "up", tmp_path / "saved"
    line = f"trap 'echo state > {saved}; exit 3' TERM; : > {up}; while :; do sleep 0.05; done"
    assert run(["sh", "-c", line], when(up)) == Ended(3, stopped=True)
    assert saved.read_text() == "state\n"


def test_what_ignores_term_is_killed_after_the_grace(tmp_path: Path) -> None:
    up = tmp_path / "up"
    line = f"trap '' TERM; : > {up}; while :; do sleep 0.05; done"
    assert run(["sh", "-c", line], when(up), grace=0.2) == Ended(137, stopped=True)


def test_a_shell_that_ends_at_once_leaves_nothing_of_its_own_behind(tmp_path: Path) -> None:
    """The shell dies of TERM; its program ignores it, and would go on writing the outputs."""
    up = tmp_path / "up"
    inner = (
        "import os, pathlib, signal; signal.signal(15, signal.SIG_IGN)\n"
        f"pathlib.Path({str(tmp_path / 'new')!r}).write_text(str(os.getpid()))\n"
        f"os.rename({str(tmp_path / 'new')!r}, {str(up)!r}); signal.pause()"
    )
    seen: list[ProcessId] = []

    def watch() -> float | None:
        if not up.exists():
            return 0.01
        seen.extend(numbers(up))
        return None

    ended = run(["sh", "-c", f'"{sys.executable}" -c "$0" & wait', inner], watch, grace=0.5)
    assert ended == Ended(143, stopped=True)
    assert len(seen) == 1
    assert not seen[0].alive


def test_what_a_program_starts_when_it_is_told_to_end_ends_with_it(tmp_path: Path) -> None:
    up, late = tmp_path / "up", tmp_path / "late"
    line = f"trap 'sleep 60 & echo $! > {late}; sleep 3; exit 3' TERM; : > {up}; while :; do sleep 0.05; done"
    assert run(["sh", "-c", line], when(up), grace=4.0).stopped
    with pytest.raises(ProcessLookupError):
        numbers(late)


def test_a_program_that_ends_while_it_is_looked_at_was_not_stopped() -> None:
    assert run(["true"], lambda: 0.001) == Ended(0)


#: Runs a program under Signals, and says how it ended; the program says "up" and each signal that it gets.
DRIVER = """\
import os, sys
from nodexfer.running import program
with program.Signals() as signals:
    print(program.run(sys.argv[1:], os.environ, signals).code, flush=True)
"""


@pytest.mark.parametrize("number", program.FORWARDED)
def test_signals_reach_the_program(number: signal.Signals) -> None:
    handle = f"import signal, sys; signal.signal({int(number)}, lambda *_: sys.exit(5))"
    line = f"{handle}; print('up', flush=True); signal.pause()"
    argv = [sys.executable, "-c", DRIVER, sys.executable, "-c", line]
    child = procs.spawn(argv, stdout=procs.PIPE, new_session=True)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    child.signal(number)
    assert child.stdout.readline() == b"5\n"
    assert child.wait(20) == 0
    child.close()


def test_without_a_program_term_ends_what_we_do_and_a_warning_does_not() -> None:
    with Signals() as signals:
        for number in (signal.SIGUSR1, signal.SIGXCPU):
            os.kill(os.getpid(), number)
        assert eventually(lambda: signals.missed == ["SIGUSR1", "SIGXCPU"])
        with pytest.raises(Interrupted, match="SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_while_results_are_saved_only_the_keyboard_ends_it() -> None:
    with Signals() as signals:
        signals.saving = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert eventually(lambda: signals.missed == ["SIGTERM"])
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_as_before_when_it_is_over() -> None:
    before = [signal.getsignal(number) for number in program.FORWARDED]
    run(["true"])
    assert [signal.getsignal(number) for number in program.FORWARDED] == before
