"""The spool: a request is written whole, followed, cancelled, forgotten.

Dying while writing leaves a ``.new-*`` directory, which nobody serves and the next cleaning removes; dying later leaves
a request with a dead owner, which the desk cancels.
"""

from __future__ import annotations

import os
import time
from typing import TypeVar

import msgspec

from nodexfer import records
from nodexfer.errors import NodexferError, RecordBroken
from nodexfer.node import rubbish
from nodexfer.paths import NodePaths, private_directory
from nodexfer.staging.request import FORMAT, Batch, Progress, Request, Result

REQUEST = "request.json"
BATCH = "batch.json"
PROGRESS = "progress.json"
RESULT = "result.json"
CANCEL = "cancel"
BELL = "bell"

_T = TypeVar("_T", bound=msgspec.Struct)


def new_id() -> str:
    """A name that no other request has: ``r``, the second, and 32 random bits, all in hex."""
    return f"r{int(time.time()):x}{os.urandom(4).hex()}"


def ask(paths: NodePaths, request: Request, result: Result | None = None) -> str:
    """Put ``request`` into the spool; its directory. With a ``result`` from the beginning no desk takes it up.

    :raises DiskFull, NodeDirRemoved, NodeDirUnsafe: it is not there, not even in part.
    """
    parent = private_directory(paths.job_spool(request.job))
    unborn = f"{parent}/.new-{request.id}"
    private_directory(unborn)
    try:
        write(unborn, REQUEST, request)
        if result is not None:
            write(unborn, RESULT, result)
        os.rename(unborn, f"{parent}/{request.id}")
    except BaseException:
        rubbish.remove(unborn)
        raise
    return f"{parent}/{request.id}"


def directories(spool: str) -> list[str]:
    """All requests that are there, of all jobs, in no order."""
    found: list[str] = []
    for job in _names(spool):
        found.extend(f"{spool}/{job}/{request}" for request in _names(f"{spool}/{job}"))
    return found


def _names(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def write(directory: str, name: str, record: msgspec.Struct) -> None:
    """:raises DiskFull, NodeDirRemoved: nothing was changed."""
    records.write(f"{directory}/{name}", msgspec.to_builtins(record))


def read(directory: str, name: str, kind: type[_T]) -> _T | None:
    """The record, or None where there is none.

    :raises RecordBroken: it was not one, and is set aside. :raises RecordNewer: it was left alone.
    """
    path = f"{directory}/{name}"
    found = records.read(path, FORMAT)
    if found is None:
        return None
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise RecordBroken(f"{path} is not what it should be: {error}.", "nodexfer status") from error


def request(directory: str) -> Request | None:
    return read(directory, REQUEST, Request)


def batch(directory: str) -> Batch | None:
    return read(directory, BATCH, Batch)


def result(directory: str) -> Result | None:
    return read(directory, RESULT, Result)


def progress(directory: str) -> Progress | None:
    return read(directory, PROGRESS, Progress)


def cancel(directory: str) -> None:
    """Say that the owner wants it no more. A request that is gone is no error.

    Nor is a full disk: where no file can be made, one that is there gets a further name. Without that, too, the desk
    sees the end of the owner, or of the time.
    """
    try:
        os.close(os.open(f"{directory}/{CANCEL}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except FileNotFoundError:
        pass
    except OSError:
        try:
            os.link(f"{directory}/{REQUEST}", f"{directory}/{CANCEL}")
        except OSError:
            pass


def is_unfinished(directory: str) -> bool:
    """Whether its answer came from a leader that gave up, while Globus may still be at it."""
    try:
        found = result(directory)
    except NodexferError:
        return False
    return found is not None and found.unfinished


def leave_to_the_next(directory: str) -> None:
    """Nobody wants it any more, and the next desk ends what Globus has of it."""
    cancel(directory)
    try:
        os.unlink(f"{directory}/{RESULT}")
    except FileNotFoundError:
        pass


def is_cancelled(directory: str) -> bool:
    return os.path.exists(f"{directory}/{CANCEL}")


def forget(directory: str) -> None:
    """Remove a request that is over. Renamed first, so that nobody sees a half of it."""
    parent, name = os.path.split(directory)
    gone = f"{parent}/{rubbish.PREFIX}{name}-{os.getpid()}"
    try:
        os.rename(directory, gone)
    except FileNotFoundError:
        return
    rubbish.remove(gone)
