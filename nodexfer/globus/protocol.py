"""What nodexfer asks of Globus, as values and one protocol: the desk, the pool and their tests know nothing else.

``globus/sdk/`` implements it and is the only package that imports globus_sdk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """One entry of a directory listing, or the answer of stat. ``size`` in bytes."""

    name: str
    type: Literal["file", "dir", "link", "other"]
    size: int
    modified: str = ""


class Collection(msgspec.Struct, frozen=True):
    """An endpoint document's part that matters here.

    ``connected`` is None for collections that are not GCP (``gcp_connected`` is null there: Transfer API, endpoint
    document).
    """

    id: str
    name: str
    owner_id: str
    is_gcp: bool
    connected: bool | None
    setup_key: str | None = None


class NewEndpoint(msgspec.Struct, frozen=True):
    id: str
    setup_key: str


class TransferItem(msgspec.Struct, frozen=True):
    """Absolute paths on either side; a file's destination is its full path, never the directory."""

    source: str
    destination: str
    recursive: bool = False


class Submission(msgspec.Struct, frozen=True):
    """Everything of one transfer task. ``submission_id`` was written to disk before it is used."""

    submission_id: str
    source_endpoint: str
    destination_endpoint: str
    items: tuple[TransferItem, ...]
    label: str
    deadline: str
    verify_checksum: bool = True


class Task(msgspec.Struct, frozen=True):
    """A task document's part that matters here. ``nice_status`` and ``fatal_code`` are event codes or None."""

    id: str
    status: Literal["ACTIVE", "INACTIVE", "SUCCEEDED", "FAILED"]
    label: str
    source_endpoint: str
    destination_endpoint: str | None
    bytes_transferred: int
    files: int
    files_transferred: int
    files_skipped: int
    directories: int
    faults: int
    skipped_errors: int
    nice_status: str | None
    nice_details: str | None
    fatal_code: str | None
    fatal_description: str | None
    #: Of both sides together, as far as the service tells.
    bytes_checksummed: int = 0

    @property
    def over(self) -> bool:
        """True for every status that will not change by itself: also for INACTIVE (Transfer API, task document)."""
        return self.status != "ACTIVE"


class Event(msgspec.Struct, frozen=True):
    code: str
    is_error: bool
    description: str
    details: str
    time: str


class Moved(msgspec.Struct, frozen=True):
    """One file of ``task_successful_transfers``: files only, really moved, known only after the task has ended."""

    source: str
    destination: str


class Globus(Protocol):
    """The service. Every method makes one or more HTTP calls, each of at most the client's own timeout.

    All raise :class:`nodexfer.errors.ServiceUnreachable`, ``TokenExpired``, ``PermissionRefused``,
    ``SourceMissing`` (a 404 for a path), ``EndpointFailed`` (502 with GCDisconnected: the endpoint is not connected)
    and ``ServiceRefused`` for the rest.
    """

    @property
    def service(self) -> str:
        """The base URL: part of the identity of every request."""

    def identity(self) -> str:
        """The UUID of the identity whose token this is (Auth, userinfo ``sub``; for a client its client id)."""

    def create_endpoint(self, name: str) -> NewEndpoint: ...

    def delete_endpoint(self, endpoint: str) -> None: ...

    def collection(self, collection: str) -> Collection: ...

    def ls(self, collection: str, path: str) -> Sequence[Entry]: ...

    def stat(self, collection: str, path: str) -> Entry:
        """:raises SourceMissing: nothing is there."""

    def mkdir(self, collection: str, path: str) -> None:
        """One level. :raises DestinationExists: something is there."""

    def rename(self, collection: str, old: str, new: str) -> None: ...

    def submission_id(self) -> str: ...

    def submit(self, submission: Submission) -> str:
        """The task's id. The same ``submission_id`` again gives the same task (code ``Duplicate``), never another."""

    def delete(self, submission_id: str, collection: str, paths: Iterable[str], label: str) -> str:
        """Submit a recursive delete task; its id."""

    def tasks(self, ids: Sequence[str]) -> Mapping[str, Task]:
        """Many tasks' documents in one call."""

    def unfinished_tasks(self, endpoint: str) -> Sequence[Task]:
        """Our ACTIVE and INACTIVE tasks that name ``endpoint`` on either side."""

    def cancel(self, task: str) -> None:
        """Ask for the task's end. A task that has ended already is no error."""

    def events(self, task: str, limit: int = 20) -> Sequence[Event]:
        """Newest first."""

    def moved(self, task: str) -> Iterable[Moved]: ...
