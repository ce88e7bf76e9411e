"""Asking a job's scheduler: three processes in the job's life, on whatever nodes, and however any of ours is killed.

Who is about to start one claims it (:mod:`nodexfer.node.answers`); who finds a claim without an answer waits for that:
many nodes that begin at once are one question. After 25 s who asks counts as dead and the next process is claimed, so
that a command waits 75 s at the longest. Who knows an end, and asks whether it was changed, waits 25 s in all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.node.answers import CALLS, Place, Said
from nodexfer.scheduler import End
from nodexfer.scheduler.protocol import Answer, RunArgv

#: How long who asks is waited for (s): two processes of 10 s at most, and a slow file system.
WAIT_SECONDS = 25.0


def settle(place: Place, put: Callable[[RunArgv], End | None], *, again: bool) -> Said:
    """What the scheduler says: to somebody else of this job, or to us.

    :param put: asks, by starting processes with the runner that it gets.
    :param again: only an answer that is new will do.
    :raises NodexferError, OSError: the place can not be used; nothing was asked.
    """
    patience = Deadline(WAIT_SECONDS)
    awaited, dead = 0, place.spent  # nobody is waited for twice
    said = Said()
    for _ in range(2 * CALLS + 1):  # no more calls can be waited for, or lost to others
        said, claimed = place.look()
        is_new = said.is_new or 0 < awaited <= said.number
        asking = claimed > max(said.number, dead)
        if (is_new or not again) if said.end is not None else (is_new and not asking):
            break
        if asking:
            if place.wait(claimed, patience.left if again else WAIT_SECONDS):
                awaited = claimed
            elif again:
                break
            else:
                dead = claimed
        elif said.calls >= CALLS:
            break
        elif (ours := _ask(place, said.calls, put)) is not None:
            return ours
    return said


def _ask(place: Place, calls: int, put: Callable[[RunArgv], End | None]) -> Said | None:
    """None: somebody else asks. :raises OSError: no call can be claimed."""
    counted = _Counted(place, calls)
    end = put(counted)
    if counted.started:
        place.write(counted.calls, end)
        place.forget_old()
    lost = isinstance(counted.failed, FileExistsError)
    if counted.failed is not None and not counted.started and not lost:
        raise counted.failed
    return None if lost and end is None else Said(end, time.time(), counted.calls, counted.calls)


class _Counted:
    """A runner that starts a process only for a call that it has claimed. A program that is not there is no call."""

    def __init__(self, place: Place, calls: int) -> None:
        self._place = place
        self.calls = calls
        self.started = False
        self.failed: OSError | None = None

    def __call__(self, argv: Sequence[str], *, timeout: float) -> Answer:
        """:raises OSError: it was asked often enough, or somebody else asks; or as the runner does."""
        if not any(os.access(f"{directory}/{argv[0]}", os.X_OK) for directory in os.get_exec_path()):
            raise FileNotFoundError(f"there is no {argv[0]}")
        if self.failed is not None or self.calls >= CALLS:
            raise OSError("the scheduler has been asked often enough")
        try:
            self._place.claim(self.calls + 1)
        except OSError as error:
            self.failed = error
            raise
        self.calls += 1
        self.started = True
        return procs.run(argv, timeout=timeout)
