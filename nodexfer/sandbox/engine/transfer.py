"""One attempt at a transfer: walk what has not been walked, make directories, copy what has not been copied."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

from nodexfer.sandbox.engine.control import FATAL, SKIPPABLE, UNREACHABLE, Control, Problem, Stopped
from nodexfer.sandbox.engine.copy import Copy, Ends
from nodexfer.sandbox.engine.journal import Journal
from nodexfer.sandbox.engine.remove import empty
from nodexfer.sandbox.engine.walk import Found, OnSkip, expand
from nodexfer.sandbox.model import FileJob, SkippedError
from nodexfer.sandbox.storage import Storage, StorageError

log = logging.getLogger(__name__)


class TransferAttempt:
    """Files are independent: one that fails keeps no other from its way, only an end that is gone does."""

    def __init__(self, ends: Ends, journal: Journal, control: Control, concurrency: int) -> None:
        self._ends = ends
        self._journal = journal
        self._task = journal.task
        self._control = control
        self._concurrency = concurrency
        self._problem: Problem | None = None
        self._lost = False

    def run(self) -> Problem | None:
        """None when everything is done. :raises Stopped: the task is to stop."""
        for number in list(self._task.unexpanded):
            self._control.check()
            self._guard(self._expand, number)
            if self._lost:
                return self._problem
        self._copy_all()
        self._control.check()
        if self._problem is None and any(job.state == "pending" for job in self._journal.files):
            return Problem("INTERNAL_ERROR", "A file was neither moved nor refused.", fatal=True)
        if self._problem is None and self._task.options.get("delete_destination_extra"):
            self._guard(self._delete_extra)
        return self._problem

    # sources ----------------------------------------------------------------------------------------------------

    def _expand(self, number: int) -> None:
        item = self._task.items[number]
        skip: OnSkip | None = self._skip if self._task.options.get("skip_source_errors") else None
        found = expand(self._ends.source, item, self._task.options, skip)
        self._make_directories(found)
        self._journal.found(found.files, len(found.directories), number)

    def _make_directories(self, found: Found) -> None:
        for path in found.directories:
            self._control.check()
            make_directory(self._ends.destination, path)

    def _skip(self, source: str, destination: str, error: StorageError, *, is_directory: bool = True) -> None:
        found = SkippedError(error.code, error.details, time.time(), source, destination, is_directory)
        self._journal.skipped(found)

    # files ------------------------------------------------------------------------------------------------------

    def _copy_all(self) -> None:
        pending = [job for job in self._journal.files if job.state == "pending"]
        todo = iter(pending)
        lock = threading.Lock()
        threads = [
            threading.Thread(target=self._work, args=(todo, lock), daemon=True)
            for _ in range(min(self._concurrency, len(pending)) - 1)
        ]
        for thread in threads:
            thread.start()
        self._work(todo, lock)
        for thread in threads:
            thread.join()

    def _work(self, todo: Iterator[FileJob], lock: threading.Lock) -> None:
        while not self._lost and not self._control.stopped:
            with lock:
                job = next(todo, None)
            if job is None:
                return
            try:
                self._guard(self._copy, job)
            except Stopped:
                return
            except Exception as error:  # a thread's top: a bug must fail the task, not lose a file
                log.exception("a bug of the sandbox")
                self._lost = True
                self._problem = Problem("INTERNAL_ERROR", f"{type(error).__name__}: {error}", fatal=True)

    def _copy(self, job: FileJob) -> None:
        copy = Copy(job, self._ends, self._task.options, self._journal, self._control)
        try:
            copy.run()
        except StorageError as error:
            skip = self._task.options.get("skip_source_errors")
            if not skip or error is not copy.at_source or error.code not in SKIPPABLE:
                raise
            self._skip(job.source, job.destination, error, is_directory=False)
            job.state = "omitted"
            self._journal.over(job)

    # the destination's extra files ------------------------------------------------------------------------------

    def _delete_extra(self) -> None:
        """Below recursive items, what the source does not have (Transfer API, delete_destination_extra)."""
        if self._task.skipped:
            self._journal.event("DELETE_DESTINATION_EXTRA_SKIPPED", "errors at the source were skipped")
            return
        for item in self._task.items:
            found = expand(self._ends.source, item, self._task.options, None)
            keep = set(found.directories) | {job.destination for job in found.files}
            for directory in found.directories:
                for entry in self._ends.destination.ls(directory):
                    self._control.check()
                    path = f"{directory}/{entry.name}"
                    if path not in keep:
                        empty(self._ends.destination, path, entry, self._control, lambda _: None)

    # errors -----------------------------------------------------------------------------------------------------

    def _guard(self, step: Callable[..., None], *arguments: object) -> None:
        """Do one step; its error is written down, and the attempt goes on unless an end is gone."""
        try:
            step(*arguments)
        except StorageError as error:
            self._lost = self._lost or error.code in UNREACHABLE
            if self._problem is None or error.code in FATAL:
                self._problem = Problem(error.code, error.details, error.code in FATAL)
            self._task.retrying += 1
            if error.code not in FATAL:
                self._journal.error(error.code, error.details)


def make_directory(storage: Storage, path: str) -> None:
    """``path`` and the parents that it lacks; one that is there already is as good."""
    try:
        storage.mkdir(path)
    except StorageError as error:
        parent = path.rstrip("/").rpartition("/")[0]
        if error.code == "FILE_NOT_FOUND" and parent:
            make_directory(storage, parent)
            storage.mkdir(path)
        elif error.code != "EXISTS":
            raise
        elif storage.stat(path).type != "dir":
            raise StorageError("NOT_A_DIRECTORY", f"{path} is there, and no directory.") from error
