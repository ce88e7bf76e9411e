"""A salvage on disk, on the shared file system.

    salvage/<job>/<id>/
      salvage.json   what was to be saved, and where it is to go; "saving" until the saver has come to its end
      journal        which copies are whole (:mod:`nodexfer.staging.journal`)
      part/          copies under way
      data/<number>  the outputs
      task-*.json    the resume's tasks (:mod:`nodexfer.staging.via_task`)
      lock           taken by who saves, and by who resumes

It is made whole beside its place and renamed. Locks are a help only, since some file systems have none between nodes:
two resumes of one salvage would follow one and the same task.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from nodexfer import records
from nodexfer.errors import HomeFull, NodexferError, PermissionRefused, RecordBroken
from nodexfer.node import rubbish
from nodexfer.paths import HomePaths, safe_name

FORMAT = 1
RECORD = "salvage.json"
#: Seconds after which a salvage that is not yet there never will be: making one takes milliseconds.
_UNBORN_SECONDS = 3600.0
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


class Item(msgspec.Struct, frozen=True):
    """One output, as it was to be sent; ``files`` and ``bytes`` count what it had, saved or not."""

    number: int
    source: str
    collection: str
    path: str
    into: str | None
    is_directory: bool
    files: int
    bytes: int


class Salvage(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds since the epoch; ``until`` is when the saver has stopped, whatever became of it."""

    format: int = FORMAT
    id: str
    state: Literal["saving", "saved"] = "saving"
    job: str
    host: str
    created: float
    until: float
    overwrite: bool = False
    merge: bool = False
    items: tuple[Item, ...]
    #: What is not there, each with its reason.
    unsaved: tuple[str, ...] = ()
    #: By item: the path at its collection that it has been given; and the tasks that brought it there.
    sent: dict[int, str] = {}
    tasks: tuple[str, ...] = ()


def home(paths: HomePaths) -> str:
    return f"{paths.home}/salvage"


def make(paths: HomePaths, salvage: Salvage) -> str:
    """Its directory, with the record in it. :raises HomeFull, PermissionRefused: it is not there."""
    directory = f"{home(paths)}/{safe_name(salvage.job)}/{salvage.id}"
    unborn = f"{os.path.dirname(directory)}/.new-{salvage.id}"
    try:
        # Ours or not, private or not: at walltime nobody is there to mend it, and credentials are not in here.
        os.makedirs(os.path.dirname(directory), 0o700, exist_ok=True)
        os.mkdir(unborn, 0o700)
        write(unborn, salvage)
        for name in ("data", "part"):
            os.mkdir(f"{unborn}/{name}", 0o700)
        os.rename(unborn, directory)
    except OSError as error:
        shutil.rmtree(unborn, ignore_errors=True)
        raise named(error, directory) from error
    except HomeFull as error:
        shutil.rmtree(unborn, ignore_errors=True)
        raise _full(directory) from error
    except BaseException:
        shutil.rmtree(unborn, ignore_errors=True)
        raise
    return directory


def named(error: OSError, directory: str) -> NodexferError:
    """An error of the shared file system as one of ours."""
    if is_full(error):
        return _full(directory)
    return PermissionRefused(
        f"{directory} can not be written: {error.strerror}.", f"ls -ld {os.path.dirname(directory)}"
    )


def _full(directory: str) -> HomeFull:
    return HomeFull(f"No space is left for {directory}; nothing was saved.", f"df -h {os.path.dirname(directory)}")


def is_full(error: object) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def write(directory: str, salvage: Salvage) -> None:
    """:raises HomeFull: nothing was changed."""
    records.write(f"{directory}/{RECORD}", msgspec.to_builtins(salvage), shared=True)


def read(directory: str) -> Salvage | None:
    """None where there is none. :raises RecordBroken, RecordNewer: see :func:`nodexfer.records.read`."""
    path = f"{directory}/{RECORD}"
    found = records.read(path, FORMAT)
    try:
        return None if found is None else msgspec.convert(found, Salvage, str_keys=True)
    except msgspec.ValidationError as error:
        raise RecordBroken(f"{path} is not what it should be: {error}.", "nodexfer resume") from error


def directories(paths: HomePaths) -> list[str]:
    """All that are there, the oldest first (a request's name begins with its second)."""
    found = []
    for job in _names(home(paths)):
        found += [f"{home(paths)}/{job}/{name}" for name in _names(f"{home(paths)}/{job}")]
    return sorted(found, key=os.path.basename)


def _names(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove(directory: str) -> None:
    """Out of sight in one rename, then for good; a death in between leaves what :func:`sweep` removes."""
    above, name = os.path.split(directory)
    hidden = f"{above}/.gone-{name}"
    try:
        os.rename(directory, hidden)
    except OSError:
        hidden = directory
    shutil.rmtree(hidden, ignore_errors=True)
    _remove_empty(above)
    _remove_empty(os.path.dirname(above))


def sweep(paths: HomePaths) -> None:
    """Remove what was on its way out, or not yet there, when its process died; and what is empty then."""
    for job in _names(home(paths)):
        top = f"{home(paths)}/{job}"
        for name in rubbish.names(top, hidden=True):
            if name.startswith(".gone-") or (name.startswith(".new-") and _is_old(f"{top}/{name}")):
                shutil.rmtree(f"{top}/{name}", ignore_errors=True)
        _remove_empty(top)
    _remove_empty(home(paths))


def _is_old(path: str) -> bool:
    try:
        return os.stat(path).st_mtime < time.time() - _UNBORN_SECONDS
    except OSError:
        return False


def _remove_empty(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        pass


@contextmanager
def claimed(directory: str) -> Iterator[bool]:
    """Whether nobody else saves or resumes it, as far as this file system can tell; held for the block."""
    try:
        descriptor = os.open(f"{directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # full, or not ours to write: then without
        yield os.path.isdir(directory)
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            yield error.errno in _NO_LOCKS
        else:
            yield True
    finally:
        os.close(descriptor)
