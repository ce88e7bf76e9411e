"""Salvage: outputs that could not go out in time are copied to the shared file system, and every copy is proven.

In the job's own process: no leader, no endpoint and no service is needed. Space is proven by writing, since quotas and
``df`` do not agree: what fits is kept, file by file, and an output whole before the next. Dying at any moment leaves a
salvage whose journal knows what is whole; ``nodexfer resume`` sends it.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from nodexfer import identity
from nodexfer.clock import Deadline
from nodexfer.errors import HomeFull, NodexferError, OutputMissing
from nodexfer.staging import receipt, salvage_plan, salvage_record, spool
from nodexfer.staging.client import Client
from nodexfer.staging.journal import Copy, Journal
from nodexfer.staging.plan import Send
from nodexfer.staging.receipt import Receipt, ReceiptFile
from nodexfer.staging.request import Progress
from nodexfer.staging.salvage_copy import THREADS, Copied, Crew, Stopped, Wanted
from nodexfer.staging.salvage_plan import File, Survey
from nodexfer.staging.salvage_record import Salvage
from nodexfer.units import format_bytes

#: Seconds after the deadline that a thread gets to come back from the file system; then it is left behind.
_GRACE_SECONDS = 2.0
#: Bytes kept back for the last words, for each file and in all: a full disk must not silence us.
_WORDS = (512, 64 * 1024)
_NO_SPACE, _NO_TIME = "no space is left for it", "the time was up"


class Salvaged(NamedTuple):
    """What was saved. ``receipt`` is in state "salvaged", and names the copies as destinations."""

    receipt: Receipt
    directory: str
    #: What is not there, each as ``path: reason``.
    unsaved: tuple[str, ...]

    @property
    def files(self) -> tuple[ReceiptFile, ...]:
        return self.receipt.files


def save(
    who: Client,
    sends: Sequence[Send],
    *,
    first: Sequence[str] = (),
    deadline: float,
    overwrite: bool = False,
    merge: bool = False,
) -> Salvaged:
    """Copy outputs to ``salvage/<job>/<request>``; ends within 2 s of ``deadline`` (seconds since the epoch).

    What was written to last is saved first.

    :param first: shell patterns of what is saved before that, in this order; each matches a path from its end.
    :param overwrite: for the resume, as of :func:`nodexfer.staging.send.send`; so is ``merge``.
    :raises HomeFull: not everything fits; the message says what was saved and what was not, as the receipt does.
    :raises OutputMissing: there is nothing to save.
    :raises PermissionRefused: nothing can be written there.
    """
    left = Deadline.from_epoch(deadline)  # by a clock that nobody sets
    found = salvage_plan.survey(sends, first)
    if not found.outputs:
        raise OutputMissing(f"There is nothing to save: {'; '.join(found.refused)}.", "ls -la")
    salvage = _salvage(who, found, deadline, overwrite, merge)
    directory = salvage_record.make(who.config.home_paths, salvage)
    with salvage_record.claimed(directory):
        asked = _receipt(who, salvage, directory, found.renamed)
        saver = _Saver(who, found, directory, left)
        try:
            saver.run()
        finally:
            unsaved = saver.close()
            done = _close(who, salvage, directory, asked, saver.copies, unsaved)
    if saver.is_full:
        if not saver.copies:
            salvage_record.remove(directory)
            receipt.forget(who.config.home_paths, asked)
        raise _full(directory, salvage, saver.copies, unsaved)
    return Salvaged(done, directory, unsaved)


def _salvage(who: Client, found: Survey, deadline: float, overwrite: bool, merge: bool) -> Salvage:
    return Salvage(
        id=spool.new_id(),
        job=who.job.key,
        host=identity.host(),
        created=time.time(),
        until=deadline + _GRACE_SECONDS,
        overwrite=overwrite,
        merge=merge,
        items=tuple(sorted((output.item for output in found.outputs), key=lambda item: item.number)),
        unsaved=tuple(found.refused),
    )


def _receipt(who: Client, salvage: Salvage, directory: str, warnings: Sequence[str]) -> Receipt:
    """From the beginning: whoever finds it after a death is told of the salvage, and nothing is said to be whole.

    Where it can not be written, the outputs matter more.
    """
    asked = Receipt(
        id=salvage.id,
        state="salvaged",
        direction="out",
        job=salvage.job,
        host=salvage.host,
        created=salvage.created,
        salvage=directory,
        unsaved=salvage.unsaved,
        warnings=tuple(warnings),
    )
    try:
        return receipt.write(who.config.home_paths, asked)
    except NodexferError:
        return asked


class _Saver:
    """The copying. What each thread has done is in the journal; the rest is told at the end."""

    def __init__(self, who: Client, found: Survey, directory: str, left: Deadline) -> None:
        self._who = who
        self._found = found
        self._directory = directory
        self._left, self._over = left, Deadline(left.left + _GRACE_SECONDS)
        self._journal: Journal | None = None
        self._reserve = f"{directory}/reserve"
        self._refused: dict[int, str] = {}
        self._bytes = 0
        #: A file of so many bytes did not fit: nor will a larger one.
        self._limit: int | None = None
        #: Why what the journal says may not be found again.
        self._untold: OSError | None = None

    @property
    def is_full(self) -> bool:
        """Whether something is missing because there was no room for it."""
        return salvage_record.is_full(self._untold) or _NO_SPACE in self._refused.values()

    @property
    def copies(self) -> list[Copy]:
        return list(self._journal.copies) if self._journal is not None else []

    def run(self) -> None:
        files = self._found.files
        try:
            self._prepare(len(files))
        except OSError as error:
            self._say_why(range(len(files)), error)
            return
        self._copy([(index, file) for index, file in enumerate(files)], THREADS)
        # Side by side, several large files may have taken each other's room: now one after the other.
        again = [(index, file) for index, file in enumerate(files) if self._refused.get(index) == _NO_SPACE]
        if again:
            self._limit = None
            self._copy(again, 1)

    def _say_why(self, indices: Sequence[int], error: OSError) -> None:
        reason = _NO_SPACE if salvage_record.is_full(error) else str(error.strerror)
        self._refused.update(dict.fromkeys(indices, reason))

    def _prepare(self, count: int) -> None:
        self._journal = Journal(self._directory)
        with open(self._reserve, "wb") as file:
            file.write(bytes(_WORDS[0] * count + _WORDS[1]))
            file.flush()
            os.fsync(file.fileno())
        for output in self._found.outputs:
            top = f"{self._directory}/data/{output.item.number}"
            if output.item.is_directory:
                os.mkdir(top, 0o700)
            for path in output.directories:
                os.mkdir(os.path.join(top, path), 0o700)

    def _copy(self, files: Sequence[tuple[int, File]], threads: int) -> None:
        wanted = [(index, Wanted(file.source, f"{self._directory}/part/{index}", file.size)) for index, file in files]
        crew = Crew(wanted, self._done, self._left.at, threads, self._hopeless)
        total = sum(file.size for file in self._found.files)
        try:
            while not crew.wait(0.2) and not self._over.passed:
                self._who.on_progress(
                    Progress(state="saving to the shared file system", bytes_done=self._bytes, bytes_total=total)
                )
        except BaseException:
            crew.call_off()
            crew.wait(_GRACE_SECONDS)
            raise

    def _hopeless(self, wanted: Wanted) -> bool:
        return self._limit is not None and wanted.size >= self._limit

    def _done(self, index: int, found: Copied | Exception) -> None:
        """In the threads. Nothing here is read by another one before they are done."""
        file = self._found.files[index]
        error = self._note(index, file, found) if isinstance(found, Copied) else found
        if error is None:
            self._refused.pop(index, None)
        elif salvage_record.is_full(error):
            self._limit = min(file.size, self._limit if self._limit is not None else file.size)
            self._refused[index] = _NO_SPACE
        elif isinstance(error, Stopped):
            self._refused.setdefault(index, _NO_TIME)
        else:
            self._refused[index] = str(error.strerror if isinstance(error, OSError) else error)

    def _note(self, index: int, file: File, found: Copied) -> Exception | None:
        assert self._journal is not None
        copy = Copy(index, file.number, file.path, file.source, found.size, found.checksum)
        try:
            if not self._journal.add(copy):
                return Stopped()
        except OSError as error:
            os.unlink(copy.part(self._directory))
            return error
        self._bytes += found.size
        return None

    def close(self) -> tuple[str, ...]:
        """From now on nothing counts any more; what is not saved, and why."""
        try:
            os.unlink(self._reserve)
        except OSError:
            pass
        if self._journal is not None:
            try:
                self._journal.close()
            except OSError as error:
                self._untold = error
        have = {copy.order for copy in self.copies}
        rest = [
            f"{file.source}: {self._refused.get(index, _NO_TIME)}"
            for index, file in enumerate(self._found.files)
            if index not in have
        ]
        if self._untold is not None:
            rest.append(f"{self._directory}/journal: {self._untold.strerror}: what it lists may be lost with this node")
        return (*self._found.refused, *rest)


def _close(
    who: Client, salvage: Salvage, directory: str, asked: Receipt, copies: Sequence[Copy], unsaved: tuple[str, ...]
) -> Receipt:
    """Say what there is. Where even that has no room, the journal has said it."""
    files = tuple(ReceiptFile(copy.source, copy.place(directory), copy.size, copy.checksum) for copy in copies)
    done = msgspec.structs.replace(
        asked,
        finished=time.time(),
        bytes=sum(file.size for file in files),
        files=files,
        unsaved=unsaved,
    )
    try:
        salvage_record.write(directory, msgspec.structs.replace(salvage, state="saved", unsaved=unsaved))
        return receipt.write(who.config.home_paths, done)
    except (NodexferError, OSError):
        return done


def _full(directory: str, salvage: Salvage, copies: Sequence[Copy], unsaved: Sequence[str]) -> HomeFull:
    size = format_bytes(sum(copy.size for copy in copies))
    named = ", ".join(copy.source for copy in copies[:3]) + (" ..." if len(copies) > 3 else "")
    saved = f"{len(copies)} files ({size}) are saved in {directory}: {named}" if copies else "nothing was saved"
    missing = "; ".join(unsaved[:3]) + (f"; and {len(unsaved) - 3} more" if len(unsaved) > 3 else "")
    return HomeFull(
        f"The shared file system has no room for all outputs. Of them, {saved}. Not saved: {missing}.",
        f"nodexfer resume {salvage.id}" if copies else f"df -h {shlex.quote(os.path.dirname(directory))}",
    )
