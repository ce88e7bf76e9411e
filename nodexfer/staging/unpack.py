"""Archives that arrived, unpacked before they are published: ``stage-in --extract``.

Only plain files and directories come out, only below the directory that is named, and nothing that is there is written
over: an archive is somebody else's data. (``tarfile``'s own filter came with 3.11.4, and Debian 12 has 3.11.2.)
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from nodexfer.errors import DeadlinePassed, NodexferError, SourceUnsupported, TransferUnproven, UrlMalformed
from nodexfer.staging import copying

_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
_ALGORITHMS = ("sha256", "sha512", "sha1", "md5")
_BLOCK = 1024 * 1024
#: Bytes from the end within which a zip's last records begin: 56, 20 and 22, and a comment.
_ZIP_END = 98 + 65535
NEXT = "nodexfer stage-in --help"


class _Member(NamedTuple):
    """``content`` is None for a directory."""

    name: str
    content: IO[bytes] | None
    executable: bool


def stem(path: str) -> str:
    """What is left of an archive's name without its suffix.

    :raises SourceUnsupported: it is not called like an archive that we can unpack.
    """
    name = os.path.basename(path)
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix) and name != suffix:
            return name[: -len(suffix)]
    raise SourceUnsupported(f"{path} is not called like an archive: {', '.join(_SUFFIXES)}.", NEXT)


def parse_checksum(text: str) -> tuple[str, str]:
    """(algorithm, hex in lower case) of ``sha256:HEX``. :raises UrlMalformed: it is not of this form."""
    algorithm, _, digits = text.partition(":")
    algorithm, digits = algorithm.lower(), digits.strip().lower()
    if algorithm not in _ALGORITHMS:
        raise UrlMalformed(f"'{text}' is not ALGORITHM:HEX, with one of {', '.join(_ALGORITHMS)}.", NEXT)
    import hashlib

    wanted = hashlib.new(algorithm, usedforsecurity=False).digest_size * 2
    if len(digits) != wanted or set(digits) - set("0123456789abcdef"):
        raise UrlMalformed(f"'{text}' is not a {algorithm} checksum: those are {wanted} hexadecimal digits.", NEXT)
    return algorithm, digits


def refuse_other(path: str, called: str, checksum: str, deadline: float) -> None:
    """Read the file ``path``, which is ``called`` so at its source.

    :param checksum: as :func:`parse_checksum` takes it.
    :raises TransferUnproven: its contents have another one.
    :raises SourceUnsupported: it is a directory.
    :raises DeadlinePassed: not read by ``deadline``, in seconds since the epoch.
    """
    algorithm, wanted = parse_checksum(checksum)
    import hashlib

    digest = hashlib.new(algorithm, usedforsecurity=False)
    if os.path.isdir(path):
        raise SourceUnsupported(f"{called} is a directory, which has no checksum.", NEXT)
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            _refuse_late(called, deadline)
    if digest.hexdigest() != wanted:
        raise TransferUnproven(
            f"{called} has the {algorithm} checksum {digest.hexdigest()}, and {wanted} was expected; "
            "nothing was published.",
            "nodexfer receipts list",
        )


def unpack(archive: str, into: str, called: str, deadline: float) -> int:
    """Unpack ``archive`` into the new directory ``into``; how many files came out.

    Dying in here leaves a part in ``into``, which is the caller's to remove.

    :param called: the archive's own name, for messages and to tell its kind.
    :raises SourceUnsupported: not an archive, or with more in it than plain files and directories.
    :raises TransferUnproven: it is damaged.
    :raises DiskFull, DeadlinePassed: as they say.
    """
    import lzma  # here: of all who stage in, few unpack
    import tarfile
    import zipfile
    import zlib

    files = 0
    if os.path.isdir(archive):
        raise SourceUnsupported(f"{called} is a directory, and no archive.", NEXT)
    try:
        os.mkdir(into, 0o700)
        for member in _of_zip(archive, called) if called.endswith(".zip") else _of_tar(archive, called):
            files += _write(member, into, called, deadline)
    except NodexferError:
        raise
    except OSError as error:
        if error.errno is None:  # a decompressor's: gzip and bz2 say so of data that are not theirs
            raise _damaged(called, error) from error
        raise copying.named(error, f"{called} could not be unpacked") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OverflowError) as error:
        raise _damaged(called, error) from error
    except (RuntimeError, ValueError) as error:  # a zip with a password or of an unknown method; a name with a NUL
        raise SourceUnsupported(f"{called} is not unpacked: {error}. Stage it in without --extract.", NEXT) from error
    return files


def _of_tar(archive: str, called: str) -> Iterator[_Member]:
    import tarfile

    class Header(tarfile.TarInfo):
        """Behind the first member ``tarfile`` takes a header that is broken, cut or not there for the archive's end."""

        ended = False

        @classmethod
        def fromtarfile(cls, tar: Any) -> Any:
            try:
                return super().fromtarfile(tar)
            except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed has not got it
                Header.ended = True
                raise

    with tarfile.open(archive, "r:*", tarinfo=Header) as tar:
        for member in tar:
            if not (member.isfile() or member.isdir()):
                raise _unsupported(called, member.name, "is neither a file nor a directory")
            yield _Member(member.name, tar.extractfile(member), bool(member.mode & 0o100))
        if not Header.ended:
            raise tarfile.ReadError("behind its last member comes neither another one nor the archive's end")
        # The decompressor compares its checksum at the very end, which is behind the archive's own.
        while tar.fileobj is not None and tar.fileobj.read(_BLOCK):
            pass


def _of_zip(archive: str, called: str) -> Iterator[_Member]:
    import zipfile

    with zipfile.ZipFile(archive) as packed:
        found = packed.infolist()
        # Modulo, as of many a program that does not write the longer form for more than 65,535.
        if (len(found) - _entries(archive)) % 65536 != 0:
            raise zipfile.BadZipFile(f"its directory does not have as many entries as it says ({len(found)} are read)")
        for info in found:
            mode = info.external_attr >> 16
            if mode & 0o170000 not in (0, 0o100000, 0o040000):
                raise _unsupported(called, info.filename, "is neither a file nor a directory")
            if info.is_dir():
                yield _Member(info.filename, None, False)
            else:
                with packed.open(info) as content:
                    yield _Member(info.filename, content, bool(mode & 0o100))


def _entries(archive: str) -> int:
    """How many entries a zip says that it has (APPNOTE.TXT, 4.3.16 and, for more than 65,534, 4.3.14).

    ``zipfile`` does not look: where a flipped bit makes one of them longer, those behind it are part of its comment.
    """
    with open(archive, "rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - _ZIP_END, 0))
        end = file.read()
    at = end.rfind(b"PK\5\6")
    count = int.from_bytes(end[at + 10 : at + 12], "little")
    longer = end.rfind(b"PK\6\6", 0, at) if count == 0xFFFF else -1
    return count if longer < 0 else int.from_bytes(end[longer + 32 : longer + 40], "little")


def _write(member: _Member, into: str, called: str, deadline: float) -> int:
    """1 for a file, 0 for a directory."""
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    if member.name.startswith("/") or ".." in parts:
        raise _unsupported(called, member.name, "leads out of the directory")
    path = os.path.join(into, *parts)
    if member.content is None:
        os.makedirs(path, 0o700, exist_ok=True)
        return 0
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o700 if member.executable else 0o600)
    except FileExistsError:
        raise _unsupported(called, member.name, "is in it twice") from None
    with os.fdopen(descriptor, "wb") as file:
        while block := member.content.read(_BLOCK):
            file.write(block)
            _refuse_late(called, deadline)
    return 1


def _damaged(called: str, error: Exception) -> TransferUnproven:
    return TransferUnproven(f"{called} is damaged and was not unpacked: {error}.", NEXT)


def _refuse_late(called: str, deadline: float) -> None:
    if time.time() > deadline:
        raise DeadlinePassed(f"{called} could not be unpacked in time.", "nodexfer status")


def _unsupported(called: str, name: str, why: str) -> SourceUnsupported:
    return SourceUnsupported(f"{called} is not unpacked: {name} {why}. Stage it in without --extract.", NEXT)
