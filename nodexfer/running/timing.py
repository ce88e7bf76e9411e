"""How much of the job's time is left, by a clock that nobody sets."""

from __future__ import annotations

import time
from typing import Any

from nodexfer.clock import Deadline
from nodexfer.errors import DeadlinePassed, NodexferError
from nodexfer.node.jobend import JobEnd
from nodexfer.running import walltime
from nodexfer.running.walltime import Load, Pace
from nodexfer.running.work import Work
from nodexfer.session import Node
from nodexfer.units import format_duration


class Timing:
    """The end of the job, what is reserved before it, and the pace of transfers as far as one was seen."""

    def __init__(self, node: Node, work: Work) -> None:
        self._node = node
        self._allowed = None if work.time is None else time.time() + work.time
        self._reserve = work.reserve
        self.pace = Pace()
        self._set(node.end())
        #: From the beginning to the end: what a share of the time is of.
        self.whole = self.left

    def _set(self, end: JobEnd) -> None:
        if self._allowed is not None and (not end.known or self._allowed < end.at):
            end = JobEnd(self._allowed, True, "--time")
        self.end = end
        self._deadline = Deadline.from_epoch(end.at)
        self._node.ends_at = end.at if end.known else None

    @property
    def known(self) -> bool:
        """Whether the end is more than assumed: only then a program is stopped."""
        return self.end.known

    @property
    def left(self) -> float:
        return self._deadline.left

    @property
    def depends_on_outputs(self) -> bool:
        return self._reserve is None

    @property
    def record(self) -> dict[str, Any]:
        return {"at": self.end.at, "known": self.end.known, "source": self.end.source}

    def reserve(self, load: Load = Load()) -> float:  # noqa: B008 (a constant)
        """For outputs of ``load``."""
        return walltime.reserve(load, self.pace, self.whole) if self._reserve is None else self._reserve

    def spare(self) -> float:
        return walltime.spare(self.reserve())

    def window(self, load: Load) -> float:
        return walltime.window(self.left, self.reserve(load), load)

    def ask(self, *, again: bool) -> float:
        """Ask once more, as far as questions are left; by how much (s) a known end has moved.

        A program runs meanwhile: whatever is wrong with this node, it goes on by what is known.
        """
        before = self.end
        try:
            self._set(self._node.end(again=again))
        except (NodexferError, OSError):
            return 0.0
        return self.end.at - before.at if before.known and self.end.known else 0.0

    def refuse_late(self) -> None:
        """:raises DeadlinePassed: there is no time to do anything in."""
        if self.known and self.left <= self.reserve():
            raise DeadlinePassed(
                f"The job ends in {format_duration(self.left)}, and {format_duration(self.reserve())} of it are "
                "reserved for the outputs; the program was not started.",
                "nodexfer run --help",
            )

    @property
    def words(self) -> str:
        """What is known at the beginning."""
        if not self.known:
            return (
                f"{self.end.source}: each transfer gets {format_duration(self.left)}, and the program is not stopped; "
                "--time tells when it ends"
            )
        least = "at least " if self.depends_on_outputs else ""
        reserve = format_duration(self.reserve())
        return (
            f"the job ends in {format_duration(self.left)} ({self.end.source}); "
            f"the program is stopped {least}{reserve} before"
        )
