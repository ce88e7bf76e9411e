"""A request on disk: which file says what, and who alone writes it.

    spool/<job>/<request>/          made whole beside its place, then renamed: it is there with its request.json or not
      request.json    the command   what is asked
      batch.json      the desk      the submission it is part of; written before Globus hears of it
      progress.json   the desk      how it goes, at most a few times a second
      result.json     the desk      the end: moved, with every file, or the error
      cancel          the command   an empty file: the owner wants it no more
      bell            the command   a FIFO, rung by who writes result.json; one that is not heard loses nothing

The command that wrote a request does what touches the job's files (links, copies, checks, publishing); the desk only
speaks to Globus. A request is of one direction and one collection. One that is cancelled, or whose owner is dead, stays
until nothing moves for it any more; then the desk removes it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

FORMAT = 1
#: Seconds without a byte after which a task counts as stalled, unless somebody says otherwise.
STALL_SECONDS = 120.0


class Owner(msgspec.Struct, frozen=True):
    """The process that follows the request: the fields of :class:`nodexfer.identity.ProcessId`."""

    pid: int
    start: int
    namespace: int


class InItem(msgspec.Struct, frozen=True):
    """One source to bring. It arrives as ``<exchange of root>/<request>/<number>`` and is published by its owner.

    Where the leader has no exchange on the job's ``root`` it arrives in another one, and the owner copies it: the
    result says where it lies.
    """

    number: int
    collection: str
    path: str
    root: str
    #: Which directory the root is to the job (:func:`nodexfer.paths.ground`); '' in a request of an older version.
    ground: str = ""


class OutItem(msgspec.Struct, frozen=True):
    """One output to send, already linked as ``<outgoing of root>/<number>``.

    ``path`` is the full destination path; with ``into`` (one source, no trailing slash) it becomes ``path/into``
    should the service say that ``path`` is a directory. ``files`` and ``bytes`` count what is there.
    """

    number: int
    collection: str
    path: str
    root: str
    is_directory: bool
    files: int
    bytes: int
    into: str | None = None
    ground: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    format: int = FORMAT
    id: str
    job: str
    owner: Owner
    direction: Literal["in", "out"]
    ins: tuple[InItem, ...] = ()
    outs: tuple[OutItem, ...] = ()
    overwrite: bool = False
    merge: bool = False
    #: Seconds since the epoch; the request, and its Globus task, are over by then.
    deadline: float
    created: float
    #: Whose request it is, and of which service: a desk serves its own identity and service only. '' = any.
    service: str = ""
    client: str = ""
    #: Seconds to wait for a free endpoint of the pool; None = until the deadline.
    wait_endpoint: float | None = None
    #: "checksum": the fingerprint of outputs is of their contents too.
    verify: Literal["size", "checksum"] = "size"
    stall: float = STALL_SECONDS
    #: Of the outputs as they were gathered (:func:`nodexfer.staging.exchange.fingerprint`).
    fingerprint: str = ""
    #: Paths of this node that exist for this request alone and may be removed once its owner is dead.
    litter: tuple[str, ...] = ()
    #: Inputs: whoever asks wants to know how much it is before it moves.
    measure: bool = False


class BatchItem(msgspec.Struct, frozen=True):
    """One item as submitted. ``remote`` is the far side's final path.

    ``temporary`` is what an output is called on its way. ``existed``: something was at ``remote`` when it was looked
    at, which ``overwrite`` or ``merge`` allowed.
    """

    number: int
    is_directory: bool
    local: str
    remote: str
    size: int | None = None
    temporary: str = ""
    existed: bool = False


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What a new desk needs to go on: with no ``task``, the same submission id is submitted again, which never gives a
    second task. Requests with the same ``submission_id`` are one task.

    ``publishing``: this request is proven, and its outputs are being renamed to their final names.
    """

    format: int = FORMAT
    submission_id: str
    label: str
    deadline: str
    collection: str
    endpoint: str
    lease: int
    items: tuple[BatchItem, ...]
    task: str | None = None
    #: Tasks of earlier attempts, and how many attempts there have been, this one included.
    earlier: tuple[str, ...] = ()
    attempts: int = 1
    publishing: bool = False
    waited_endpoint: float = 0.0
    #: Why it ends, known before what it left is removed: what the next desk meets then is not the cause.
    error: dict[str, str | int] | None = None


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be moved; ``least``: there may be more."""

    bytes: int
    files: int
    least: bool = False


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """``state`` in words for people: "waiting for an endpoint", "queued by Globus", "moving"."""

    format: int = FORMAT
    state: str
    task: str | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    files_done: int = 0
    files_total: int | None = None
    faults: int = 0
    #: The newest error event's code, while the task is ACTIVE and failing.
    trouble: str | None = None
    #: Of the request alone, once that is known; only where it was asked for (``Request.measure``).
    need: Need | None = None


class MovedFile(msgspec.Struct, frozen=True):
    """A file that the service says it moved. ``path`` is relative to the item, '' where the item is a file itself."""

    number: int
    path: str
    size: int | None = None


class MovedItem(msgspec.Struct, frozen=True):
    """``local`` is where the item lies in the exchange (in) or lay (out); ``remote`` its other side's final path."""

    number: int
    is_directory: bool
    local: str
    remote: str
    size: int | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The desk's last word. ``error`` is :meth:`nodexfer.errors.NodexferError.as_record` or None."""

    format: int = FORMAT
    error: dict[str, str | int] | None = None
    #: The leader's word and no desk's: Globus may still be at it.
    unfinished: bool = False
    endpoint: str | None = None
    lease: int | None = None
    tasks: tuple[str, ...] = ()
    attempts: int = 1
    faults: int = 0
    #: Codes of the task's error events, in the order in which they came.
    troubles: tuple[str, ...] = ()
    waited_endpoint: float = 0.0
    items: tuple[MovedItem, ...] = ()
    files: tuple[MovedFile, ...] = ()
    #: What is to be known though it went well.
    warnings: tuple[str, ...] = ()
