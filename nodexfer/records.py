"""Small JSON records with one writer each: written whole or not at all, and never believed blindly.

A record is a JSON object with ``format`` (an int). It is written to a temporary file beside its place and renamed, so a
reader sees the old one or the new one; a process that dies in between leaves a ``.tmp-*`` file and the old record.
A record of a newer format is respected, a broken one is set aside with the reason, never overwritten. What can not be
read is not broken: of that the file system has the word (an OSError that names the file), and nothing is touched.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from typing import Any

from nodexfer.errors import (
    DiskFull,
    HomeFull,
    NodeDirRemoved,
    NodeError,
    NodexferError,
    PermissionRefused,
    RecordBroken,
    RecordNewer,
)

#: Nobody's record is larger; a file that is, is not a record.
LIMIT_BYTES = 64 * 1024 * 1024

#: What the name of a record that is being written begins with.
HALF = ".tmp-"

Record = dict[str, Any]

_ENCODER = json.JSONEncoder(separators=(",", ":"))


def write(path: str, record: Record, *, mode: int = 0o600, shared: bool = False, near: str | None = None) -> None:
    """Write ``record`` to ``path`` by rename.

    :param shared: the path lies on the shared file system: a full disk is :class:`HomeFull`, not :class:`DiskFull`,
        and the data are flushed before the rename (another node may read them, this one may die).
    :param near: the directory of the temporary file, on the same file system, where it is not the record's own.
    :raises DiskFull, HomeFull, NodeDirRemoved: nothing was changed.
    """
    temporary = f"{near or os.path.dirname(path)}/{HALF}{os.getpid()}-{time.monotonic_ns()}"
    try:
        _write(temporary, record, os.O_EXCL, mode, flush=shared)
        os.rename(temporary, path)
    except OSError as error:
        _forget(temporary)
        raise _named(error, path, shared) from error


def write_locked(path: str, record: Record) -> None:
    """Write a record of this node that is read and written under one lock only (:func:`read_locked`).

    Written to ``<path>.new``, the old one unlinked, the new one renamed. A rename *over* the old one makes ext4 write
    the data to disk at once (ext4(5), auto_da_alloc), three times the price of all the rest. Who looks without the lock
    may see nothing for a moment; who dies in between leaves the old one, or the new one for the next reader to rename.

    :raises DiskFull, NodeDirRemoved: nothing was changed.
    """
    new = f"{path}.new"
    try:
        _write(new, record, os.O_TRUNC, 0o600, flush=False)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        os.rename(new, path)
    except OSError as error:
        raise _named(error, path, shared=False) from error


def read_locked(path: str, known_format: int) -> Record | None:
    """The record of :func:`write_locked`. :raises RecordBroken, RecordNewer: as :func:`read`.

    A new one that is not whole was never to be read: the old one is unlinked only when it is, so it was the first.
    """
    new = f"{path}.new"
    try:
        record = read(path, known_format)
        if record is None and (record := _load(new, known_format)) is not None:
            os.rename(new, path)
    except RecordBroken:
        _forget(new)
        raise
    except _Broken:
        _forget(new)
        return None
    return record


def remove_locked(path: str) -> None:
    """Remove the record of :func:`write_locked`, and first what a writer that died left beside it."""
    _forget(f"{path}.new")
    _forget(path)


def _write(path: str, record: Record, how: int, mode: int, *, flush: bool) -> None:
    data = _ENCODER.encode(record).encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        if flush:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: str, known_format: int) -> Record | None:
    """The record at ``path``, or None where there is none.

    :raises RecordBroken: it was not a record; it has been renamed to ``<path>.broken-<time>``.
    :raises RecordNewer: its ``format`` is above ``known_format``; it is left alone.
    :raises OSError: it can not be read now, whatever it is; it is left alone. The error names it.
    """
    try:
        return _load(path, known_format)
    except _Broken as error:
        reason = error.__cause__
        assert isinstance(reason, Exception)
        raise set_aside(path, reason) from reason


class _Broken(Exception):
    """What lies there is not a whole record; the cause says why."""


def _load(path: str, known_format: int) -> Record | None:
    """As :func:`read`; nothing is touched. :raises _Broken: it was not a record."""
    try:
        # Not blocking: a FIFO in the record's place must not hold us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO) and _is_no_file(path):  # a link or a socket in its place
            raise _Broken from error
        raise
    try:
        record = json.loads(_whole(descriptor))
        found = record.get("format") if isinstance(record, dict) else None
        if type(found) is not int:
            raise ValueError("it has no format number")
    except (ValueError, IsADirectoryError, RecursionError) as error:
        raise _Broken from error
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)
    if found > known_format:
        raise RecordNewer(
            f"{path} was written by a newer nodexfer (format {found}, this one knows {known_format}); "
            "it was left as it is."
        )
    return dict(record)


def _is_no_file(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _whole(descriptor: int) -> bytes:
    size = min(os.fstat(descriptor).st_size, LIMIT_BYTES)
    text = os.read(descriptor, size)
    while len(text) < size and (more := os.read(descriptor, size - len(text))):
        text += more
    return text


def set_aside(path: str, reason: Exception) -> RecordBroken:
    """Rename a record that can not be used to ``<path>.broken-<time in ns>``; the error to raise.

    Where somebody else has just set it aside, that is enough.
    """
    aside = f"{path}.broken-{time.time_ns()}"
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        pass
    return RecordBroken(
        f"{path} is not a whole record ({reason}); it was set aside as {aside}, and the next command starts anew.",
        "nodexfer status",
    )


#: What a file system says that does not work just now. The rest, where a path is not what it should be, is our fault.
_OF_A_FILE_SYSTEM = frozenset(
    {
        *(errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOLCK),
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR),
    }
)


def of_a_file_system(error: BaseException) -> NodexferError | None:
    """The error in words where it is one of a file system and names the file, else None."""
    if not isinstance(error, OSError) or not error.filename or error.errno not in _OF_A_FILE_SYSTEM:
        return None
    return unusable(error, os.path.abspath(os.fsdecode(error.filename)))


def unusable(error: OSError, path: str) -> NodexferError:
    """An error of a file system as one of ours. Of what lies at ``path`` it says nothing: that is not called broken."""
    said = f"{path} can not be used: {error.strerror or type(error).__name__}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionRefused(f"{said}.", f"ls -ld {path}")
    return NodeError(f"{said} (so says its file system, which may be well again soon).", f"ls -ld {path}")


def _named(error: OSError, path: str, shared: bool) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        directory = os.path.dirname(path)
        kind = HomeFull if shared else DiskFull
        return kind(f"No space is left for {path}; nothing was changed.", f"df -h {directory}")
    if error.errno == errno.ENOENT:
        return NodeDirRemoved(f"{os.path.dirname(path)} is gone: somebody removed it while it was in use.")
    return error


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
