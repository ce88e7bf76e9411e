"""What arrived, against what was asked: the last word before anything is published."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from nodexfer.errors import ChangedMeanwhile, TransferUnproven
from nodexfer.staging.request import MovedItem, Result


class Arrived(NamedTuple):
    """A file that lies in the exchange. ``path`` is relative to its item, '' for an item that is a file."""

    number: int
    path: str
    size: int


def check(result: Result, expected: Iterable[int]) -> list[Arrived]:
    """Every file, proven to be what the service says that it moved.

    The service has compared the checksums of source and destination (``verify_checksum``); here names, kinds and sizes
    are compared: nothing missing, nothing extra, nothing short.

    :raises TransferUnproven: it is not; the message names the first.
    :raises ChangedMeanwhile: so it is with a size alone, as that of a source that is being written to.
    """
    items = {item.number: item for item in result.items}
    if set(items) != set(expected):
        raise TransferUnproven("The desk's answer does not have the items that were asked for.", "nodexfer status")
    moved = {(file.number, file.path): file.size for file in result.files}
    found = [file for item in items.values() for file in _found(item)]
    names = {(file.number, file.path) for file in found}
    for number, path in moved.keys() - names:
        raise _unproven(items[number], path, "is missing, though the service says that it was moved")
    for file in found:
        item = items[file.number]
        if (file.number, file.path) not in moved:
            raise _unproven(item, file.path, "is here, though the service does not say that it moved it")
        expected_size = moved[file.number, file.path]
        if expected_size is None and not item.is_directory:
            expected_size = item.size
        if expected_size is not None and expected_size != file.size:
            changed = _unproven(item, file.path, f"has {file.size} bytes here and {expected_size} at the source")
            raise ChangedMeanwhile(changed.message, changed.next)
    return sorted(found)


def _found(item: MovedItem) -> Iterator[Arrived]:
    try:
        mode = os.lstat(item.local).st_mode
    except FileNotFoundError as error:
        raise _unproven(item, "", "has not arrived") from error
    if item.is_directory != stat.S_ISDIR(mode):
        raise _unproven(item, "", "is not of the kind that it has at the source")
    if not item.is_directory:
        yield Arrived(item.number, "", _regular(item, item.local, ""))
        return
    for where, directories, names in os.walk(item.local):
        # os.walk counts a link to a directory among the directories, and does not look into it.
        for name in (*names, *(name for name in directories if os.path.islink(os.path.join(where, name)))):
            path = os.path.relpath(os.path.join(where, name), item.local)
            yield Arrived(item.number, path, _regular(item, os.path.join(where, name), path))


def _regular(item: MovedItem, file: str, path: str) -> int:
    found = os.lstat(file)
    if not stat.S_ISREG(found.st_mode):
        raise _unproven(item, path, "is no plain file here")
    return found.st_size


def _unproven(item: MovedItem, path: str, what: str) -> TransferUnproven:
    name = f"{item.remote.rstrip('/')}/{path}" if path else item.remote
    return TransferUnproven(f"{name} {what}; nothing was published.", "nodexfer status")
