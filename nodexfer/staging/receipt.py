"""The proof of a request: ``receipts/<yyyy-mm>/<request>.json`` on the shared file system.

It is there from the beginning, with ``state`` "asked": that no receipt can be written is then known before anything is
moved, and a job that is killed leaves a word of what it was about. "salvaged" says that copies of outputs wait on the
shared file system to be sent (:mod:`nodexfer.staging.resume`). "done" is written when everything is proven and in
place; nothing else ever says so.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from nodexfer import records
from nodexfer.errors import HomeFull, NodexferError, PermissionRefused
from nodexfer.globus import events
from nodexfer.paths import HomePaths
from nodexfer.staging import encoding
from nodexfer.staging.request import Result

FORMAT = 1
#: What is half written for so long (s), nobody is writing any more.
_LITTER_SECONDS = 3600.0


class ReceiptFile(msgspec.Struct, frozen=True):
    """One file, moved and proven. ``size`` in bytes; ``checksum`` as ``algorithm:hex`` where one is known here.

    (The service compares checksums of both sides of every file, and does not tell them.)
    """

    source: str
    destination: str
    size: int
    checksum: str | None = None


class Trouble(msgspec.Struct, frozen=True):
    """What Globus met on the way, and mended: a code of its task events, and what that means."""

    code: str
    cause: str


class Program(msgspec.Struct, frozen=True):
    """The program of ``nodexfer run`` whose outputs these are. ``stopped``: by us, for time.

    ``on_exit``: of each output, when it was to be kept.
    """

    exit_code: int
    stopped: bool
    on_exit: dict[str, Literal["success", "always", "failure"]]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds since the epoch, waits are seconds. Sides are ``globus://<uuid>/path`` or a path."""

    format: int = FORMAT
    id: str
    state: Literal["asked", "salvaged", "done"] = "asked"
    direction: Literal["in", "out"]
    job: str
    host: str
    #: What the files were proven by, beyond Globus's own comparison of checksums.
    verify: Literal["size", "checksum"] = "size"
    created: float
    finished: float | None = None
    #: "direct" by an endpoint on the node, "via" the site's own collection; known when it is done.
    route: Literal["direct", "via"] | None = None
    endpoint: str | None = None
    lease: int | None = None
    tasks: tuple[str, ...] = ()
    attempts: int = 0
    faults: int = 0
    troubles: tuple[Trouble, ...] = ()
    waited_endpoint: float = 0.0
    bytes: int = 0
    files: tuple[ReceiptFile, ...] = ()
    #: Of outputs that could not go out in time: where the copies are (none any more once "done"), and what is in none.
    salvage: str | None = None
    unsaved: tuple[str, ...] = ()
    #: What is to be known of it, though nothing failed.
    warnings: tuple[str, ...] = ()
    program: Program | None = None
    #: Where this receipt is kept; not written into it.
    path: str = ""

    def as_record(self) -> dict[str, object]:
        """As JSON: what ``--json`` prints. Names that are not UTF-8 are escaped, so that any program can read it."""
        record: dict[str, object] = encoding.utf8_record(msgspec.to_builtins(self))
        return record


def path_of(paths: HomePaths, request: str, created: float) -> str:
    return f"{paths.receipts}/{time.strftime('%Y-%m', time.gmtime(created))}/{request}.json"


def write(paths: HomePaths, receipt: Receipt) -> Receipt:
    """Write it, flushed; the same with its ``path``. An earlier state of it is replaced in one step.

    :raises NodexferError: it is not there, or as it was before: HomeFull, PermissionRefused...
    """
    path = path_of(paths, receipt.id, receipt.created)
    record = receipt.as_record()
    del record["path"]
    unborn = f"{paths.receipts}/.new"
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        os.makedirs(unborn, 0o700, exist_ok=True)
        records.write(path, record, shared=True, near=unborn)
        _sweep(unborn, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HomeFull(f"No space is left for the receipt {path}.", f"df -h {paths.home}") from error
        raise PermissionRefused(
            f"The receipt {path} can not be written: {error.strerror}.", f"ls -ld {paths.home}"
        ) from error
    return msgspec.structs.replace(receipt, path=path)


def _sweep(unborn: str, path: str) -> None:
    """Remove what writers that died left, in a directory of its own: a month's has thousands of receipts.

    :param path: has just been written: its time stamp says what time it is at the file server.
    """
    try:
        now = os.stat(path).st_mtime
        for name in os.listdir(unborn):
            if now - os.stat(f"{unborn}/{name}").st_mtime > _LITTER_SECONDS:
                os.unlink(f"{unborn}/{name}")
    except OSError:  # somebody else's, written just now, or swept just now: the next one goes on
        pass


def finished(asked: Receipt, results: Sequence[Result], files: Sequence[ReceiptFile]) -> Receipt:
    """The receipt of what is proven and in place."""
    return msgspec.structs.replace(
        asked,
        state="done",
        finished=time.time(),
        route="direct" if any(result.endpoint for result in results) else "via",
        endpoint=next((result.endpoint for result in results if result.endpoint), None),
        lease=next((result.lease for result in results if result.lease is not None), None),
        tasks=tuple(dict.fromkeys(task for result in results for task in result.tasks)),
        attempts=asked.attempts + max(result.attempts for result in results),
        faults=sum(result.faults for result in results),
        troubles=_troubles(results),
        waited_endpoint=max(result.waited_endpoint for result in results),
        bytes=sum(file.size for file in files),
        files=tuple(files),
        warnings=tuple(dict.fromkeys([*asked.warnings, *(text for result in results for text in result.warnings)])),
    )


def _troubles(results: Sequence[Result]) -> tuple[Trouble, ...]:
    codes = dict.fromkeys(code for result in results for code in result.troubles)
    found = [(code, events.find(code)) for code in codes]
    return tuple(Trouble(code, row.cause if row is not None else "") for code, row in found)


def complete(
    paths: HomePaths, asked: Receipt, results: Sequence[Result], files: Sequence[ReceiptFile], success: str
) -> Receipt:
    """Write the receipt of what is done. :raises NodexferError: it can not be; the message begins with ``success``."""
    try:
        return write(paths, finished(asked, results, files))
    except NodexferError as error:
        raise type(error)(f"{success}; only their receipt is missing. {error.message}", error.next) from error


def forget(paths: HomePaths, receipt: Receipt) -> None:
    """Remove the receipt of a request that came to nothing and has told so."""
    try:
        os.unlink(path_of(paths, receipt.id, receipt.created))
    except OSError:
        pass


def read(path: str) -> Receipt | None:
    """:raises RecordBroken, RecordNewer: see :func:`nodexfer.records.read`."""
    found = records.read(path, FORMAT)
    return None if found is None else msgspec.convert({**found, "path": path}, Receipt)
