"""What the codes of a task's events mean: whose turn it is, why it happens, what to type. Pure data.

One source for the desk's decisions, for the texts of errors, ``status`` and receipts, for ``nodexfer explain`` and for
docs/trouble.md. Globus publishes the names and hardly more: which are hopeless is our reading, with the reason beside
each. A code that is not here is one that Globus tries again after (Transfer API, task behaviour, "Retry behavior").
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from nodexfer.errors import (
    DeadlinePassed,
    DestinationExists,
    DiskFull,
    NodexferError,
    PermissionRefused,
    SourceMissing,
    SourceUnsupported,
    TokenExpired,
    TransferFailed,
    TransferUnproven,
)

#: fatal: the task is cancelled and the request ends. mend: the leader restarts GCP if the service does not see it.
#: wait: Globus tries again by itself. news: nothing is wrong.
Kind: TypeAlias = Literal["fatal", "mend", "wait", "news"]

#: Where a name, and what is said of it, is from.
SOURCES = {
    "events": "Globus Transfer API, Task Events: docs.globus.org/api/transfer/task_events",
    "behaviour": "Globus Transfer API, Task Behavior: docs.globus.org/api/transfer/task_behavior",
    "task": "Globus Transfer API, Task Management: docs.globus.org/api/transfer/task",
    "list": "Globus staff, developer-discuss, 23 April 2020: groups.google.com/a/globus.org (NR2guXS-9SI)",
    "monitor": "NCSA's monitor of a tape endpoint, 2018, which passes over it as transient",
    "jobs": "University of Arizona, transfers to node-local /tmp: tasks of a job that ended just sit there",
    "faq": "Globus FAQ, Transfer and Sharing: docs.globus.org/faq/transfer-sharing",
    "own": "nodexfer itself",
    "client": "the ONE client of the International Brain Laboratory, one/remote/globus.py, STATUS_MAP",
    "offline": "the offline Globus of nodexfer; not in any list of Globus's",
}


class Code(NamedTuple):
    """``error`` is what a fatal one becomes; ``path``: it is about one path, the rest of the task may be sound.

    ``next`` is a command, with ``{task}`` for the task's id.
    """

    kind: Kind
    cause: str
    sources: tuple[str, ...]
    error: type[NodexferError] | None = None
    path: bool = False
    next: str = "globus task event-list {task}"


def _path(error: type[NodexferError], cause: str, *sources: str) -> Code:
    return Code("fatal", cause, sources, error, path=True)


def _all(error: type[NodexferError], cause: str, *sources: str, next: str = "globus task event-list {task}") -> Code:
    return Code("fatal", cause, sources, error, next=next)


def _wait(cause: str, *sources: str, next: str = "globus task event-list {task}") -> Code:
    return Code("wait", cause, sources, next=next)


#: As ``nice_status`` has it, and as its neighbours are written.
_QUEUED = ("Queued", "QUEUED")
_PAUSE = "globus task pause-info {task}"
_SHOW = "globus task show {task}"

CODES: dict[str, Code] = {
    # Fatal, about one path.
    "FILE_NOT_FOUND": _path(
        SourceMissing, "The file is not there (any more). Globus would go on trying for a day.", "events", "behaviour"
    ),
    "PERMISSION_DENIED": _path(
        PermissionRefused, "One side does not let your identity read or write this path.", "events", "behaviour"
    ),
    "FILE_ACCESS": _path(PermissionRefused, "The file can not be read or written (a code of old servers).", "list"),
    "AMBIGUOUS_PATH": _path(SourceUnsupported, "The path leads to more than one thing.", "behaviour"),
    "INVALID_PATH_NAME": _path(SourceUnsupported, "One side can not have a file of this name.", "list"),
    "INVALID_SYMLINK": _path(SourceUnsupported, "A symbolic link leads to nothing, or in a circle.", "list"),
    "IS_A_DIRECTORY": _path(SourceUnsupported, "A directory is where a file was expected.", "list"),
    "IS_A_FILE": _path(SourceUnsupported, "A file is where a directory was expected.", "list"),
    "NOT_A_DIRECTORY": _path(SourceUnsupported, "A part of the path is no directory.", "list"),
    "NOT_A_FILE": _path(SourceUnsupported, "It is no plain file: a device, a socket or a fifo.", "list"),
    "NOT_A_SYMLINK": _path(SourceUnsupported, "It is no symbolic link, as it was when it was listed.", "list"),
    "EXISTS": _path(DestinationExists, "Something is at the destination already.", "offline"),
    # Fatal, whatever the path.
    "NO_SPACE_LEFT": _all(DiskFull, "The disk of the side that is written to is full.", "list"),
    "QUOTA_EXCEEDED": _all(DiskFull, "Your quota at the side that is written to is used up.", "list", "faq"),
    "LIMIT_EXCEEDED": _all(TransferFailed, "The task is larger than Globus or the collection allows.", "list"),
    "NO_CREDENTIALS": _all(
        TokenExpired, "Globus has no valid credential of yours for one of the collections.", "task", "list", next=_SHOW
    ),
    "AUTH": _all(
        TokenExpired, "One of the collections does not accept who you are.", "list", next="globus session show"
    ),
    "GSI_DN_MISMATCH": _all(TransferFailed, "A server is not the one that it should be (its certificate).", "list"),
    "INVALID_SERVICE_CREDENTIAL": _all(
        TransferFailed, "A collection's own credential is not valid; its administrator must renew it.", "list"
    ),
    "NO_PHYSICALS": _all(TransferFailed, "The collection has no server; its administrator must add one.", "list"),
    "EXTERNAL_CHECKSUM_MISMATCH": _all(
        TransferUnproven, "What arrived does not have the checksum that was given for it.", "list"
    ),
    "SKIPPED_ERRORS": _all(TransferUnproven, "Globus left files out, and went on.", "events", next=_SHOW),
    "CANCELED": _all(
        TransferFailed, "Somebody cancelled the task: you elsewhere, or an administrator.", "events", next=_SHOW
    ),
    "EXPIRED": _all(DeadlinePassed, "The task was not done by its deadline, the job's end.", "events", next=_SHOW),
    "INACTIVE": _all(
        TransferFailed, "The task will not go on until somebody mends what it waits for.", "task", next=_PAUSE
    ),
    "ABEND": _all(TransferFailed, "The task broke off inside Globus (a code of the past).", "list", next=_SHOW),
    # Ours to mend, if it is our endpoint.
    "GC_NOT_CONNECTED": Code(
        "mend",
        "A Globus Connect Personal is not connected. Ours is restarted; another one somebody must start.",
        ("list", "jobs"),
        next="nodexfer status",
    ),
    "GC_PAUSED": Code(
        "mend", "A Globus Connect Personal was paused on its own machine.", ("list",), next="nodexfer status"
    ),
    "STALLED": Code(
        "mend",
        "No byte moved for the time of --stall. Once, the endpoint is restarted, or (via) another task is tried.",
        ("own",),
        next=_SHOW,
    ),
    # Globus tries again.
    "CONNECT_FAILED": _wait("A collection's server can not be reached.", "list", "monitor"),
    "CONNECTION_BROKEN": _wait("A connection was lost in the middle; it goes on from there.", "list", "monitor"),
    "CONNECTION_RESET": _wait("A connection was cut by the other side; it goes on from there.", "list", "monitor"),
    "TIMEOUT": _wait("A server did not answer in time: an overloaded one, or a firewall.", "list", "monitor"),
    "ENDPOINT_ERROR": _wait("A collection's server failed in a way that has no code.", "list", "monitor"),
    "ENDPOINT_TOO_BUSY": _wait("A collection's server has too many transfers now.", "list", "monitor"),
    "FILE_SIZE_CHANGED": _wait("A file was written to while it was moved; it is moved again.", "list", "monitor"),
    "VERIFY_CHECKSUM": _wait("The checksums of both sides differed; the file is moved again.", "list", "monitor"),
    "NO_APPEND_FILESYSTEM": _wait(
        "The destination can not continue a file; it is moved from its beginning.", "list", "monitor"
    ),
    "MPU_NOT_FOUND": _wait("An object store forgot a part; the file is moved from its beginning.", "list"),
    "CLOCK": _wait("The clock of a server is wrong, and its certificates look invalid.", "list"),
    "ACL_CHANGED": _wait("The permissions of a collection changed; the task is checked against them.", "list"),
    "PAUSED": _wait("An administrator of a collection has paused the task.", "events", next=_PAUSE),
    "PAUSED_BY_ADMIN": _wait("An administrator of a collection has paused the task.", "client", next=_PAUSE),
    "INTERNAL_ERROR": _wait("Globus itself failed.", "list"),
    "UNKNOWN": _wait("Something for which Globus has no code.", "list", "monitor"),
    "Queued": _wait("Three transfers of yours run already, as many as Globus runs at once.", "behaviour", next=_SHOW),
    # Nothing is wrong.
    "STARTED": Code("news", "The task has begun.", ("events",), next=_SHOW),
    "PROGRESS": Code("news", "Bytes are moving.", ("events",), next=_SHOW),
    "UNPAUSED": Code("news", "The task goes on after a pause.", ("events",), next=_SHOW),
    "SUCCEEDED": Code("news", "The task is done. nodexfer still proves what arrived.", ("events",), next=_SHOW),
}


def calm(code: str | None) -> bool:
    """Whether a task whose ``nice_status`` is ``code`` meets no trouble: it moves, or waits for its turn."""
    found = find(code)
    return code in (None, "", "OK") or code in _QUEUED or (found is not None and found.kind == "news")


def queued(code: str | None) -> bool:
    return code in _QUEUED


def find(code: str | None) -> Code | None:
    """The row of a code, in capitals or not."""
    if code is None:
        return None
    return CODES.get(code) or CODES.get(code.upper()) or CODES.get(code.capitalize())


def fatal(code: str | None) -> Code | None:
    """The row of a code after which nothing can come but the end."""
    found = find(code)
    return found if found is not None and found.kind == "fatal" else None


def next_command(code: str | None, task: str) -> str:
    """What to type about a task that met ``code``."""
    found = find(code)
    return (found.next if found is not None else Code("wait", "", ()).next).format(task=task)
