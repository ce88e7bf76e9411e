"""A disk that can be filled without harm: a small tmpfs in a mount namespace of our own. Root only."""

from __future__ import annotations

import ctypes
import errno
import os

from nodexfer import procs

#: sched.h
_CLONE_NEWNS = 0x20000
_SIZE = "128m"
_SECONDS = 10.0


class Disk:
    """What is mounted at ``path``, for this process and for what it starts, and for nobody else."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._ballast = f"{path}/ballast"

    @classmethod
    def mount(cls, path: str) -> Disk | None:
        """Mount one over the directory ``path``; None where that is not allowed. It is gone with our last process.

        From here on this process is in a mount namespace of its own.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        if os.geteuid() != 0 or libc.unshare(_CLONE_NEWNS) != 0:
            return None
        for argv in (
            ["mount", "--make-rprivate", "/"],
            ["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0700", "nodexfer-chaos", path],
        ):
            try:
                if procs.run(argv, timeout=_SECONDS).code != 0:
                    return None
            except FileNotFoundError:
                return None
        return cls(path)

    def fill(self) -> None:
        """Leave no block free."""
        with open(self._ballast, "ab") as file:
            for size in (1 << 20, 1 << 16, 1 << 12):
                while _grow(file.fileno(), size):
                    pass

    def free(self) -> None:
        """Take the filling away."""
        try:
            os.unlink(self._ballast)
        except FileNotFoundError:
            pass

    def unmount(self) -> None:
        """For the removal of the directory; whoever still works in it keeps it."""
        procs.run(["umount", "--lazy", self._path], timeout=_SECONDS)


def _grow(descriptor: int, size: int) -> bool:
    try:
        os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, size)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return False
        raise
    return True
