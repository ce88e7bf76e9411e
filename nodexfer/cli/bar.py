"""The bar on a terminal: the only user of rich on the way of a transfer."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

#: Seconds between two drawings: more often is not seen.
_EVERY = 0.1


class Bar:
    """One line at the bottom of the terminal, redrawn by :meth:`show`; no thread."""

    def __init__(self, label: str, stream: TextIO) -> None:
        console = Console(file=stream, force_terminal=True, highlight=False)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(20))
        self._progress = Progress(
            *columns,
            TextColumn("{task.fields[words]}", markup=False),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._label = label
        self._task = self._progress.add_task(label, total=None, words="")
        self._drawn = self._progress.get_time() - _EVERY
        self._progress.start()

    def show(self, state: str, done: int, total: int | None, words: str) -> None:
        """Words beside the bar are the numbers once bytes move, the state before."""
        shown = words if done else state
        self._progress.update(self._task, completed=done, total=total or None, words=shown)
        now = self._progress.get_time()
        if now - self._drawn >= _EVERY:
            self._drawn = now
            self._progress.refresh()

    def close(self) -> None:
        self._progress.stop()
