"""The desk's own view of a request, and of a task that moves some of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal, NamedTuple

from nodexfer.errors import NodexferError, from_record
from nodexfer.globus.protocol import Task
from nodexfer.staging.batches import Key
from nodexfer.staging.outcome import Hopeless, is_calm
from nodexfer.staging.request import Batch, BatchItem, Need, Request, Result
from nodexfer.staging.stall import Pulse

#: new: to be looked at; looking: a call is under way; ready: waits for a task; moving: is in a task;
#: closing: what is left of it is being removed.
Phase = Literal["new", "looking", "ready", "moving", "closing"]


class Serving(NamedTuple):
    """The endpoint that the leader has brought up; ``since`` in seconds since the epoch."""

    endpoint: str
    lease: int
    exchanges: Mapping[str, str]
    since: float

    @classmethod
    def now(cls, endpoint: str, lease: int, exchanges: Mapping[str, str]) -> Serving:
        return cls(endpoint, lease, exchanges, time.time())


class Case:
    """One request at the desk. What must survive the desk is in the spool; this is thrown away with it."""

    def __init__(self, directory: str, request: Request, saved: Batch | None) -> None:
        self.directory = directory
        self.request = request
        #: What an earlier desk wrote; None as soon as it has been taken up.
        self.saved = saved
        self.phase: Phase = "new"
        self.items: list[BatchItem] = []
        self.need: Need | None = None
        self.move: Move | None = None
        self.part = ""
        self.tasks: list[str] = list(saved.earlier) if saved else []
        self.attempts = saved.attempts if saved else 1
        self.faults = 0
        #: The codes of what went wrong on the way, in the order in which they came.
        self.troubles: list[str] = []
        self.since = time.monotonic()
        self.waited_endpoint = saved.waited_endpoint if saved else 0.0
        #: It is proven, and its outputs are getting their names: from now on forward, unless that fails.
        self.publishing = saved.publishing if saved else False
        #: Not before this moment (monotonic) is it looked at (again).
        self.not_before = 0.0
        self.failing_since: float | None = None
        #: It is to end, with this error; None for one that nobody asks for any more.
        self.leaving = False
        self.error: NodexferError | None = None
        #: Its answer, as long as there is no room on the disk to write it down.
        self.unsaid: Result | None = None
        if saved is not None and saved.error is not None:
            self.leave(from_record(dict(saved.error)))

    @property
    def id(self) -> str:
        return self.request.id

    @property
    def collection(self) -> str:
        items = self.request.ins or self.request.outs
        return items[0].collection

    @property
    def key(self) -> Key:
        return Key(self.request.direction, self.collection, self.part)

    def leave(self, error: NodexferError | None) -> None:
        """The first reason counts."""
        if not self.leaving:
            self.leaving, self.error = True, error


#: asking: the submission is on its way; moving: followed; cancelling: its end is awaited; ended: being wound up.
Stage = Literal["asking", "moving", "cancelling", "ended"]


class Move:
    """One task, from the moment that its submission is on disk."""

    def __init__(self, key: Key, submission_id: str, label: str, deadline: str, serving: Serving) -> None:
        self.key = key
        self.submission_id = submission_id
        self.label = label
        self.deadline = deadline
        self.endpoint = serving.endpoint
        self.lease = serving.lease
        self.cases: dict[str, Case] = {}
        self.task: str | None = None
        self.stage: Stage = "asking"
        self.seen: Task | None = None
        self.faults_seen = 0
        self.verdict: Hopeless | None = None
        self.since = time.monotonic()
        self.pulse = Pulse(self.since)
        self.not_before = 0.0

    @property
    def live(self) -> list[Case]:
        return [case for case in self.cases.values() if not case.leaving]

    @property
    def has_a_slot(self) -> bool:
        """Whether it is one of the three that Globus runs: a task that backs off from an error is not counted there."""
        return self.seen is None or is_calm(self.seen)

    @property
    def items(self) -> dict[str, list[BatchItem]]:
        return {case.id: case.items for case in self.cases.values()}

    @property
    def total(self) -> int | None:
        """Bytes to move; None where it has directories, of which only Globus knows that."""
        sizes = [item.size for items in self.items.values() for item in items]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def batch(self, case: Case) -> Batch:
        """What is to be on disk of it, with ``case``."""
        return Batch(
            submission_id=self.submission_id,
            label=self.label,
            deadline=self.deadline,
            collection=self.key.collection,
            endpoint=self.endpoint,
            lease=self.lease,
            items=tuple(case.items),
            task=self.task,
            earlier=tuple(case.tasks),
            attempts=case.attempts,
            publishing=case.publishing,
            waited_endpoint=case.waited_endpoint,
            error=None if case.error is None else case.error.as_record(),
        )
