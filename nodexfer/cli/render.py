"""What people see: tables on stdout, progress on stderr. Colour and bars only on a terminal.

rich is imported for the bar alone: a job's log gets one plain line now and then, and ``status`` stays light.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from nodexfer.units import format_bytes, format_duration, format_rate

if TYPE_CHECKING:
    from types import TracebackType

    from nodexfer.cli.bar import Bar

#: Columns of a table or a line, whatever the terminal has: a job's log is read anywhere.
WIDTH = 80
#: Seconds to the first plain line, so that what is quick says nothing, and between two later ones.
FIRST_LINE, EVERY_LINE = 2.0, 10.0
#: Seconds over which the rate is measured.
_WINDOW = 15.0
#: No column is cut below this (columns of the terminal) for another one's sake.
_SHORTEST = 8


def printable(text: str) -> str:
    """``text`` with what could move a terminal's cursor, or can not be encoded, replaced by ``?``."""
    return "".join(c if c.isprintable() else "?" for c in text)


def show_json(value: Any) -> None:
    """``value`` as JSON on stdout, for programs."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    try:
        text.encode(sys.stdout.encoding or "utf-8", sys.stdout.errors or "strict")
    except UnicodeEncodeError:  # a name that this terminal's encoding, or UTF-8 itself, does not have
        text = json.dumps(value, indent=2, default=str)
    sys.stdout.write(text + "\n")


def say(text: str) -> None:
    """One line for people, on stderr. A full disk there, or a reader that is gone, loses it, and nothing else."""
    try:
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()
    except OSError:
        pass


def coloured(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show_table(headers: Sequence[str], rows: Sequence[Sequence[object]], whole: Sequence[str] = ()) -> None:
    """A table on stdout; see :func:`table`."""
    lines = table(headers, rows, whole=whole)
    if coloured(sys.stdout):
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    sys.stdout.write("\n".join(lines) + "\n")


def table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], width: int = WIDTH, whole: Sequence[str] = ()
) -> list[str]:
    """Lines of at most ``width`` columns, the headers first; numbers to the right, what is too long ends in ``…``.

    :param whole: headers of what is of no use when it is cut, as an id is: the others are cut as long as they can be.
    """
    cells = [[printable(str(cell)) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > 1:
        first = [i for i, name in enumerate(headers) if name not in whole and widths[i] > _SHORTEST]
        widths[max(first or range(len(widths)), key=widths.__getitem__)] -= 1
    right = [bool(rows) and all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(headers))]
    return ["  ".join(_cell(text, widths[i], right[i]) for i, text in enumerate(row)).rstrip() for row in cells]


def _cell(text: str, width: int, right: bool) -> str:
    short = text if len(text) <= width else text[: width - 1] + "…"
    return short.rjust(width) if right else short.ljust(width)


class Meter:
    """The rate of the last seconds, and what it promises. Fed with absolute counts; a count that falls starts anew."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def add(self, now: float, count: int) -> None:
        if self._seen and count < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _WINDOW:
            self._seen.pop(0)

    @property
    def rate(self) -> float | None:
        """Bytes a second, or None while nothing can be said."""
        if len(self._seen) < 2 or self._seen[-1][0] <= self._seen[0][0]:
            return None
        return (self._seen[-1][1] - self._seen[0][1]) / (self._seen[-1][0] - self._seen[0][0])

    def left(self, total: int | None) -> float | None:
        """Seconds until ``total`` at this rate, or None."""
        if total is None or not self.rate:
            return None
        return max(0.0, (total - self._seen[-1][1]) / self.rate)


def words(meter: Meter, done: int, total: int | None) -> str:
    """``12.0 MiB of 64.0 MiB (19 %), 5.1 MiB/s, 10 s left``; what is not known is left out."""
    parts = [format_bytes(done) if total is None else f"{format_bytes(done)} of {format_bytes(total)}"]
    if total:
        parts[0] += f" ({100 * min(done, total) // total} %)"
    if meter.rate:
        parts.append(format_rate(meter.rate))
    left = meter.left(total)
    if left is not None and done < (total or 0):
        parts.append(f"{format_duration(left)} left")
    return ", ".join(parts)


class Progress:
    """How a request goes, for people: a bar on a terminal, else a line after 2 s and every 10 s.

    A context manager; leaving it takes the bar away. Never raises for a stderr that went away.
    """

    def __init__(
        self, label: str, *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label = printable(label)
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._meter = Meter()
        self._next_line = clock() + FIRST_LINE
        self._bar: Bar | None = None

    def __enter__(self) -> Progress:
        if self._stream.isatty() and os.environ.get("TERM") != "dumb":
            from nodexfer.cli.bar import Bar

            self._bar = Bar(self._label, self._stream)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, state: str, done: int = 0, total: int | None = None) -> None:
        """Tell the newest: ``state`` in words, bytes done, and of how many (None: not known). Cheap; call it often."""
        now = self._clock()
        self._meter.add(now, done)
        if self._bar is not None:
            self._bar.show(printable(state), done, total, words(self._meter, done, total))
        elif now >= self._next_line:
            self._next_line = now + EVERY_LINE
            moved = f", {words(self._meter, done, total)}" if done or total else ""
            self._line(f"{self._label}: {printable(state)}{moved}")

    def _line(self, text: str) -> None:
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except OSError:  # nobody reads any more; the transfer goes on
            pass
