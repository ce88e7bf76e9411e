"""Deaths by number: an operation is run in a child that dies at its first point, its second, ... until none is left."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from nodexfer import procs
from tests.crash.points import DEAD

ROOT = Path(__file__).parents[2]
#: Seconds for one child. None needs more than one, on a machine that does nothing else.
CHILD_SECONDS = 30.0


class End(NamedTuple):
    """How a child ended. ``last``: what it was about to do when it died. ``said``: what its operation returned."""

    died: bool
    points: int
    last: str
    said: Any


class Lab:
    """One zygote, which is the leader of its session: what its children start has a script that lives as long."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self._zygote = procs.spawn(
                procs.python("-m", "tests.crash.zygote"),
                environ=dict(os.environ),
                stdin=procs.PIPE,
                stdout=procs.PIPE,
                stderr=file.fileno(),
                new_session=True,
                cwd=str(ROOT),
            )
        self.pid = self._zygote.pid

    def run(
        self,
        operation: str,
        *,
        die_at: int = 0,
        tops: tuple[Path, ...] = (),
        environ: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> End:
        """Run it in a child. :raises AssertionError: it ended neither well nor as it was told."""
        order = {
            "operation": operation,
            "arguments": arguments,
            "environ": dict(environ or {}),
            "tops": [str(top) for top in tops],
            "die_at": die_at,
            "seconds": CHILD_SECONDS,
        }
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps(order).encode() + b"\n")
        self._zygote.stdin.flush()
        answer = json.loads(self._zygote.stdout.readline() or b"null")
        assert answer is not None, f"the zygote ended: {self._tail()}"
        assert answer["code"] in (0, DEAD), f"{operation} at {die_at}: {answer}\n{self._tail()}"
        return End(answer["code"] == DEAD, answer["points"], answer["last"], answer["said"])

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]

    def close(self) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.close()
        assert self._zygote.wait(10.0) is not None
        self._zygote.close()


class Census:
    """How many points of each operation a process has died at in this test."""

    def __init__(self, stride: int) -> None:
        #: 1: every point. More: one of so many, for a suite that is to be quick.
        self.stride = stride
        self.found: dict[str, int] = {}

    def numbers(self) -> Iterator[int]:
        return itertools.count(1, self.stride)

    def add(self, operation: str, deaths: int) -> None:
        """:raises AssertionError: there was nothing to die at."""
        assert deaths > 0, f"{operation} has no points"
        self.found[operation] = self.found.get(operation, 0) + deaths


@contextmanager
def at(number: int, end: End) -> Iterator[None]:
    """What fails in here says after which death it did."""
    try:
        yield
    except BaseException as error:
        error.args = (f"after the death at point {number}, {end.last}: {error}",)
        raise
