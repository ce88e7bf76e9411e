"""Files of this mount namespace as a collection: what a site serves, and what the stand-in serves by its path rules.

The stand-in's programs run with a copy of this file: standard library only.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat as modes
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from nodexfer.sandbox import owners
from nodexfer.sandbox.reach import Gate, Reach, named
from nodexfer.sandbox.storage import Stat, StorageError
from nodexfer.sandbox.wire import BLOCK, PIECE


class LocalStorage:
    """A :class:`~nodexfer.sandbox.storage.Storage` over ``gate``. Without state: any thread may use it."""

    def __init__(self, gate: Gate) -> None:
        self._reach = Reach(gate)

    def stat(self, path: str) -> Stat:
        try:
            parent, name = self._reach.parent(self._reach.locate(path, write=False), write=False)
            try:
                return self._describe(name, parent, posixpath.basename(path.rstrip("/")) or "/", strict=True)
            finally:
                os.close(parent)
        except OSError as error:
            raise named(error, path) from error

    def ls(self, path: str) -> Sequence[Stat]:
        """In order of names."""
        try:
            directory = self._reach.open(path, os.O_RDONLY | os.O_DIRECTORY, write=False)
            try:
                names = sorted(os.listdir(directory))
                return [entry for name in names if (entry := self._entry(name, directory))]
            finally:
                os.close(directory)
        except OSError as error:
            raise named(error, path) from error

    def mkdir(self, path: str) -> None:
        try:
            self._reach.mkdir(self._reach.locate(path, write=True))
        except OSError as error:
            raise named(error, path) from error

    def rename(self, old: str, new: str) -> None:
        try:
            source, old_name = self._reach.parent(self._reach.locate(old, write=True), write=True)
            try:
                target, new_name = self._reach.parent(self._reach.locate(new, write=True), write=True)
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
            parent, name = self._reach.parent(self._reach.locate(path, write=True), write=True)
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
            return self._reach.open(path, os.O_RDONLY, write=False, regular=True)
        except OSError as error:
            raise named(error, path) from error

    def write(self, path: str, offset: int, blocks: Iterator[bytes], mtime: float | None) -> Iterator[int]:
        """As the real one: straight under the final name. If we die here, the part that was written stays there."""
        descriptor = self._reach.target(path, offset)
        try:
            for block in blocks:
                offset = _write_whole(descriptor, block, offset, path)
                yield offset
            _finish(descriptor, offset, mtime, path)
        finally:
            os.close(descriptor)
        yield offset

    def checksum(self, path: str, algorithm: str, progress: Callable[[], None] | None = None) -> str:
        """:param progress: called after every 64 MiB, so that whoever waits knows that the work goes on."""
        try:
            digest = hashlib.new(algorithm.lower().replace("-", ""), usedforsecurity=False)
        except ValueError:
            raise StorageError("ENDPOINT_ERROR", f"500 Command failed. : No checksum {algorithm} here.") from None
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
            descriptor = self._reach.look(name, write=False, directory=directory)
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


def _finish(descriptor: int, size: int, mtime: float | None, path: str) -> None:
    """Cut off what an earlier try had written beyond the end."""
    try:
        os.ftruncate(descriptor, size)
        if mtime is not None:
            os.utime(descriptor, (mtime, mtime))
    except OSError as error:
        raise named(error, path) from error
