"""One lease as a file: read with suspicion, written whole beside its place, swept when nobody needs it."""

from __future__ import annotations

import errno
import json
import os
import time
from typing import Any, NamedTuple

from nodexfer.errors import HomeFull, PoolEntryBroken

FORMAT = 1
#: Temporary files of contenders that died are removed after this time, in seconds.
LITTER_SECONDS = 3600.0


class Me(NamedTuple):
    """Who asks: this place, and the job that leads at it."""

    scheduler: str
    cluster: str
    host: str
    boot: str
    place: str
    node_dir: str
    job: str
    run: int


class Lease(NamedTuple):
    """One lease file. ``directory`` is the entry's; ``duration`` in seconds; ``taken`` in seconds since the epoch.

    ``renewed_ns`` is the file's time stamp, by the file server's clock: to be compared with itself only. ``trouble``
    says why the owner gave the endpoint back and took another one; the next owner's lease says nothing of it.
    """

    number: int
    endpoint_id: str
    entry: str
    directory: str
    scheduler: str
    cluster: str
    host: str
    boot: str
    place: str
    node_dir: str
    job: str
    run: int
    duration: float
    taken: float
    released: bool
    renewed_ns: int = 0
    trouble: str = ""

    @property
    def path(self) -> str:
        return path_of(self.directory, self.number)

    @property
    def holder(self) -> str:
        """Who has it, in words."""
        return f"job {self.job} on {self.host}" if self.host else "an owner that can not be read"


def numbers(directory: str) -> list[int]:
    """The numbers that are there, ascending."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError as error:
        entry = os.path.basename(directory)
        raise PoolEntryBroken(f"The pool entry {entry} is gone: {directory} does not exist.") from error
    ends = [name[6:] for name in names if name.startswith("lease.")]
    return sorted(int(end) for end in ends if end.isascii() and end.isdigit())


def path_of(directory: str, number: int) -> str:
    return f"{directory}/lease.{number}"


def read(directory: str, number: int) -> Lease | None:
    """None when it is gone: its number is not the highest any more, or its owner has just written it anew."""
    try:
        # Opening makes NFS ask the server for the time stamp (close-to-open consistency, nfs(5)).
        descriptor = os.open(path_of(directory, number), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:
            stamp = os.fstat(descriptor).st_mtime_ns
            text = file.read(65536)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ESTALE:  # renamed over by another host while we had it open (open(2))
            error.filename = path_of(directory, number)
            raise
        return None
    try:
        record = json.loads(text)
        if record.pop("format") != FORMAT:
            return _unknown(directory, number, stamp)._replace(duration=float("inf"))
        me = Me(*(_typed(record, name, int if name == "run" else str) for name in Me._fields))
        return Lease(
            number,
            _typed(record, "endpoint_id", str),
            os.path.basename(directory),
            directory,
            *me,
            float(record["duration"]),
            float(record["taken"]),
            record["released"] is True,
            stamp,
            _typed({"trouble": "", **record}, "trouble", str),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return _unknown(directory, number, stamp)


def _typed(record: dict[str, Any], name: str, kind: type) -> Any:
    if not isinstance(record[name], kind):
        raise ValueError(f"{name} is no {kind.__name__}")
    return record[name]


def _unknown(directory: str, number: int, stamp: int) -> Lease:
    entry = os.path.basename(directory)
    return Lease(number, "", entry, directory, "", "", "", "", "", "", "", 0, 600.0, 0.0, False, stamp)


def write_beside(lease: Lease) -> str:
    """The lease in a file of its own, flushed; its path."""
    record = {"format": FORMAT, **lease._asdict()}
    for derived in ("number", "entry", "directory", "renewed_ns"):
        del record[derived]
    path = f"{lease.directory}/.take-{lease.host}-{os.getpid()}-{time.monotonic_ns()}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(json.dumps(record).encode())
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        forget(path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HomeFull(f"No space is left for a lease in {lease.directory}.", f"df -h {lease.directory}") from error
        if error.errno == errno.ENOENT:
            raise PoolEntryBroken(f"The pool entry {lease.entry} is gone: {lease.directory} does not exist.") from error
        raise
    return path


def sweep(directory: str, number: int) -> None:
    """Remove what nobody needs: leases below our predecessor's, and temporary files of the dead."""
    for lower in numbers(directory):
        if lower < number - 1:
            forget(path_of(directory, lower))
    now = os.stat(path_of(directory, number)).st_mtime
    for name in os.listdir(directory):
        if name.startswith(".take-"):
            try:
                if now - os.stat(f"{directory}/{name}").st_mtime > LITTER_SECONDS:
                    os.unlink(f"{directory}/{name}")
            except OSError:
                continue


def forget(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
