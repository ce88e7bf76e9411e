"""Files of this mount namespace as a collection: what a site serves, and what the stand-in serves under its path rules.

A path is judged by where it really leads, on the very object that is then used: everything is first opened with O_PATH,
the kernel says through /proc/self/fd where that is, the gate decides, and the work is done through that descriptor. A
link that is swapped in meanwhile can not lead out. The stand-in's programs run with a copy of this file: standard
library only.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat as modes
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol

from nodexfer.sandbox import owners
from nodexfer.sandbox.storage import Stat, StorageError
from nodexfer.sandbox.wire import BLOCK, PIECE

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


class LocalStorage:
    """A :class:`~nodexfer.sandbox.storage.Storage` over ``gate``. Without state: any thread may use it."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def stat(self, path: str) -> Stat:
        try:
            parent, name = self._parent(self._gate.locate(path, write=False), write=False)
            try:
                return self._describe(name, parent, posixpath.basename(path.rstrip("/")) or "/", strict=True)
            finally:
                os.close(parent)
        except OSError as error:
            raise named(error, path) from error

    def ls(self, path: str) -> Sequence[Stat]:
        """In order of names."""
        try:
            directory = self._open(path, os.O_RDONLY | os.O_DIRECTORY, write=False)
            try:
                names = sorted(os.listdir(directory))
                return [entry for name in names if (entry := self._entry(name, directory))]
            finally:
                os.close(directory)
        except OSError as error:
            raise named(error, path) from error

    def mkdir(self, path: str) -> None:
        try:
            self._mkdir(self._gate.locate(path, write=True))
        except OSError as error:
            raise named(error, path) from error

    def rename(self, old: str, new: str) -> None:
        try:
            source, old_name = self._parent(self._gate.locate(old, write=True), write=True)
            try:
                target, new_name = self._parent(self._gate.locate(new, write=True), write=True)
                try:
                    if _exists(new_name, target):
                        raise StorageError("EXISTS", f"500 Command failed. : File exists: {new}")
                    os.rename(old_name, new_name, src_dir_fd=source, dst_dir_fd=target)
                finally:
                    os.close(target)
            finally:
                os.close(source)
        except OSError as error:
            raise named(error, old) from error

    def remove(self, path: str) -> None:
        """A link itself, never what it points to."""
        try:
            parent, name = self._parent(self._gate.locate(path, write=True), write=True)
            try:
                if modes.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    os.rmdir(name, dir_fd=parent)
                else:
                    os.unlink(name, dir_fd=parent)
            finally:
                os.close(parent)
        except OSError as error:
            raise named(error, path) from error

    def read(self, path: str, offset: int) -> Iterator[bytes]:
        descriptor = self.open_source(path)
        try:
            while block := os.pread(descriptor, PIECE, offset):
                yield block
                offset += len(block)
        except OSError as error:
            raise named(error, path) from error
        finally:
            os.close(descriptor)

    def open_source(self, path: str) -> int:
        """A descriptor of a regular file, for reading. :raises StorageError: also for a directory or a device."""
        try:
            return self._open(path, os.O_RDONLY, write=False, regular=True)
        except OSError as error:
            raise named(error, path) from error

    def write(self, path: str, offset: int, blocks: Iterator[bytes], mtime: float | None) -> Iterator[int]:
        """As the real one: straight under the final name. If we die here, the part that was written stays there."""
        descriptor = self._open_target(path, offset)
        try:
            for block in blocks:
                offset = _write_whole(descriptor, block, offset, path)
                yield offset
            os.ftruncate(descriptor, offset)
            if mtime is not None:
                os.utime(descriptor, (mtime, mtime))
        finally:
            os.close(descriptor)
        yield offset

    def checksum(self, path: str, algorithm: str, progress: Callable[[], None] | None = None) -> str:
        """:param progress: called after every 64 MiB, so that whoever waits knows that the work goes on."""
        digest = hashlib.new(algorithm.lower().replace("-", ""), usedforsecurity=False)
        descriptor = self.open_source(path)
        try:
            done = 0
            while block := os.pread(descriptor, PIECE, done):
                digest.update(block)
                done += len(block)
                if progress and done % (16 * BLOCK) == 0:
                    progress()
        except OSError as error:
            raise named(error, path) from error
        finally:
            os.close(descriptor)
        return digest.hexdigest()

    # where paths lead

    def _look(self, path: str, write: bool, directory: int | None = None) -> int:
        """An O_PATH descriptor of what ``path`` leads to, which the gate has allowed."""
        found = os.open(path, _LOOK, dir_fd=directory)
        try:
            self._gate.check(os.readlink(f"/proc/self/fd/{found}"), write)
        except BaseException:
            os.close(found)
            raise
        return found

    def _open(self, path: str, flags: int, *, write: bool, regular: bool = False) -> int:
        """Open what exists. O_NONBLOCK lest a fifo holds us; it means nothing for files and directories (open(2))."""
        found = self._look(self._gate.locate(path, write), write)
        try:
            mode = os.fstat(found).st_mode
            if regular and not modes.S_ISREG(mode):
                if modes.S_ISDIR(mode):
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                raise StorageError("NOT_A_FILE", f"500 Command failed. : Not a regular file: {path}")
            return os.open(f"/proc/self/fd/{found}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(found)

    def _parent(self, local: str, write: bool) -> tuple[int, str]:
        """The directory that ``local`` lies in, opened, and its name there; the gate has allowed the two together."""
        head, _, name = local.rpartition("/")
        name = name or "."
        parent = os.open(head or "/", _LOOK | os.O_DIRECTORY)
        try:
            real = os.readlink(f"/proc/self/fd/{parent}").rstrip("/")
            self._gate.check(real if name == "." and real else f"{real}/{name if name != '.' else ''}", write)
        except BaseException:
            os.close(parent)
            raise
        return parent, name

    def _open_target(self, path: str, offset: int) -> int:
        try:
            try:
                descriptor = self._open(path, os.O_WRONLY | (0 if offset else os.O_TRUNC), write=True, regular=True)
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
            parent, name = self._parent(local, write=True)
        except FileNotFoundError:
            self._mkdir(local.rpartition("/")[0], parents=True)
            parent, name = self._parent(local, write=True)
        try:
            return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=parent)
        finally:
            os.close(parent)

    def _mkdir(self, local: str, parents: bool = False) -> None:
        try:
            parent, name = self._parent(local, write=True)
        except FileNotFoundError:
            if not parents or "/" not in local[1:]:
                raise
            self._mkdir(local.rpartition("/")[0], parents=True)
            parent, name = self._parent(local, write=True)
        try:
            os.mkdir(name, dir_fd=parent)
        except FileExistsError:
            # With parents: another transfer into the same new directory was faster.
            if not parents:
                raise
        finally:
            os.close(parent)

    # what is there

    def _entry(self, name: str, directory: int) -> Stat | None:
        try:
            return self._describe(name, directory, name)
        except FileNotFoundError:
            return None  # removed since the directory was read

    def _describe(self, name: str, directory: int, shown: str, strict: bool = False) -> Stat:
        """:param strict: a link to where the gate lets nobody go is an error, not a broken link in a listing."""
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not modes.S_ISLNK(found.st_mode):
            return _stat(shown, "dir" if modes.S_ISDIR(found.st_mode) else "file", found, None)
        target = os.readlink(name, dir_fd=directory)
        try:
            descriptor = self._look(name, write=False, directory=directory)
        except OSError:
            return _stat(shown, "invalid_symlink", found, target)
        except StorageError:
            if strict:
                raise
            return _stat(shown, "invalid_symlink", found, target)
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        return _stat(shown, "dir" if modes.S_ISDIR(found.st_mode) else "file", found, target)


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _stat(name: str, kind: Literal["file", "dir", "invalid_symlink"], found: os.stat_result, link: str | None) -> Stat:
    mode = modes.S_IMODE(found.st_mode)
    user, group = owners.user(found.st_uid), owners.group(found.st_gid)
    return Stat(name, kind, found.st_size, found.st_mtime, mode, user, group, link)


def _write_whole(descriptor: int, block: bytes, offset: int, path: str) -> int:
    view = memoryview(block)
    try:
        while view:
            written = os.pwrite(descriptor, view, offset)
            offset += written
            view = view[written:]
    except OSError as error:
        raise named(error, path) from error
    return offset
