"""What a task's document and events mean for what it moves. Pure: values in, a decision out.

A task that is ACTIVE may be failing: without ``skip_source_errors`` Globus goes on trying a missing file, or a
forbidden path, for a day (Transfer API, task behaviour). And one that SUCCEEDED has moved what was asked only if
nothing was skipped and every file is in its list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from nodexfer.errors import NodexferError, TransferFailed, TransferUnproven
from nodexfer.globus import events as codes
from nodexfer.globus.protocol import Event, Task
from nodexfer.staging.request import BatchItem, MovedFile, OutItem


class Going(NamedTuple):
    """Under way. ``state`` is for people; ``trouble`` the code of what Globus is retrying."""

    state: str
    trouble: str | None


class Hopeless(NamedTuple):
    """It will not succeed, whatever its status says. ``shared``: the cause concerns all that the task moves."""

    error: NodexferError
    shared: bool
    #: What the service said, to find out whose path it is about.
    text: str


class Succeeded(NamedTuple):
    """The service is done and content; whether it moved what was asked is another question (:func:`prove`)."""


Decision: TypeAlias = "Going | Hopeless | Succeeded"


def is_calm(task: Task) -> bool:
    """Nothing goes wrong with it at present."""
    return codes.calm(task.nice_status)


def wants_events(task: Task, faults_seen: int) -> bool:
    """Whether the document alone does not say what goes wrong."""
    return task.faults > faults_seen or (task.status != "SUCCEEDED" and not is_calm(task))


def troubles(events: Sequence[Event], known: Sequence[str]) -> list[str]:
    """The codes of errors in ``events`` (newest first) that are not ``known``, oldest first."""
    return [code for code in dict.fromkeys(e.code for e in reversed(events) if e.is_error) if code not in known]


def judge(task: Task, events: Sequence[Event] = ()) -> Decision:
    """:param events: newest first; empty where they were not asked for."""
    if task.status == "SUCCEEDED":
        return _judge_success(task)
    fatal = next((event for event in events if event.is_error and codes.fatal(event.code)), None)
    if fatal is not None:
        return _hopeless(fatal.code, f"{fatal.description} {fatal.details}".strip(), task)
    code = task.fatal_code or task.nice_status
    if task.status == "FAILED":
        return _hopeless(code or "FAILED", task.fatal_description or "", task)
    if task.status == "INACTIVE":
        return _hopeless("INACTIVE", task.nice_details or task.nice_status or "", task)
    if codes.fatal(code):
        return _hopeless(str(code), task.nice_details or "", task)
    if codes.queued(task.nice_status):
        return Going("queued by Globus", None)
    if is_calm(task):
        return Going("moving", None)
    return Going(f"Globus is trying again after {task.nice_status}", task.nice_status)


def _judge_success(task: Task) -> Decision:
    if task.skipped_errors or task.files_skipped:
        skipped = task.skipped_errors + task.files_skipped
        message = f"Task {task.id} succeeded but skipped {skipped} of {task.files} files; nothing was published."
        return Hopeless(TransferUnproven(message, f"globus task show {task.id}"), True, "")
    return Succeeded()


def _hopeless(code: str, details: str, task: Task) -> Hopeless:
    found = codes.fatal(code)
    cls = TransferFailed if found is None or found.error is None else found.error
    said = f": {_first_lines(details)}" if details else ""
    sentence = f"Globus says {code} of task {task.id}{said}".rstrip(".")
    cause = f" {found.cause}" if found is not None else ""
    return Hopeless(
        cls(f"{sentence}.{cause} Nothing was published.", codes.next_command(code, task.id)),
        found is None or not found.path,
        details,
    )


def _first_lines(text: str, limit: int = 400) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else f"{flat[:limit]}..."


def left_out(path: str) -> TransferUnproven:
    """For what lies at the source, and is not in the list of what was moved."""
    return TransferUnproven(
        f"{path} is there and was not moved; nothing was published. Globus leaves out symbolic links in directories: "
        "name their files as sources of their own.",
        "nodexfer stage-in --help",
    )


def prove(direction: str, items: Sequence[BatchItem], outs: Sequence[OutItem], files: Sequence[MovedFile]) -> None:
    """See that the service moved every file of a request, and not one more.

    How many files a source directory has only the service knows; what arrived of it is compared with this list later.

    :raises TransferUnproven: it did not.
    """
    moved: dict[int, int] = {}
    for file in files:
        moved[file.number] = moved.get(file.number, 0) + 1
    sent = {out.number: out.files for out in outs}
    for item in items:
        expected = sent.get(item.number) if direction == "out" else None if item.is_directory else 1
        found = moved.get(item.number, 0)
        if expected is not None and found != expected:
            raise TransferUnproven(
                f"Globus ended the task well, and moved {found} of {expected} files of {item.remote}; "
                "nothing was published.",
                "nodexfer status",
            )
