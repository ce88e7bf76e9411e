"""Where a path of a collection leads, and whether one may go there.

A path is judged by where it really leads, on the very object that is then used: everything is first opened with O_PATH,
the kernel says through /proc/self/fd where that is, the gate decides, and the work is done through that descriptor. A
link that is swapped in meanwhile can not lead out. The stand-in's programs run with a copy of this file: standard
library only.
"""

from __future__ import annotations

import errno
import os
import stat as modes
from typing import Protocol

from nodexfer.sandbox.storage import StorageError

_LOOK = os.O_PATH | os.O_CLOEXEC
_CODES = {
    errno.ENOENT: "FILE_NOT_FOUND",
    errno.EACCES: "PERMISSION_DENIED",
    errno.EPERM: "PERMISSION_DENIED",
    errno.EROFS: "PERMISSION_DENIED",
    errno.ENOTDIR: "NOT_A_DIRECTORY",
    errno.EISDIR: "IS_A_DIRECTORY",
    errno.EEXIST: "EXISTS",
    errno.ENOSPC: "NO_SPACE_LEFT",
    errno.EDQUOT: "QUOTA_EXCEEDED",
    errno.ENAMETOOLONG: "INVALID_PATH_NAME",
    errno.ELOOP: "INVALID_SYMLINK",
}


class Gate(Protocol):
    """Which paths a collection has, and which of them may be used."""

    def locate(self, path: str, write: bool) -> str:
        """The absolute local path, lexically normal, of a collection's path. :raises StorageError: refused as named."""

    def check(self, real: str, write: bool) -> None:
        """:raises StorageError: PERMISSION_DENIED; ``real`` is where the path leads, with no link left in it."""


def named(error: OSError, path: str) -> StorageError:
    """The event code for what the system said."""
    code = _CODES.get(error.errno or 0, "ENDPOINT_ERROR")
    return StorageError(code, f"500 Command failed. : {error.strerror or error}: {path}")


def checked(path: str) -> str:
    """The path if the system can say it at all. :raises StorageError: INVALID_PATH_NAME."""
    try:
        if b"\0" not in os.fsencode(path):
            return path
    except UnicodeError:
        pass
    raise StorageError("INVALID_PATH_NAME", f"500 Command failed. : Not the name of a file: {path!r}")


class Reach:
    """Opens what ``gate`` lets one reach. Every method raises :class:`OSError` or :class:`StorageError`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def locate(self, path: str, write: bool) -> str:
        return self._gate.locate(path, write)

    def look(self, path: str, write: bool, directory: int | None = None) -> int:
        """An O_PATH descriptor of what ``path`` leads to, which the gate has allowed."""
        found = os.open(path, _LOOK, dir_fd=directory)
        try:
            self._gate.check(os.readlink(f"/proc/self/fd/{found}"), write)
        except BaseException:
            os.close(found)
            raise
        return found

    def open(self, path: str, flags: int, *, write: bool, regular: bool = False) -> int:
        """Open what exists. O_NONBLOCK lest a fifo holds us; it means nothing for files and directories (open(2))."""
        found = self.look(self._gate.locate(path, write), write)
        try:
            mode = os.fstat(found).st_mode
            if regular and not modes.S_ISREG(mode):
                if modes.S_ISDIR(mode):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                raise StorageError("NOT_A_FILE", f"500 Command failed. : Not a regular file: {path}")
            return os.open(f"/proc/self/fd/{found}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(found)

    def parent(self, local: str, write: bool) -> tuple[int, str]:
        """The directory that ``local`` lies in, opened, and its name there; the gate has allowed the two together."""
        head, _, name = local.rpartition("/")
        name = name or "."
        parent = os.open(head or "/", _LOOK | os.O_DIRECTORY)
        try:
            real = os.readlink(f"/proc/self/fd/{parent}").rstrip("/")
            self._gate.check(f"{real}/{name}" if name != "." else "/", write)
        except BaseException:
            os.close(parent)
            raise
        return parent, name

    def target(self, path: str, offset: int) -> int:
        """A regular file to write from ``offset`` on, made (its directories, too) where there is none.

        :raises StorageError: FILE_SIZE_CHANGED if it is shorter than ``offset``.
        """
        try:
            try:
                descriptor = self.open(path, os.O_WRONLY | (0 if offset else os.O_TRUNC), write=True, regular=True)
            except FileNotFoundError:
                descriptor = self._create(self._gate.locate(path, write=True))
            size = os.fstat(descriptor).st_size
        except OSError as error:
            raise named(error, path) from error
        if size < offset:
            os.close(descriptor)
            raise StorageError("FILE_SIZE_CHANGED", f"500 Command failed. : {path} has fewer than {offset} bytes")
        return descriptor

    def _create(self, local: str) -> int:
        try:
            parent, name = self.parent(local, write=True)
        except FileNotFoundError:
            self.mkdir(local.rpartition("/")[0], parents=True)
            parent, name = self.parent(local, write=True)
        try:
            return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=parent)
        finally:
            os.close(parent)

    def mkdir(self, local: str, parents: bool = False) -> None:
        try:
            parent, name = self.parent(local, write=True)
        except FileNotFoundError:
            if not parents or "/" not in local[1:]:
                raise
            self.mkdir(local.rpartition("/")[0], parents=True)
            parent, name = self.parent(local, write=True)
        try:
            os.mkdir(name, dir_fd=parent)
        except FileExistsError:
            # With parents: another transfer into the same new directory was faster.
            if not parents:
                raise
        finally:
            os.close(parent)
