"""What the sandbox's Transfer service asks of a collection, whichever kind it is.

Two implementations: a site collection serves a directory of this machine; a GCP collection asks the stand-in, over its
own outward connection, so that the bytes come from wherever that process sees its /tmp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol


class StorageError(Exception):
    """``code`` is a Globus event code (FILE_NOT_FOUND, PERMISSION_DENIED, GC_NOT_CONNECTED, NO_SPACE_LEFT, EXISTS,
    NOT_A_DIRECTORY, IS_A_DIRECTORY, TIMEOUT, CONNECTION_RESET, ENDPOINT_ERROR, ...)."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


class Stat(NamedTuple):
    """``modified`` in seconds since the epoch; ``mode`` the permission bits."""

    name: str
    type: Literal["file", "dir", "invalid_symlink"]
    size: int
    modified: float
    mode: int
    user: str
    group: str
    link_target: str | None


class Storage(Protocol):
    """Absolute paths of the collection, ``/~/`` for its home. Every method raises :class:`StorageError`, also when the
    other side does not answer within ``timeout`` seconds (a constructor's value, 60 s unless told)."""

    def stat(self, path: str) -> Stat: ...

    def ls(self, path: str) -> Sequence[Stat]: ...

    def mkdir(self, path: str) -> None:
        """One level. EXISTS if something is there."""

    def rename(self, old: str, new: str) -> None:
        """EXISTS if ``new`` is there (a rename never overwrites)."""

    def remove(self, path: str) -> None:
        """A file or an empty directory."""

    def read(self, path: str, offset: int) -> Iterator[bytes]:
        """The bytes from ``offset`` to the end, in blocks of at most 4 MiB."""

    def write(self, path: str, offset: int, blocks: Iterator[bytes], mtime: float | None) -> Iterator[int]:
        """Write ``blocks`` from ``offset`` on (0 truncates), directly under the final name as the real one does;
        missing parent directories are made. Yields the offset confirmed so far; the last one after close."""

    def checksum(self, path: str, algorithm: str) -> str:
        """Hex digest, computed where the bytes lie. ``algorithm``: MD5 (Globus's default), SHA256."""
