"""Local files: linked where that is possible, copied where it is not, moved without a moment in between.

Imports of ctypes and shutil are inside the functions: most files are renamed, and every command imports this.
"""

from __future__ import annotations

import errno
import os
import shlex

from nodexfer.errors import DiskFull, NodexferError, PermissionRefused, TransferFailed

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
#: link(2): another file system, a file that we may not link (protected_hardlinks), too many links, no links at all.
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES})


def link_or_copy(source: str, destination: str) -> None:
    """Give the file ``source`` (links are followed) the name ``destination`` too, or copy it there."""
    try:
        os.link(os.path.realpath(source), destination)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        import shutil

        shutil.copyfile(source, destination)


def copy_tree(source: str, destination: str) -> None:
    """Copy a file or a directory of plain files, every file flushed to the disk: for a rename afterwards."""
    if not os.path.isdir(source):
        import shutil

        shutil.copy(source, destination)
        _flush(destination)
        return
    os.mkdir(destination, 0o700)
    with os.scandir(source) as entries:
        for entry in entries:
            copy_tree(entry.path, os.path.join(destination, entry.name))


def _flush(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_new(old: str, new: str) -> None:
    """Rename a file to a name that nothing has yet. :raises FileExistsError: something has it; nothing was changed."""
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from error
        os.rename(old, new)
    else:
        os.unlink(old)


def exchange(one: str, other: str) -> bool:
    """Swap two names in one step (renameat2(2), RENAME_EXCHANGE); False where kernel or file system can not."""
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    return bool(renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def size_of(path: str) -> int:
    """The bytes of a file, or of all files below a directory."""
    if not os.path.isdir(path):
        return os.stat(path).st_size
    return sum(os.lstat(os.path.join(where, name)).st_size for where, _, names in os.walk(path) for name in names)


def current_umask() -> int:
    """proc(5), status: the only way to read it without setting it for every thread."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o077


def set_modes(path: str, umask: int) -> None:
    """Give what GCP wrote the modes that the job's own programs would have given it. A program stays one."""
    if not os.path.isdir(path):
        _set_mode(path, umask)
        return
    for where, _, names in os.walk(path):
        os.chmod(where, 0o777 & ~umask | 0o700)
        for name in names:
            _set_mode(os.path.join(where, name), umask)


def _set_mode(path: str, umask: int) -> None:
    is_program = os.stat(path, follow_symlinks=False).st_mode & 0o100
    os.chmod(path, (0o777 if is_program else 0o666) & ~umask)


def named(error: OSError, doing: str) -> NodexferError:
    """An error of the system as one of ours: ``doing`` is a sentence's beginning, "/a could not be written"."""
    where = error.filename if isinstance(error.filename, str) else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{doing}: no space is left.", "df -h")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionRefused(
            f"{doing}: {os.strerror(error.errno)} ({where}).", f"ls -ld {shlex.quote(where)}" if where else "df -h"
        )
    return TransferFailed(f"{doing}: {error}.", "nodexfer status")
