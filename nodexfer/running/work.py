"""What ``run`` is asked to do, how it tells people, and what came of it: values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

from nodexfer.errors import NodexferError
from nodexfer.running.outputs import Out
from nodexfer.staging.plan import Fetch

if TYPE_CHECKING:
    from nodexfer.staging.client import OnProgress, Route
    from nodexfer.staging.receipt import Receipt


class Work(NamedTuple):
    """What is to be done. ``time`` and ``reserve`` in seconds, None where nobody said."""

    fetches: Sequence[Fetch]
    outs: Sequence[Out]
    command: Sequence[str]
    environ: Mapping[str, str]
    time: float | None = None
    reserve: float | None = None
    wait_endpoint: float | None = None
    route: Route = "auto"
    #: Patterns of what is saved first where the time is too short to send it.
    first: Sequence[str] = ()
    #: What :func:`~nodexfer.staging.bring.bring` and :func:`~nodexfer.staging.send.send` take besides.
    moves: Mapping[str, Any] = {}
    stdout: int = 1

    def flag(self, name: str) -> bool:
        return bool(self.moves.get(name, False))


class Talk(NamedTuple):
    """How people hear of it: a line, the end of a stage, the progress of one."""

    say: Callable[[str], None]
    done: Callable[[str, Receipt], None]
    progress: Callable[[str], AbstractContextManager[OnProgress]]


class Outcome(NamedTuple):
    """``code`` is the program's, ``record`` is for ``--json``.

    ``error``: what went wrong later, or that the program was stopped.
    """

    code: int
    record: dict[str, Any]
    error: NodexferError | None

    @property
    def exit_code(self) -> int:
        """The program's own, where it failed by itself."""
        if self.error is not None and (self.code == 0 or self.record["stopped"]):
            return self.error.exit_code
        return self.code
