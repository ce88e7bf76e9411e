"""One file from one collection to another: from the last confirmed byte on, until the checksums agree."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

from nodexfer.sandbox.engine.control import Control
from nodexfer.sandbox.engine.journal import Journal
from nodexfer.sandbox.model import FileJob
from nodexfer.sandbox.storage import Stat, Storage, StorageError

#: From this size on both sides read for their checksums at once; below, a thread takes longer to start.
BESIDE_BYTES = 1024 * 1024


class Ends(NamedTuple):
    source: Storage
    destination: Storage


class Copy:
    """The copying of one file. ``at_source`` is the error that the source gave, if one did."""

    def __init__(self, job: FileJob, ends: Ends, options: dict[str, Any], journal: Journal, control: Control) -> None:
        self._job = job
        self._ends = ends
        self._journal = journal
        self._control = control
        self._verify = bool(options.get("verify_checksum")) or job.external_checksum is not None
        self._sync = options.get("sync_level")
        self._keep_time = bool(options.get("preserve_timestamp"))
        self.at_source: StorageError | None = None

    def run(self) -> None:
        """Bring the file across, or find that it need not be.

        :raises StorageError: it is not there yet; the job remembers how far it got.
        :raises Stopped: the task is to stop.
        """
        self._control.check()
        job = self._job
        if job.offset:
            self._look_again()
        elif not self._needed():
            job.state = "skipped"
            self._journal.over(job)
            return
        while True:
            self._move()
            if not self._verify or self._agrees():
                break
            job.offset = 0
            message = f"{job.destination}: the checksums differ; the file is sent again."
            self._journal.error("VERIFY_CHECKSUM", message, always=True)
            self._control.check()
            self._restat()
        job.state = "moved"
        self._journal.over(job)

    # is there anything to do ------------------------------------------------------------------------------------

    def _needed(self) -> bool:
        """Sync levels (Transfer API, task_submit): 0 exists, 1 size, 2 time, 3 checksum."""
        if self._sync is None:
            return True
        there = self._at_destination()
        if there is None or self._sync == 0:
            return there is None
        if there.size != self._job.size:
            return True
        if self._sync == 2:
            return there.modified < self._job.modified
        return self._sync == 3 and not self._agrees()

    def _look_again(self) -> None:
        """Going on in the middle needs the same source, and a destination that has what it confirmed."""
        job = self._job
        size, modified = job.size, job.modified
        self._restat()
        there = self._at_destination()
        if there is None or there.size < job.offset or (job.size, job.modified) != (size, modified):
            job.offset = 0

    def _restat(self) -> None:
        try:
            found = self._ends.source.stat(self._job.source)
        except StorageError as error:
            self.at_source = error
            raise
        self._job.size, self._job.modified = found.size, found.modified

    def _at_destination(self) -> Stat | None:
        try:
            return self._ends.destination.stat(self._job.destination)
        except StorageError as error:
            if error.code == "FILE_NOT_FOUND":
                return None
            raise

    # the bytes --------------------------------------------------------------------------------------------------

    def _move(self) -> None:
        job = self._job
        modified = job.modified if self._keep_time else None
        begin = job.offset
        for confirmed in self._ends.destination.write(job.destination, begin, self._blocks(begin), modified):
            self._journal.moved(job, confirmed)
        if job.offset != job.size:
            size, job.offset = job.offset, 0
            message = f"{job.source} had {job.size} bytes when it was looked at and {size} when it was read."
            self._restat()
            raise StorageError("FILE_SIZE_CHANGED", message)

    def _blocks(self, begin: int) -> Iterator[bytes]:
        try:
            for block in self._ends.source.read(self._job.source, begin):
                self._control.check()
                yield block
        except StorageError as error:
            self.at_source = error
            raise

    def _agrees(self) -> bool:
        """Both sides read what lies there, once nothing moves any more."""
        job = self._job
        beside = _Beside(self._ends.destination, job) if job.size >= BESIDE_BYTES else None
        try:
            ours = self._ends.source.checksum(job.source, job.algorithm)
        except StorageError as error:
            self.at_source = error
            raise
        if job.external_checksum is not None and ours.lower() != job.external_checksum.lower():
            raise StorageError("EXTERNAL_CHECKSUM_MISMATCH", f"{job.source} does not have the checksum that was given.")
        theirs = beside.result() if beside else self._ends.destination.checksum(job.destination, job.algorithm)
        self._journal.checksummed(job.size)
        if ours != theirs:
            return False
        job.checksum = ours
        return True


class _Beside:
    """The destination's checksum, computed in a thread of its own while the source computes its own."""

    def __init__(self, destination: Storage, job: FileJob) -> None:
        self._found = ""
        self._error: Exception | None = None
        self._thread = threading.Thread(
            target=self._run, args=(destination, job.destination, job.algorithm), daemon=True
        )
        self._thread.start()

    def _run(self, destination: Storage, path: str, algorithm: str) -> None:
        try:
            self._found = destination.checksum(path, algorithm)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is raised where the result is wanted)
            self._error = error

    def result(self) -> str:
        """:raises StorageError: the destination's own."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found
