"""The queue: which task runs now, which waits for a slot, which for its next try, and when each is over.

A task holds a slot only while it runs: one that is backing off from an error gives its slot to the next (Transfer API,
task_behavior).
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Literal

from nodexfer.clock import Deadline
from nodexfer.sandbox.catalog import Catalog
from nodexfer.sandbox.engine.control import Control, Problem, Reason, Stopped
from nodexfer.sandbox.engine.copy import Ends
from nodexfer.sandbox.engine.entry import Closed, Entry
from nodexfer.sandbox.engine.journal import Journal, describe
from nodexfer.sandbox.engine.remove import DeleteAttempt
from nodexfer.sandbox.engine.transfer import TransferAttempt
from nodexfer.sandbox.faults import Faults
from nodexfer.sandbox.model import Endpoint, FileJob, Task
from nodexfer.sandbox.storage import Storage, StorageError
from nodexfer.sandbox.store import Store

log = logging.getLogger(__name__)

#: A queued task shows its last error, not "Queued", for so long (Transfer API, task_behavior).
ERROR_SHOWN_SECONDS = 900.0
QUEUED_EXTENSION_SECONDS = 24 * 3600.0

CancelCode = Literal["Canceled", "CancelAccepted", "TaskComplete"]


class Engine:
    """Any thread may call. One thread of its own watches the clock; each running task has one more."""

    def __init__(self, store: Store, catalog: Catalog, faults: Faults) -> None:
        self._store = store
        self._catalog = catalog
        self._faults = faults
        self._changed = threading.Condition(threading.RLock())
        self._closed: Reason | None = None
        self._entries: dict[str, Entry] = {}
        self._submissions: dict[tuple[str, str], str] = {}
        for task in sorted(store.load("task", Task).values(), key=lambda task: task.requested):
            files = list(store.load(f"files/{task.id}", FileJob).values())
            self._add(task, files)
        faults.listeners.append(self.kick)
        self._clock = threading.Thread(target=self._watch, name="engine clock", daemon=True)

    def start(self) -> None:
        self._clock.start()

    # what clients ask -------------------------------------------------------------------------------------------

    def submit(self, task: Task) -> Task:
        """The task itself, or the one that came under the same submission id before.

        :raises Closed: the engine is being stopped. :raises sqlite3.Error: the task can not be kept.
        """
        with self._changed:
            known = self._submissions.get((task.owner, task.submission_id))
            if known is not None:
                return self._entries[known].task
            if self._closed is not None:
                raise Closed
            task.unexpanded = list(range(len(task.items)))
            # Whoever is told "accepted" can rely on it: what is not on disk was never submitted.
            Journal(task, [], self._store, self._faults).save()
            self._add(task, [])
            self._dispatch()
            self._changed.notify_all()
            return task

    def submitted(self, owner: str, submission_id: str) -> Task | None:
        with self._changed:
            known = self._submissions.get((owner, submission_id))
            return None if known is None else self._entries[known].task

    def find(self, id: str) -> Task | None:
        entry = self._entries.get(id)
        return None if entry is None else entry.task

    def files(self, id: str) -> list[FileJob]:
        return self._entries[id].journal.files

    def tasks(self, owner: str) -> list[Task]:
        """Newest first."""
        with self._changed:
            found = [entry.task for entry in self._entries.values() if entry.task.owner == owner]
        return sorted(found, key=lambda task: task.requested, reverse=True)

    def all(self) -> list[Task]:
        with self._changed:
            return [entry.task for entry in self._entries.values()]

    def cancel(self, id: str, seconds: float = 10.0) -> CancelCode:
        """End a task. ``Canceled`` means that nothing of it moves any more; else that comes later (CancelAccepted)."""
        with self._changed:
            entry = self._entries[id]
            if entry.task.over:
                return "TaskComplete"
            if entry.control is None:
                self._finish(entry, "CANCELED", "The task was canceled.")
            else:
                entry.control.stop("canceled")
        return "Canceled" if entry.over.wait(seconds) else "CancelAccepted"

    def update(self, id: str, fields: dict[str, Any]) -> None:
        """``label`` and ``deadline`` (epoch seconds), the two that a running task lets change."""
        with self._changed:
            entry = self._entries[id]
            if "label" in fields:
                entry.task.label = fields["label"]
            if "deadline" in fields:
                entry.task.deadline, entry.task.deadline_given = fields["deadline"], True
            entry.journal.try_save()
            self._changed.notify_all()

    def kick(self) -> None:
        """Something outside has changed: look at the queue again."""
        with self._changed:
            self._changed.notify_all()

    def close(self, reason: Reason, seconds: float = 5.0) -> None:
        """Stop all that runs; after a shutdown it goes on when the next server starts. Worst case ``seconds``."""
        with self._changed:
            self._closed = reason
            running = [entry for entry in self._entries.values() if entry.control is not None]
            for entry in running:
                if entry.control is not None:
                    entry.control.stop(reason)
            self._changed.notify_all()
            deadline = Deadline(seconds)
            while any(entry.control is not None for entry in running) and not deadline.passed:
                self._changed.wait(deadline.left)
            if reason == "reset":
                for entry in self._entries.values():
                    entry.journal.forget()

    # the queue --------------------------------------------------------------------------------------------------

    def _add(self, task: Task, files: list[FileJob]) -> Entry:
        entry = Entry(task, Journal(task, files, self._store, self._faults))
        self._entries[task.id] = entry
        self._submissions[task.owner, task.submission_id] = task.id
        return entry

    def _watch(self) -> None:
        with self._changed:
            while self._closed is None:
                wait = 1.0
                try:
                    self._expire()
                    wait = self._dispatch()
                except Exception:  # a thread's top: with it every queue would stand still
                    log.exception("the engine's clock")
                self._changed.wait(wait)

    def _dispatch(self) -> float:
        """Start what may start; seconds until there is something to look at again."""
        if self._closed is not None:
            return 1.0
        now = time.monotonic()
        slots: dict[tuple[str, str], int] = {}
        for entry in self._entries.values():
            if entry.control is not None:
                key = (entry.task.owner, entry.task.type)
                slots[key] = slots.get(key, 0) + 1
        wait = 1.0
        for entry in self._entries.values():
            if entry.task.over:
                continue
            left = entry.task.deadline - time.time()
            wait = min(wait, left) if left > 0 else wait
            if entry.control is not None:
                continue
            key = (entry.task.owner, entry.task.type)
            if entry.ready_at > now:
                wait = min(wait, entry.ready_at - now)
            elif slots.get(key, 0) < self._faults.switches.active_tasks:
                slots[key] = slots.get(key, 0) + 1
                self._start(entry)
            elif now - entry.failed_at > ERROR_SHOWN_SECONDS or not entry.failed_at:
                entry.task.nice, entry.task.nice_details = "Queued", None
        return wait

    def _start(self, entry: Entry) -> None:
        entry.control = Control()
        if entry.task.nice == "Queued":
            entry.task.nice = "OK"
        thread = threading.Thread(
            target=self._run, args=(entry, entry.control), name=f"task {entry.task.id}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the machine has no thread for us now
            log.exception("task %s is put off", entry.task.id)
            entry.control = None
            entry.ready_at = time.monotonic() + 1.0

    def _expire(self) -> None:
        now = time.time()
        for entry in self._entries.values():
            task = entry.task
            if task.over or task.deadline > now:
                continue
            if not task.deadline_given and task.nice == "Queued":
                task.deadline = now + QUEUED_EXTENSION_SECONDS
            elif entry.control is not None:
                entry.control.stop("expired")
            else:
                self._finish(entry, "EXPIRED", "The deadline of the task has passed.")

    # one attempt ------------------------------------------------------------------------------------------------

    def _run(self, entry: Entry, control: Control) -> None:
        """The body of a task's thread: one attempt, and what follows from it."""
        journal = entry.journal
        problem: Problem | None = None
        try:
            self._announce(entry)
            problem = self._attempt(entry, control)
        except Stopped:
            pass
        except StorageError as error:
            problem = Problem(error.code, error.details, error.code == "ENDPOINT_ERROR")
            if not problem.fatal:
                journal.error(error.code, error.details)
        except Exception as error:  # a thread's top: a bug must end the task, not hang it
            log.exception("a bug of the sandbox")
            problem = Problem("INTERNAL_ERROR", f"{type(error).__name__}: {error}", fatal=True)
        journal.progress()
        with self._changed:
            entry.control = None
            self._conclude(entry, control, problem)
            self._dispatch()
            self._changed.notify_all()

    def _announce(self, entry: Entry) -> None:
        if entry.task.started:
            return
        entry.task.started = True
        concurrency = self._faults.switches.concurrency
        details = f'{{"type": "GridFTP Transfer", "concurrency": {concurrency}, "parallelism": 4, "pipelining": 20}}'
        entry.journal.event("STARTED", details if entry.task.type == "TRANSFER" else '{"type": "GridFTP Delete"}')

    def _attempt(self, entry: Entry, control: Control) -> Problem | None:
        task = entry.task
        task.retrying = 0
        source = self._open(task.source)
        if task.type == "DELETE":
            return DeleteAttempt(source, entry.journal, control).run()
        ends = Ends(source, self._open(str(task.destination)))
        return TransferAttempt(ends, entry.journal, control, self._faults.switches.concurrency).run()

    def _open(self, id: str) -> Storage:
        endpoint: Endpoint | None = self._catalog.find(id)
        if endpoint is None:
            raise StorageError("ENDPOINT_ERROR", f"There is no endpoint {id} any more.")
        return self._catalog.storage(endpoint)

    def _conclude(self, entry: Entry, control: Control, problem: Problem | None) -> None:
        if control.reason == "canceled":
            self._finish(entry, "CANCELED", "The task was canceled.")
        elif control.reason == "expired":
            self._finish(entry, "EXPIRED", "The deadline of the task has passed.")
        elif control.reason is not None:
            entry.journal.try_save()
        elif problem is None:
            self._finish(entry, None, "")
        elif problem.fatal:
            entry.journal.error(problem.code, problem.details)
            self._finish(entry, problem.code, problem.details)
        else:
            entry.failed_at = time.monotonic()
            entry.ready_at = entry.failed_at + self._faults.switches.resume_seconds
            entry.task.nice, entry.task.nice_details = problem.code, problem.details
            entry.journal.try_save()

    def _finish(self, entry: Entry, fatal_code: str | None, details: str) -> None:
        """``fatal_code`` None is success."""
        task = entry.task
        if fatal_code is None:
            if task.skipped:
                entry.journal.event("SKIPPED_ERRORS", f"{len(task.skipped)} errors at the source were skipped")
            entry.journal.event("SUCCEEDED", f'{{"files_succeeded": {task.files_transferred}}}')
        else:
            if fatal_code in ("CANCELED", "EXPIRED"):
                entry.journal.event(fatal_code, details, is_error=fatal_code == "EXPIRED")
            task.fatal_code, task.fatal_description = fatal_code, describe(fatal_code)
        entry.journal.finish("SUCCEEDED" if fatal_code is None else "FAILED")
        entry.over.set()
