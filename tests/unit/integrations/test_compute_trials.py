"""Jobs side by side: what is waited for, given up and sent again; and errors that come back as text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from nodexfer.errors import DeadlinePassed, NodexferMissing, SourceMissing
from nodexfer.integrations import compute_probes, compute_trials
from nodexfer.integrations.compute_diagnosis import worker_findings
from nodexfer.integrations.compute_settings import Settings


class Executor:
    """Answers each call by what ``answers`` gives for it: a value, an error, or None for no answer at all."""

    def __init__(self, answers: Callable[[int, int], Any]) -> None:
        self._answers = answers
        self.calls: list[int] = []

    def submit(self, function: Callable[..., Any], number: int, *_: Any) -> Future[Any]:
        assert function is compute_probes.trial
        self.calls.append(number)
        future: Future[Any] = Future()
        answer = self._answers(number, self.calls.count(number))
        if isinstance(answer, Exception):
            future.set_exception(answer)
        elif answer is not None:
            future.set_result(answer)
        return future


def value(error: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"seconds": 0.0, "host": "n", "error": error, "run": 0.5}


def run(answers: Callable[[int, int], Any], count: int = 3, **settings: Any) -> tuple[list[int], Any]:
    made = Executor(answers)
    told: list[int] = []
    found = compute_trials.trials(made, Settings(**settings), count, lambda answer: told.append(answer.number))
    assert sorted(told) == [answer.number for answer in found] == list(range(1, count + 1))
    return made.calls, found


def test_all_are_sent_before_any_is_waited_for_and_told_in_their_order() -> None:
    calls, found = run(lambda *_: value())
    assert calls == [1, 2, 3]
    assert [answer.error for answer in found] == [None] * 3
    record = found[0].as_record()
    assert (record["number"], record["host"], record["run"], record["attempts"]) == (1, "n", 0.5, 1)


def test_what_failed_by_no_fault_of_its_own_is_sent_again_and_no_more_often_than_said() -> None:
    lost = RuntimeError("Traceback\n ...\nparsl.executors.errors.ManagerLost: Task failure due to loss of manager")
    calls, found = run(lambda number, attempt: lost if number == 2 and attempt < 3 else value(), max_retries=2)
    assert calls.count(2) == 3
    assert found[1].error is None
    assert found[1].attempts == 3
    calls, found = run(lambda number, _: lost if number == 2 else value(), max_retries=1)
    assert calls.count(2) == 2
    assert found[1].error["error"] == "ManagerLost"


def test_what_a_second_attempt_would_not_change_is_not_sent_again() -> None:
    missing = SourceMissing("There is nothing.", "ls").as_record()
    calls, found = run(lambda number, _: value(missing if number == 1 else None), max_retries=5)
    assert calls == [1, 2, 3]
    assert found[0].error == missing


def test_what_does_not_come_in_time_is_given_up_and_the_rest_told() -> None:
    calls, found = run(lambda number, _: None if number == 2 else value(), function_timeout=0.2, max_retries=3)
    assert calls == [1, 2, 3]
    assert found[1].error["error"] == DeadlinePassed.__name__
    assert found[1].error["message"] == "There was no result within 0.2 s."
    assert [found[0].error, found[2].error] == [None, None]


def test_a_job_that_is_sent_again_has_a_time_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that of its first attempt nor that of the job that is given up meanwhile."""
    clock = Clock()
    monkeypatch.setattr(compute_trials, "time", clock)
    monkeypatch.setattr(compute_trials, "wait", clock.wait)
    lost = RuntimeError("parsl.executors.errors.ManagerLost: gone")

    def submit(_: Any, number: int, *__: Any) -> Future[Any]:
        sent.append(number)
        if number == 1:
            return Future()
        return clock.answers(6.0, lost) if sent.count(2) == 1 else clock.answers(8.0, {**value(), "seconds": 3.0})

    sent: list[int] = []
    run = SimpleNamespace(submit=submit)
    settings = Settings(function_timeout=10.0, max_retries=1)
    given_up, again = compute_trials.trials(run, settings, 2, lambda answer: clock.told.append(answer.number))
    assert given_up.error is not None
    assert (given_up.error["error"], given_up.total, given_up.attempts) == ("DeadlinePassed", 10.0, 1)
    assert (again.error, again.total, again.queue, again.attempts) == (None, 8.0, 5.0, 2)
    assert (sent, clock.told, clock.now) == ([1, 2, 2], [1, 2], 114.0)


class Clock:
    """Time that passes only while somebody waits for an answer."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[int] = []
        self._due: list[tuple[float, Future[Any], Any]] = []

    def monotonic(self) -> float:
        return self.now

    def answers(self, seconds: float, answer: Any) -> Future[Any]:
        self._due.append((self.now + seconds, Future(), answer))
        return self._due[-1][1]

    def wait(self, futures: Iterable[Future[Any]], timeout: float, _: str) -> SimpleNamespace:
        """What :func:`concurrent.futures.wait` does until the first is done."""
        end = self.now + timeout
        self.now = min([end, *(at for at, future, _ in self._due if not future.done())])
        for at, future, answer in self._due:
            if at <= self.now and not future.done():
                set_ = future.set_exception if isinstance(answer, Exception) else future.set_result
                set_(answer)
        return SimpleNamespace(done={future for future in futures if future.done()})


@pytest.mark.parametrize(
    ("text", "name", "message", "next_", "code"),
    [
        (
            'Traceback (most recent call last):\n  File "x"\nnodexfer.errors.SourceMissing: Gone.\nNext: globus ls x\n',
            *("SourceMissing", "Gone.", "globus ls x", 20),
        ),
        ("  File\nZeroDivisionError: division by zero\n\n------\n", "ZeroDivisionError", "division by zero", "", 1),
        (
            "nodexfer.errors.PoolMissing: No.\nNext: a\nMoved before: receipt 1\n",
            *("PoolMissing", "No.", "a", 31),
        ),
        ("KeyboardInterrupt", "KeyboardInterrupt", "KeyboardInterrupt", "", 1),
        ("something else: no error", "RuntimeError", "something else: no error", "", 1),
        ("", "RuntimeError", "RuntimeError", "", 1),
    ],
)
def test_the_text_of_a_traceback_becomes_a_record(text: str, name: str, message: str, next_: str, code: int) -> None:
    record = {"error": name, "message": message, "next": next_, "exit_code": code}
    assert compute_trials.record_of(RuntimeError(text)) == record


def test_an_error_of_ours_keeps_its_record() -> None:
    error = SourceMissing("There is nothing.", "ls")
    assert compute_trials.record_of(error) == error.as_record()


def test_probes_need_nothing_from_outside_of_themselves() -> None:
    """They travel as their text."""
    import inspect

    for probe in (compute_probes.hello, compute_probes.trial):
        names: dict[str, Any] = {}
        exec(inspect.getsource(probe), names)
        assert set(names) == {"__builtins__", probe.__name__}
    found: Any = names["trial"](1, "", "", False)
    assert found["error"] is None, found
    assert {"hold", "run", "seconds"} <= found.keys()
    assert "stage-in" not in found
    hello: Any = compute_probes.hello()
    assert [one.ok for one in worker_findings({**hello, "free": 1 << 40, "held": True})] == [True] * 3


def test_a_job_where_nodexfer_is_missing_is_told_by_the_same_name_as_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nodexfer", None)
    found: Any = compute_probes.trial(1, "", "", False)
    assert (found["error"]["error"], found["error"]["exit_code"]) == ("NodexferMissing", NodexferMissing.exit_code)
    assert found["error"]["next"] == f"{sys.executable} -m pip install nodexfer"


def test_a_job_that_fails_says_at_which_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Any = compute_probes.trial(1, "nowhere:/x", "", False)
    assert (found["stage"], found["error"]["error"]) == ("stage-in", "ConfigMissing")
    assert {"hold", "stage-in", "seconds"} <= found.keys()
    assert "run" not in found


def test_a_worker_that_lacks_something_is_told_what_to_type() -> None:
    hello: Any = compute_probes.hello()
    (bad,) = worker_findings({**hello, "nodexfer": "", "missing": "ModuleNotFoundError"})
    assert (bad.ok, f"{hello['executable']} -m pip install nodexfer==" in bad.next) == (False, True)
    found = {one.question: one for one in worker_findings({**hello, "broken": "it", "free": 5, "nodexfer": "0.0.1"})}
    assert found["nodexfer"].ok is None
    assert found["nodexfer"].said.startswith("0.0.1 is installed for ")
    assert (found["block"].ok, found["block"].said) == (False, "Its set-up failed: it")
    assert found["room"].ok is None
