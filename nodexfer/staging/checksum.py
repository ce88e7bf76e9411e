"""Files read once more, for ``--verify checksum``: SHA-256, which anybody can compare with ``sha256sum``.

Globus compares checksums of both sides and does not tell them; what can be had here is the checksum of what lies on
this node's disk. It is read from the disk, not from the memory that it was written to, as far as the kernel obliges.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Literal, TypeAlias

from nodexfer.errors import DeadlinePassed, TransferUnproven

Verify: TypeAlias = "Literal['size', 'checksum']"

_BLOCK = 1024 * 1024


def of_file(path: str, deadline: float) -> str:
    """``sha256:hex`` of a file that nobody writes to.

    :param deadline: seconds since the epoch by which it must be read.
    :raises TransferUnproven: it can not be read, or was written to meanwhile.
    :raises DeadlinePassed: there was not enough time.
    """
    # Imported here: it loads OpenSSL, and the common command reads nothing again.
    import hashlib

    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            _forget(file.fileno())
            while block := file.read(_BLOCK):
                digest.update(block)
                if time.time() > deadline:
                    raise DeadlinePassed(f"{path} could not be read again in time.", "nodexfer status")
            after = os.fstat(file.fileno())
    except OSError as error:
        if isinstance(error, DeadlinePassed):
            raise
        raise TransferUnproven(f"{path} can not be read again: {error.strerror}.", "dmesg | tail") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise TransferUnproven(f"{path} was written to while it was compared.", "nodexfer status")
    return f"sha256:{digest.hexdigest()}"


def _forget(descriptor: int) -> None:
    """Have it written, and its pages dropped, so that reading asks the disk."""
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:  # a file system that can not: then it is what memory says
        pass


def of_trees(directories: Iterable[str], deadline: float) -> dict[str, str]:
    """The checksum of every plain file below, by its path relative to its directory.

    :raises TransferUnproven, DeadlinePassed: as :func:`of_file`.
    """
    found = {}
    for top in sorted(set(directories)):
        for where, _, names in os.walk(top):
            for name in names:
                path = os.path.join(where, name)
                found[os.path.relpath(path, top)] = of_file(path, deadline)
    return found


def refuse_other(original: str, copy: str, deadline: float) -> None:
    """:raises TransferUnproven: ``copy``, a file or a directory, is not what ``original`` is."""
    if os.path.isdir(original):
        same = of_trees([original], deadline) == of_trees([copy], deadline)
    else:
        same = of_file(original, deadline) == of_file(copy, deadline)
    if not same:
        raise TransferUnproven(f"{copy} is not what it was copied from; it was not published.", "dmesg | tail")
