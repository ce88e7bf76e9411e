"""A small Globus in memory, behind the protocol: it moves real bytes between local directories, and fails on request.

For the desk's decisions, in one process and without waiting; whole flows are tested with the sandbox.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from nodexfer.errors import DestinationExists, EndpointFailed, NodexferError, SourceMissing
from nodexfer.globus.protocol import Collection, Entry, Event, Moved, NewEndpoint, Submission, Task, TransferItem

IDENTITY = "11111111-1111-4111-8111-111111111111"


class Job:
    """One task, and what it would do."""

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.moved: list[Moved] = []
        self.events: list[Event] = []
        self.document = Task(
            id=str(uuid.uuid4()),
            status="ACTIVE",
            label=submission.label,
            source_endpoint=submission.source_endpoint,
            destination_endpoint=submission.destination_endpoint,
            bytes_transferred=0,
            files=0,
            files_transferred=0,
            files_skipped=0,
            directories=0,
            faults=0,
            skipped_errors=0,
            nice_status="OK",
            nice_details=None,
            fatal_code=None,
            fatal_description=None,
        )

    def change(self, **fields: Any) -> None:
        self.document = msgspec.structs.replace(self.document, **fields)

    def fault(self, code: str, details: str) -> None:
        self.change(faults=self.document.faults + 1, nice_status=code, nice_details=details)
        self.events.insert(0, Event(code, True, code.lower().replace("_", " "), details, "now"))


class LocalGlobus:
    """``collections``: id -> the directory that its ``/`` is.

    A task moves at the first poll after its submission, unless its endpoint is ``offline``, it is ``held``, or a path
    of it is in ``failing`` (path -> event code): then it stays ACTIVE, with faults, as the real one does.
    """

    service = "http://local.invalid"

    def __init__(self, collections: Mapping[str, str]) -> None:
        self.collections = dict(collections)
        self.owners = dict.fromkeys(collections, IDENTITY)
        self.jobs: dict[str, Job] = {}
        self.offline: set[str] = set()
        self.failing: dict[str, str] = {}
        self.held = False
        self.drop_moved: set[str] = set()
        self.truncate: set[str] = set()
        self.skipped = 0
        #: Tasks that task_list does not name (yet, or any more).
        self.unlisted: set[str] = set()
        #: Renames that are done and whose answer is lost: the client's own retry then finds nothing to rename.
        self.lost_renames: set[str] = set()
        #: method -> errors to raise, first first.
        self.errors: dict[str, list[NodexferError]] = {}
        self.calls: list[str] = []
        self._submitted: dict[str, str] = {}
        self._lock = threading.RLock()

    def _called(self, method: str) -> None:
        self.calls.append(method)
        if self.errors.get(method):
            raise self.errors[method].pop(0)

    def path(self, collection: str, path: str) -> str:
        if collection in self.offline:
            raise EndpointFailed("The GCP endpoint is not currently connected to Globus.")
        return f"{self.collections[collection].rstrip('/')}{path}"

    # The protocol -----------------------------------------------------------------------------------------------

    def identity(self) -> str:
        return IDENTITY

    def create_endpoint(self, name: str) -> NewEndpoint:
        raise NotImplementedError(name)

    def delete_endpoint(self, endpoint: str) -> None:
        raise NotImplementedError(endpoint)

    def collection(self, collection: str) -> Collection:
        self._called("collection")
        connected = collection not in self.offline
        return Collection(collection, f"name of {collection}", self.owners[collection], True, connected)

    def ls(self, collection: str, path: str) -> Sequence[Entry]:
        self._called("ls")
        try:
            with os.scandir(self.path(collection, path)) as entries:
                return [_entry(entry.name, entry.path) for entry in entries]
        except FileNotFoundError as error:
            raise SourceMissing(f"{path} does not exist.") from error

    def stat(self, collection: str, path: str) -> Entry:
        self._called("stat")
        try:
            return _entry(os.path.basename(path), self.path(collection, path))
        except FileNotFoundError as error:
            raise SourceMissing(f"{path} does not exist.") from error

    def mkdir(self, collection: str, path: str) -> None:
        self._called("mkdir")
        try:
            os.mkdir(self.path(collection, path))
        except FileExistsError as error:
            raise DestinationExists(f"{path} exists.") from error

    def rename(self, collection: str, old: str, new: str) -> None:
        self._called("rename")
        if os.path.lexists(self.path(collection, new)):
            raise DestinationExists(f"{new} exists.")
        try:
            os.rename(self.path(collection, old), self.path(collection, new))
        except FileNotFoundError as error:
            raise SourceMissing(f"{old} does not exist.") from error
        if old in self.lost_renames:
            self.lost_renames.remove(old)
            raise SourceMissing(f"{old} does not exist.")

    def submission_id(self) -> str:
        self._called("submission_id")
        return str(uuid.uuid4())

    def submit(self, submission: Submission) -> str:
        with self._lock:
            self._called("submit")
            known = self._submitted.get(submission.submission_id)
            if known is None:
                job = Job(submission)
                known = self._submitted[submission.submission_id] = job.document.id
                self.jobs[known] = job
            if self.errors.get("submitted"):
                raise self.errors["submitted"].pop(0)
            return known

    def delete(self, submission_id: str, collection: str, paths: Iterable[str], label: str) -> str:
        self._called("delete")
        for path in paths:
            where = self.path(collection, path)
            if os.path.isdir(where):
                shutil.rmtree(where)
            else:
                os.unlink(where)
        job = Job(Submission(submission_id, collection, collection, (), label, ""))
        job.change(status="SUCCEEDED")
        self.jobs[job.document.id] = job
        return job.document.id

    def tasks(self, ids: Sequence[str]) -> Mapping[str, Task]:
        with self._lock:
            self._called("tasks")
            for name in ids:
                if self.jobs[name].document.status == "ACTIVE" and not self.held:
                    self._move(self.jobs[name])
            return {name: self.jobs[name].document for name in ids if name not in self.unlisted}

    def unfinished_tasks(self, endpoint: str) -> Sequence[Task]:
        self._called("unfinished_tasks")
        found = [job.document for job in self.jobs.values() if not job.document.over]
        return [task for task in found if endpoint in (task.source_endpoint, task.destination_endpoint)]

    def cancel(self, task: str) -> None:
        with self._lock:
            self._called("cancel")
            job = self.jobs[task]
            if job.document.status in ("ACTIVE", "INACTIVE"):
                job.change(status="FAILED", fatal_code="CANCELED", fatal_description="cancelled", nice_status=None)

    def events(self, task: str, limit: int = 20) -> Sequence[Event]:
        self._called("events")
        return self.jobs[task].events[:limit]

    def moved(self, task: str) -> Iterable[Moved]:
        self._called("moved")
        return [one for one in self.jobs[task].moved if one.destination not in self.drop_moved]

    # What a task does -------------------------------------------------------------------------------------------

    def _move(self, job: Job) -> None:
        sides = {job.submission.source_endpoint, job.submission.destination_endpoint}
        if sides & self.offline:
            job.fault("GC_NOT_CONNECTED", "The Globus Connect Personal endpoint is not currently connected.")
            return
        for item in job.submission.items:
            for path in (item.source, item.destination):
                if path in self.failing:
                    job.fault(self.failing[path], f"Error (transfer)\nPath: {path}")
                    return
        for item in job.submission.items:
            try:
                self._move_item(job, item)
            except FileNotFoundError:
                job.fault("FILE_NOT_FOUND", f"Error (transfer)\nPath: {item.source}")
                return
        job.change(status="SUCCEEDED", nice_status=None, skipped_errors=self.skipped)

    def _move_item(self, job: Job, item: TransferItem) -> None:
        source = self.path(job.submission.source_endpoint, item.source)
        target = self.path(job.submission.destination_endpoint, item.destination)
        if not item.recursive:
            self._copy(job, source, target, item.source, item.destination)
            return
        for where, _, names in os.walk(source):
            below = os.path.relpath(where, source)
            os.makedirs(os.path.normpath(f"{target}/{below}"), exist_ok=True)
            for name in names:
                path = os.path.normpath(f"{below}/{name}")
                if os.path.islink(f"{source}/{path}"):  # recursive_symlinks is "ignore" unless told
                    continue
                self._copy(
                    job, f"{source}/{path}", f"{target}/{path}", f"{item.source}/{path}", f"{item.destination}/{path}"
                )

    def _copy(self, job: Job, source: str, target: str, name: str, destination: str) -> None:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
        if {name, os.path.basename(name)} & self.truncate:
            os.truncate(target, os.path.getsize(target) // 2)
        job.moved.append(Moved(name, destination))
        done = job.document
        job.change(
            files=done.files + 1,
            files_transferred=done.files_transferred + 1,
            bytes_transferred=done.bytes_transferred + os.path.getsize(source),
        )


def _entry(name: str, path: str) -> Entry:
    kind: Literal["file", "dir", "link", "other"]
    if os.path.islink(path) and not os.path.exists(path):
        return Entry(name, "link", 0)
    kind = "dir" if os.path.isdir(path) else "file" if os.path.isfile(path) else "other"
    return Entry(name, kind, os.stat(path).st_size)
