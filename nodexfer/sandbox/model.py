"""The things that the sandbox knows: identities, tokens, endpoints, tasks, events. Values only."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

TRANSFER_SERVER = "transfer.api.globus.org"
AUTH_SERVER = "auth.globus.org"
COMPUTE_SERVER = "funcx_service"

#: What the sandbox takes for the identity provider of all its people and clients.
PROVIDER = "41143743-f3c8-4d60-bbdb-eeecaba85bd9"
PROVIDER_NAME = "nodexfer sandbox"


class Identity(msgspec.Struct):
    """A person, or a client with a ``secret``; one that ``acts`` gets tokens for itself, not only for people."""

    id: str
    username: str
    name: str
    email: str
    secret: str | None = None
    acts: bool = True


class Token(msgspec.Struct):
    """``expires`` in seconds since the epoch. ``family`` ties the tokens of one grant together."""

    value: str
    use: Literal["access", "refresh", "code"]
    identity: str
    client: str
    scope: str
    resource_server: str
    issued: float
    expires: float
    family: str
    challenge: str | None = None
    redirect: str | None = None


class Endpoint(msgspec.Struct):
    """A collection. ``root`` is the directory that a site collection serves; ``secret`` what a GCP proves itself with.

    ``details`` holds the fields of the endpoint document that owners write and nobody here interprets.
    """

    id: str
    kind: Literal["gcp", "site"]
    display_name: str
    owner: str
    created: float
    public: bool = True
    root: str | None = None
    setup_key: str | None = None
    set_up: bool = False
    secret: str | None = None
    subscription_id: str | None = None
    default_directory: str | None = None
    details: dict[str, Any] = {}


class Event(msgspec.Struct):
    """One line of a task's event log (Transfer API, task_events)."""

    code: str
    description: str
    details: str
    is_error: bool
    time: float


class FileJob(msgspec.Struct):
    """One file of a transfer. ``offset`` bytes are confirmed by the destination; a retry goes on from there."""

    number: int
    source: str
    destination: str
    size: int
    modified: float
    state: Literal["pending", "moved", "skipped", "omitted"] = "pending"
    offset: int = 0
    algorithm: str = "MD5"
    external_checksum: str | None = None
    checksum: str | None = None


class SkippedError(msgspec.Struct):
    """An error at the source that ``skip_source_errors`` let pass."""

    error_code: str
    error_details: str
    error_time: float
    source_path: str
    destination_path: str
    is_directory: bool


class Task(msgspec.Struct):
    """One transfer or delete. ``options`` is the submitted document without its items.

    ``nice`` is what nice_status shows while the task is ACTIVE: "OK", "Queued", or the code of its last error.
    """

    id: str
    type: Literal["TRANSFER", "DELETE"]
    owner: str
    submission_id: str
    source: str
    destination: str | None
    options: dict[str, Any]
    items: list[dict[str, Any]]
    requested: float
    deadline: float
    deadline_given: bool
    label: str | None = None
    status: Literal["ACTIVE", "INACTIVE", "SUCCEEDED", "FAILED"] = "ACTIVE"
    completed: float | None = None
    nice: str = "Queued"
    nice_details: str | None = None
    fatal_code: str | None = None
    fatal_description: str | None = None
    started: bool = False
    #: Numbers of the items whose sources have not been walked yet; a retry walks only these.
    unexpanded: list[int] = []
    files: int = 0
    files_skipped: int = 0
    files_transferred: int = 0
    directories: int = 0
    bytes_transferred: int = 0
    bytes_checksummed: int = 0
    faults: int = 0
    retrying: int = 0
    skipped: list[SkippedError] = []
    events: list[Event] = []

    @property
    def over(self) -> bool:
        return self.status in ("SUCCEEDED", "FAILED")
