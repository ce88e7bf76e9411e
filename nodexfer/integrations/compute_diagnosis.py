"""What may be wrong with an endpoint, one question after the other; each answer with what to type next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from nodexfer import __version__
from nodexfer.errors import NodexferError
from nodexfer.integrations import compute_service, compute_trials
from nodexfer.integrations.compute_settings import Settings
from nodexfer.units import format_bytes, format_duration

KINDS = ("connectivity", "worker", "staging", "parallel", "comprehensive")
#: Bytes below which a node has hardly room for data.
_LITTLE = 1 << 30


class Finding(NamedTuple):
    """``ok`` is None where it could not be told."""

    kind: str
    question: str
    ok: bool | None
    said: str
    next: str = ""


class Asked(NamedTuple):
    """Of what is diagnosed."""

    endpoint: str
    settings: Settings
    source: str = ""
    destination: str = ""
    jobs: int = 5


def diagnose(client: Any, asked: Asked, kind: str, told: Callable[[Finding], None]) -> list[Finding]:
    """All findings; ``told`` hears of each. What the rest needs and is not there ends it."""
    found: list[Finding] = []
    steps = {"connectivity": _connectivity, "worker": _worker, "staging": _staging, "parallel": _parallel}
    for name, step in steps.items():
        if kind not in (name, "comprehensive") and name != "connectivity":
            continue
        for finding in _safely(name, step(client, asked)):
            found.append(finding)
            told(finding)
        if any(one.ok is False for one in found):
            break
    return found


def _safely(kind: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """An error of ours is a finding."""
    try:
        yield from findings
    except NodexferError as error:
        yield Finding(kind, "asked", False, error.message, error.next)


def _connectivity(client: Any, asked: Asked) -> Iterator[Finding]:
    found = compute_service.look(client, asked.endpoint)
    whose = "yours" if found.ours else f"of {found.owner or 'somebody else'}"
    yield Finding("connectivity", "identity", True, f"You are {found.username} ({found.identity}).")
    name = found.name or asked.endpoint
    start = "" if found.online else f"globus-compute-endpoint start {found.name or 'NAME'}"
    state = "online" if found.online else "offline: it is not running, or has lost its connection"
    yield Finding(
        "connectivity", "endpoint", found.online, f"{name}, {whose}, is {state}.", "" if found.online else start
    )


def _hello(client: Any, asked: Asked) -> compute_trials.Answer:
    with compute_trials.executor(client, asked.endpoint, asked.settings) as run:
        return compute_trials.hello(run, asked.settings)


def _worker(client: Any, asked: Asked) -> Iterator[Finding]:
    answer = _hello(client, asked)
    if answer.error:
        yield _failed("worker", "a function", answer.error)
        return
    yield Finding(
        "worker", "a function", True, f"It ran on {answer.value['host']}, {_time(answer.total)} after it was sent."
    )
    yield from worker_findings(answer.value)


def worker_findings(value: dict[str, Any]) -> Iterator[Finding]:
    """What a worker said of itself."""
    python = value["executable"]
    if not value["nodexfer"]:
        install = f"{python} -m pip install nodexfer=={__version__}"
        yield Finding(
            "worker", "nodexfer", False, f"It is not installed for {python} ({value.get('missing', '')}).", install
        )
        return
    same = value["nodexfer"] == __version__
    said = f"{value['nodexfer']} is installed for {python}" + ("." if same else f"; here it is {__version__}.")
    yield Finding("worker", "nodexfer", True if same else None, said)
    if value["broken"]:
        yield Finding("worker", "block", False, f"Its set-up failed: {value['broken']}", "nodexfer worker-init")
    else:
        said = (
            "worker-init or the wrapper holds the node."
            if value["held"]
            else "Nothing but the functions holds the node."
        )
        advice = "" if value["held"] else "nodexfer compute init --help"
        yield Finding("worker", "block", True if value["held"] else None, said, advice)
    enough = value["free"] >= _LITTLE
    said = f"{format_bytes(value['free'])} are free where {value['node_dir']} is."
    yield Finding("worker", "room", True if enough else None, said)


def _staging(client: Any, asked: Asked) -> Iterator[Finding]:
    """One job: the node's endpoint comes up; what was named is staged."""
    with compute_trials.executor(client, asked.endpoint, asked.settings) as run:
        (answer,) = compute_trials.trials(
            run,
            asked.settings,
            1,
            lambda _: None,
            source=asked.source,
            destination=asked.destination,
            endpoint=True,
        )
    value, error = answer.value, answer.error
    for stage in ("hold", "endpoint", "stage-in", "stage-out"):
        if error and (value.get("stage") or "hold") == stage:
            yield _failed("staging", stage, error)
            return
        if stage in value:
            yield Finding("staging", stage, True, f"It took {_time(value[stage])}.")
    if error:
        yield _failed("staging", value.get("stage") or "job", error)
    if not asked.source:
        yield Finding("staging", "stage-in", None, "No --source was given.", "nodexfer compute diagnose --help")


def _parallel(client: Any, asked: Asked) -> Iterator[Finding]:
    with compute_trials.executor(client, asked.endpoint, asked.settings) as run:
        answers = compute_trials.trials(
            run, asked.settings, asked.jobs, lambda _: None, source=asked.source, destination=asked.destination
        )
    failed = [answer for answer in answers if answer.error]
    for answer in failed:
        yield _failed("parallel", f"job {answer.number}", answer.error or {})
    if not failed:
        hosts = {str(answer.value["host"]) for answer in answers}
        longest = max(answer.total for answer in answers)
        said = f"{len(answers)} jobs on {len(hosts)} node{'s' if len(hosts) > 1 else ''} in {_time(longest)}."
        yield Finding("parallel", "jobs", True, said)


def _failed(kind: str, question: str, error: dict[str, Any]) -> Finding:
    return Finding(kind, question, False, f"{error['error']}: {error['message']}", error["next"])


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else format_duration(seconds)
