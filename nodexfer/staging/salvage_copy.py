"""Copying files so that the copies are proven: read, written, flushed, read again, compared by checksum.

The checksum is CRC-32 (zlib's, which uses the processor's carry-less multiplication and lets other threads run): what
is to be found is a damaged or a half copy, not a forger's, and at walltime every second counts. It is three times as
fast as the fastest of hashlib; a task of Globus compares checksums of its own on the way that follows.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nodexfer.clock import Deadline

#: Bytes read and written at once: what fits the second cache of a core, with room for others.
_BLOCK = 256 * 1024
#: Why a copy may be a mixture.
CHANGED = "it was written to while it was copied"
#: Threads. On a network's file system most of the time is waiting.
THREADS = 4


class Stopped(Exception):
    """The time is up, or the work was called off; the copy at hand is not whole."""


class Damaged(Exception):
    """What was read again is not what was written, or the source changed meanwhile."""


class Wanted(NamedTuple):
    """One file to copy. ``target`` does not exist yet."""

    source: str
    target: str
    size: int


class Copied(NamedTuple):
    size: int
    checksum: str


def copy(wanted: Wanted, buffer: bytearray, stopped: Callable[[], bool]) -> Copied:
    """Copy one file through ``buffer``; what its whole, proven copy has.

    :raises Stopped: ``stopped`` said so. :raises Damaged: it could not be proven. :raises OSError: as the system says.
        In each case the half copy is gone.
    """
    source = os.open(wanted.source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        before = os.fstat(source)
        if not stat.S_ISREG(before.st_mode):
            raise Damaged("it is no plain file")
        target = os.open(wanted.target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            size, checksum = _through(source, target, buffer, stopped)
            os.fsync(target)  # where a quota on a network's file system is found out
            # So that what is read is what the file system has, and not what this node remembers of it.
            os.posix_fadvise(target, 0, 0, os.POSIX_FADV_DONTNEED)
            os.lseek(target, 0, os.SEEK_SET)
            if _through(target, None, buffer, stopped) != (size, checksum):
                raise Damaged("its copy is not what was written")
            after = os.fstat(source)
            if (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns):
                raise Damaged(CHANGED)
            return Copied(size, f"crc32:{checksum:08x}")
        except BaseException:
            os.unlink(wanted.target)
            raise
        finally:
            os.close(target)
    finally:
        os.close(source)


def checksum(path: str, buffer: bytearray | None = None) -> Copied:
    """Of a file as it is now. :raises OSError: it can not be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size, found = _through(descriptor, None, buffer or bytearray(_BLOCK), lambda: False)
    finally:
        os.close(descriptor)
    return Copied(size, f"crc32:{found:08x}")


def _through(source: int, target: int | None, buffer: bytearray, stopped: Callable[[], bool]) -> tuple[int, int]:
    """Size and CRC-32 of what ``source`` has from here on; written to ``target`` on the way."""
    view, size, found = memoryview(buffer), 0, 0
    while count := os.readv(source, [buffer]):
        if stopped():
            raise Stopped
        block = view[:count]
        found = zlib.crc32(block, found)
        size += count
        while target is not None and block:
            block = block[os.write(target, block) :]
    return size, found


#: What became of a file: the copy, or why there is none.
Done = Callable[[int, "Copied | Exception"], None]


class Crew:
    """Threads that copy files in order, each the next that nobody has.

    :param done: called with the file's index and what became of it, in the thread that copied.
    :param deadline: seconds since the epoch.
    :param hopeless: whether there is no room for a file anyway.
    """

    def __init__(
        self,
        files: Sequence[tuple[int, Wanted]],
        done: Done,
        deadline: float,
        count: int = THREADS,
        hopeless: Callable[[Wanted], bool] = lambda _: False,
    ) -> None:
        self._files = iter(files)
        self._done = done
        #: Not the calendar's: one that is set meanwhile costs no file.
        self._deadline = Deadline.from_epoch(deadline)
        self._hopeless = hopeless
        self._lock = threading.Lock()
        self._called_off = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(count, len(files)))]
        for thread in self._threads:
            thread.start()

    @property
    def stopped(self) -> bool:
        return self._called_off or self._deadline.passed

    def call_off(self) -> None:
        self._called_off = True

    def wait(self, seconds: float) -> bool:
        """Whether all is done; at most ``seconds`` later (a thread may sit in the file system for longer)."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        buffer = bytearray(_BLOCK)
        while True:
            with self._lock:
                index, wanted = next(self._files, (-1, None))
            if wanted is None:
                return
            self._done(index, self._try(wanted, buffer))

    def _try(self, wanted: Wanted, buffer: bytearray) -> Copied | Exception:
        if self.stopped:
            return Stopped()
        if self._hopeless(wanted):
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            return copy(wanted, buffer, lambda: self.stopped)
        except (OSError, Damaged, Stopped) as error:
            return error
