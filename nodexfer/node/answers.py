"""What a job's scheduler was asked and said, for all nodes of the job: files in a directory that they share.

    ends/<job>/call.<n>     empty, made by who is about to start process n (O_EXCL: one of all nodes can), never removed
    ends/<job>/answer.<n>   what the processes up to n said, or that they said nothing; written whole by who made call.n

Times in there are the file server's, as far as it stamps files by its own clock: those of nodes may differ by hours.
What is long over is removed by who has asked: a few looks for each question, so that nobody ever has many.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

from nodexfer import records
from nodexfer.clock import Deadline
from nodexfer.errors import NodexferError
from nodexfer.identity import host
from nodexfer.node import rubbish
from nodexfer.paths import private_directory
from nodexfer.scheduler.protocol import NEW_SECONDS, End

#: Processes of the scheduler that a job starts to learn of its end.
CALLS = 3
#: What is removed: the end, and the last question, are over for so long; or the last question, where no end is known.
OLD_SECONDS, OLD_WITHOUT_END_SECONDS = 7 * 86400.0, 90 * 86400.0
#: Of how many jobs that is looked at, by each who asks.
_LOOKS = 16
#: Clocks that differ by no more (s) count as one: a file's stamp may be whole seconds.
_ONE_CLOCK_SECONDS = 2.0
_FIRST_PAUSE, _LAST_PAUSE = 0.02, 1.0


class Said(NamedTuple):
    """An answer, ``end`` is None where there was none; times by this node's clock. ``calls``: claimed so far."""

    end: End | None = None
    asked: float = 0.0
    calls: int = 0
    number: int = 0

    @property
    def is_new(self) -> bool:
        return abs(time.time() - self.asked) < NEW_SECONDS


class Place:
    """One directory of calls and answers. ``spent``: calls that are known, here or from elsewhere.

    :param whose: answers to others do not count; '' where the directory is of one run of the job.
    """

    def __init__(self, directory: str, spent: int = 0, whose: str = "") -> None:
        self._directory = directory
        self._whose = whose
        self.spent = spent
        self._skew: float | None = None

    def make(self) -> Place:
        """:raises NodexferError, OSError: it can not be made, or is open to others."""
        above = os.path.dirname(self._directory)
        os.makedirs(os.path.dirname(above), 0o700, exist_ok=True)
        private_directory(above)
        private_directory(self._directory)
        return self

    def look(self) -> tuple[Said, int]:
        """The last answer, and the last call that was claimed (0: none). :raises OSError: it can not be used."""
        calls, answers = self._numbers()
        self.spent = max(calls, self.spent)
        found = Said(calls=self.spent)
        for number, end, asked, whose in _read(self._directory, answers):
            if whose != self._whose:
                end, asked = None, 0.0
            if not found.number:
                found = found._replace(asked=asked - self._ahead(), number=number)
            if end is not None and end.at is not None:
                end = end._replace(at=end.at - self._ahead())
                end = None if end.is_past else end
            if end is not None:
                return found._replace(end=end), calls
        return found, calls

    def wait(self, call: int, seconds: float) -> bool:
        """Until ``call`` is answered, or the next one claimed. False: not within ``seconds``."""
        deadline, pause = Deadline(seconds), _FIRST_PAUSE
        while True:
            calls, answers = self._numbers()
            if calls > call or call in answers:
                return True
            if deadline.passed:
                return False
            time.sleep(min(pause, deadline.left))
            pause = min(_LAST_PAUSE, pause * 1.5)

    def claim(self, call: int) -> None:
        """:raises FileExistsError: somebody else asks. :raises OSError: it can not be written here."""
        self._touch(f"{self._directory}/call.{call}")
        self.spent = call

    def write(self, call: int, end: End | None) -> None:
        """What is said to ``call``. Where it can not be written the others do without."""
        try:
            ahead = self._ahead()
            at = None if end is None or end.at is None else end.at + ahead
            record = {"format": 1, "end": at, "source": end and end.source, "asked": time.time() + ahead}
            records.write(f"{self._directory}/answer.{call}", {**record, "whose": self._whose}, shared=True)
        except (NodexferError, OSError):
            pass

    def forget_old(self) -> None:
        """Remove of the jobs beside us some that are long over; nothing is raised."""
        try:
            _forget_old(os.path.dirname(self._directory), time.time() + self._ahead())
        except OSError:
            pass

    def _numbers(self) -> tuple[int, list[int]]:
        """The last call, and which are answered, the last first."""
        # The directory is opened each time: NFS asks the server then (close-to-open consistency, nfs(5)).
        names = set(os.listdir(self._directory))
        calls = [call for call in range(1, CALLS + 1) if f"call.{call}" in names]
        return max(calls, default=0), [call for call in range(CALLS, 0, -1) if f"answer.{call}" in names]

    def _ahead(self) -> float:
        """By how much (s) the file server's clock is ahead of ours. :raises OSError: it can not be written here."""
        if self._skew is None:
            path = f"{self._directory}/.now-{host()}-{os.getpid()}-{time.monotonic_ns()}"
            self._touch(path)
            os.unlink(path)
        assert self._skew is not None
        return self._skew

    def _touch(self, path: str) -> None:
        before = time.time()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.utime(descriptor)
            stamp = os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)
        now = time.time()
        one = before - _ONE_CLOCK_SECONDS <= stamp <= now + _ONE_CLOCK_SECONDS
        self._skew = 0.0 if one else stamp - now


def _read(directory: str, numbers: Sequence[int]) -> list[tuple[int, End | None, float, str]]:
    """The answers that can be read, in the order given: (number, what was said, when, to whom)."""
    found = []
    for number in numbers:
        try:
            record = records.read(f"{directory}/answer.{number}", 1) or {}
            at, source = record["end"], record["source"]
            end = None if source is None else End(None if at is None else float(at), str(source))
            found.append((number, end, float(record["asked"]), str(record["whose"])))
        except (NodexferError, OSError, KeyError, TypeError, ValueError):  # as good as none
            continue
    return found


def _forget_old(top: str, now: float) -> None:
    names = sorted(os.listdir(top))
    start = int.from_bytes(os.urandom(4), "big") % max(1, len(names))
    for name in [*names[start:], *names[:start]][:_LOOKS]:
        path: str | None = f"{top}/{name}"
        if not name.startswith(rubbish.PREFIX):  # half removed by somebody
            path = rubbish.hide(f"{top}/{name}", top) if _is_old(f"{top}/{name}", now) else None
        if path is not None:
            rubbish.remove(path)


def _is_old(directory: str, now: float) -> bool:
    try:
        last = os.lstat(directory).st_mtime
        if last > now - OLD_SECONDS:
            return False
        ends = [end for _, end, *_ in _read(directory, range(1, CALLS + 1)) if end is not None]
    except OSError:
        return False
    if not ends or None in [end.at for end in ends]:
        return last < now - OLD_WITHOUT_END_SECONDS
    return max(end.at or 0.0 for end in ends) < now - OLD_SECONDS
