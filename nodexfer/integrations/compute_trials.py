"""Jobs side by side on an endpoint, each waited for and sent again as the settings say; and what is told of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager
from typing import Any, NamedTuple

from nodexfer.errors import DeadlinePassed, NodexferError, all_errors
from nodexfer.integrations import compute_probes
from nodexfer.integrations.compute_service import named_errors
from nodexfer.integrations.compute_settings import Settings

#: The stages of a trial, in their order.
STAGES = ("hold", "stage-in", "run", "stage-out")
#: What a second attempt does not change: the request or the data are wrong.
_LASTING = range(10, 30)


class Answer(NamedTuple):
    """One call. ``total`` from its sending to its result, ``queue`` of that what its function did not take: seconds."""

    number: int
    attempts: int
    total: float
    queue: float
    value: dict[str, Any]
    #: An error's record, or None.
    error: dict[str, Any] | None

    def as_record(self) -> dict[str, Any]:
        return {
            **{key: value for key, value in self.value.items() if key not in ("error", "number")},
            "number": self.number,
            "attempts": self.attempts,
            "total": self.total,
            "queue": self.queue,
            "error": self.error,
        }


@contextmanager
def executor(client: Any, endpoint: str, settings: Settings) -> Iterator[Any]:
    """The SDK's, for functions that travel as their text. At the end nothing is waited for."""
    with named_errors(f"endpoint {endpoint}"):
        from globus_compute_sdk import Executor
        from globus_compute_sdk.serialize import ComputeSerializer, PureSourceTextInspect

        made = Executor(
            endpoint_id=endpoint,
            client=client,
            user_endpoint_config=dict(settings.options) or None,
            serializer=ComputeSerializer(strategy_code=PureSourceTextInspect()),
        )
    try:
        yield made
    finally:
        made.shutdown(wait=False, cancel_futures=True)  # type: ignore[no-untyped-call]


def hello(run: Any, settings: Settings) -> Answer:
    return ask(run, settings, lambda _: (compute_probes.hello, ()), 1, lambda _: None)[0]


def trials(
    run: Any,
    settings: Settings,
    count: int,
    told: Callable[[Answer], None],
    *,
    source: str = "",
    destination: str = "",
    endpoint: bool = False,
) -> list[Answer]:
    """``count`` jobs at the same time; ``told`` hears of each when it is done."""
    return ask(
        run, settings, lambda number: (compute_probes.trial, (number, source, destination, endpoint)), count, told
    )


def ask(
    run: Any,
    settings: Settings,
    call: Callable[[int], tuple[Callable[..., Any], Sequence[Any]]],
    count: int,
    told: Callable[[Answer], None],
) -> list[Answer]:
    """Send all, wait for all; what did not come in time is given up, what failed by no fault of its own sent again."""
    done: dict[int, Answer] = {}
    sent: dict[Future[Any], tuple[int, int, float]] = {}

    def send(number: int, attempt: int) -> None:
        function, arguments = call(number)
        with named_errors("sending a function"):
            sent[run.submit(function, *arguments)] = (number, attempt, time.monotonic())

    for number in range(1, count + 1):
        send(number, 1)
    while sent:
        first = min(begun for _, _, begun in sent.values())
        ready = wait(sent, max(first + settings.function_timeout - time.monotonic(), 0.0), "FIRST_COMPLETED").done
        for future in ready or list(sent):
            number, attempt, begun = sent[future]
            if not ready and time.monotonic() - begun < settings.function_timeout:
                continue
            del sent[future]
            answer = _answer(future, number, attempt, time.monotonic() - begun, settings)
            if answer.error and attempt <= settings.max_retries and again(answer.error):
                send(number, attempt + 1)
            else:
                done[number] = answer
                told(answer)
    return [done[number] for number in sorted(done)]


def _answer(future: Future[Any], number: int, attempt: int, total: float, settings: Settings) -> Answer:
    if not future.done():
        future.cancel()
        late = DeadlinePassed(
            f"There was no result within {settings.function_timeout:g} s.", "nodexfer compute diagnose --help"
        )
        return Answer(number, attempt, total, total, {}, late.as_record())
    try:
        value = future.result()
    except CancelledError:
        return Answer(number, attempt, total, total, {}, DeadlinePassed("The call was cancelled.", "").as_record())
    except Exception as error:  # noqa: BLE001 (whatever came back is what the table is about)
        return Answer(number, attempt, total, total, {}, record_of(error))
    return Answer(number, attempt, total, max(total - value["seconds"], 0.0), value, value.get("error"))


#: A line of a traceback that names an error, and what it says.
_NAMED = re.compile(r"^\s*(?:[A-Za-z_][\w.]*\.)?([A-Z]\w*)(?:: (.*))?$")
_LIKE_ERRORS = ("Error", "Exception", "Lost", "Exceeded", "Interrupt", "Exit")
_NEXT = "Next: "


def record_of(error: Exception) -> dict[str, Any]:
    """An error of a future: Globus Compute carries the text of a traceback, whose last lines name what happened."""
    if isinstance(error, NodexferError):
        return error.as_record()
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -\t")]
    advice = next((line[len(_NEXT) :] for line in reversed(lines) if line.startswith(_NEXT)), "")
    for line in reversed(lines):
        match = _NAMED.match(line)
        if match and (match[1] in all_errors() or match[1].endswith(_LIKE_ERRORS)):
            ours = all_errors().get(match[1])
            code = ours.exit_code if ours else 1
            return {"error": match[1], "message": match[2] or match[1], "next": advice, "exit_code": code}
    text = " ".join(lines)[:300] or type(error).__name__
    return {"error": type(error).__name__, "message": text, "next": "", "exit_code": 1}


def again(error: dict[str, Any]) -> bool:
    """Whether another attempt may end otherwise."""
    return error["exit_code"] not in _LASTING and error["error"] != "DeadlinePassed"
