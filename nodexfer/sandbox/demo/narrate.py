"""Telling people what happens while it happens: a line for each event, and on a terminal a board of the jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

MIB = 1024 * 1024
_BAR = 24

#: The state of a job that has ended well.
DONE = "done"


class JobView(NamedTuple):
    """One line of the board. ``done`` and ``total`` in bytes, of what moves now; total 0 where nothing does."""

    number: int
    leads: bool
    state: str
    done: int
    total: int


class Narrator:
    """Writes to stderr. Where that is no terminal there is no board, only the lines."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        #: All that was said.
        self.lines: list[str] = []
        self._began = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Narrator:
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(Text(""))
            self._live.stop()
            self._live = None

    def say(self, text: str, style: str = "") -> None:
        """One event, with the seconds since the beginning."""
        since = f"{time.monotonic() - self._began:6.1f} s  "
        self.lines.append(f"{since}{text}")
        line = Text(since, style="dim")
        self.console.print(line.append(Text(text, style=style or "not dim")), soft_wrap=True)

    def board(self, jobs: Sequence[JobView]) -> None:
        """How the jobs stand now; nothing where there is no terminal."""
        if self._live is not None:
            self._live.update(_board(jobs))


def _board(jobs: Sequence[JobView]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for job in jobs:
        table.add_row(
            Text(f"  job {job.number}", style="bold"),
            Text("leads" if job.leads else "", style="magenta"),
            _bar(job),
            Text(job.state, style="dim"),
        )
    return table


def _bar(job: JobView) -> Text:
    if job.state == DONE:
        return Text("━" * _BAR, style="green")
    if job.total <= 0:
        return Text("·" * _BAR, style="dim")
    full = min(_BAR, _BAR * job.done // job.total)
    bar = Text("━" * full, style="cyan").append("━" * (_BAR - full), style="bright_black")
    return bar.append(f" {job.done / MIB:4.0f} MiB", style="not dim")
