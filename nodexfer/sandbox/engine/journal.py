"""The record of one task: counters, events, files; in memory at once, on disk soon."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from typing import Literal

import msgspec

from nodexfer.sandbox.faults import Faults
from nodexfer.sandbox.model import Event, FileJob, SkippedError, Task
from nodexfer.sandbox.store import Store

log = logging.getLogger(__name__)

#: Progress is written at most so often, in seconds; a server that dies forgets no more than this.
SAVE_SECONDS = 0.25
#: Older events of a task that goes on failing are forgotten, the first ones are kept.
EVENT_LIMIT = 1000

DESCRIPTIONS = {"GC_NOT_CONNECTED": "Globus Connect not connected", "VERIFY_CHECKSUM": "checksum verification failed"}


def describe(code: str) -> str:
    return DESCRIPTIONS.get(code, code.replace("_", " ").lower())


class Journal:
    """All workers of a task write here; every method takes the task's own lock."""

    def __init__(self, task: Task, files: list[FileJob], store: Store, faults: Faults) -> None:
        self.task = task
        self.files = files
        self._store = store
        self._faults = faults
        self._lock = threading.RLock()
        self._changed: dict[int, FileJob] = {}
        self._saved = 0.0
        self._forgotten = False
        self._told: dict[tuple[str, str], float] = {}
        self._progress_at = time.monotonic()
        self._progress_bytes = task.bytes_transferred

    # events -----------------------------------------------------------------------------------------------------

    def event(self, code: str, details: str, *, is_error: bool = False) -> None:
        with self._lock:
            events = self.task.events
            events.append(Event(code, describe(code), details, is_error, time.time()))
            if len(events) > EVENT_LIMIT:
                del events[EVENT_LIMIT // 2]

    def error(self, code: str, details: str, *, always: bool = False) -> None:
        """An error: it shows as nice_status until something moves again; the same is said anew only now and then."""
        with self._lock:
            self.task.nice, self.task.nice_details = code, details
            now = time.monotonic()
            last = self._told.get((code, details))
            if always or last is None or now - last >= self._faults.switches.event_seconds:
                self._told[code, details] = now
                self.task.faults += 1
                self.event(code, details, is_error=True)

    def skipped(self, error: SkippedError) -> None:
        with self._lock:
            self.task.skipped.append(error)

    # progress ---------------------------------------------------------------------------------------------------

    def moved(self, job: FileJob, confirmed: int) -> None:
        """The destination has confirmed the file up to this offset: what is counted and where to go on are one."""
        with self._lock:
            self.task.bytes_transferred += confirmed - job.offset
            job.offset = confirmed
            self._changed[job.number] = job
            self.well()
            if time.monotonic() - self._progress_at >= self._faults.switches.event_seconds:
                self.progress()
            self.save_soon()

    def well(self) -> None:
        with self._lock:
            self.task.nice, self.task.nice_details = "OK", None

    def progress(self) -> None:
        """A PROGRESS event, if anything moved since the last."""
        with self._lock:
            count = self.task.bytes_transferred - self._progress_bytes
            seconds = time.monotonic() - self._progress_at
            self._progress_at, self._progress_bytes = time.monotonic(), self.task.bytes_transferred
            if count:
                rate = round(count * 8e-6 / max(seconds, 1e-6), 2)
                self.event(
                    "PROGRESS", json.dumps({"bytes_transferred": count, "duration": round(seconds, 3), "mbps": rate})
                )

    def checksummed(self, count: int) -> None:
        with self._lock:
            self.task.bytes_checksummed += count

    def found(self, files: list[FileJob], directories: int, item: int) -> None:
        """One item has been walked: these are its files."""
        with self._lock:
            for number, job in enumerate(files, len(self.files)):
                job.number = number
                self._changed[number] = job
            self.files.extend(files)
            self.task.files = len(self.files)
            self.task.directories += directories
            self.task.unexpanded.remove(item)

    def over(self, job: FileJob) -> None:
        """The standing of one file has changed for good."""
        with self._lock:
            task = self.task
            task.files_transferred += job.state == "moved"
            task.files_skipped += job.state == "skipped"
            if not task.deadline_given:
                task.deadline = max(task.deadline, time.time() + 72 * 3600.0)
            self.well()
            self.changed(job)

    def deleted(self, directory: bool) -> None:
        with self._lock:
            if directory:
                self.task.directories += 1
            else:
                self.task.files += 1
            self.well()
            self.save_soon()

    # disk -------------------------------------------------------------------------------------------------------

    def changed(self, job: FileJob) -> None:
        with self._lock:
            self._changed[job.number] = job
            self.save_soon()

    def save_soon(self) -> None:
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self.try_save()

    def try_save(self) -> None:
        """As :meth:`save`; a disk that is full keeps no byte from moving, and what was not kept is tried again."""
        try:
            self.save()
        except sqlite3.Error as error:
            log.error("task %s is not on disk: %s", self.task.id, error)  # noqa: TRY400  (no bug: no traceback)

    def forget(self) -> None:
        """The sandbox was reset: what still runs down writes nothing any more."""
        with self._lock:
            self._forgotten = True

    def save(self) -> None:
        """The task and its files, in one piece: a walked item is never without its files. :raises sqlite3.Error:"""
        self._save(self.task)

    def finish(self, status: Literal["SUCCEEDED", "FAILED"]) -> None:
        """The end is on disk before anybody can see it."""
        with self._lock:
            completed = time.time()
            try:
                self._save(msgspec.structs.replace(self.task, status=status, completed=completed))
            except sqlite3.Error as error:
                log.error("the end of task %s is not on disk: %s", self.task.id, error)  # noqa: TRY400  (as above)
            self.task.completed = completed
            self.task.status = status

    def _save(self, task: Task) -> None:
        with self._lock:
            if self._forgotten:
                return
            self._saved = time.monotonic()
            files = [(f"files/{task.id}", f"{number:09d}", job) for number, job in self._changed.items()]
            self._store.save_all([*files, ("task", task.id, task)])
            self._changed = {}
