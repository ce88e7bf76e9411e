"""What there is to save, and in which order. Nothing that is wrong with one file keeps the others from being saved."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nodexfer.staging import ground
from nodexfer.staging.plan import Send
from nodexfer.staging.salvage_record import Item


class File(NamedTuple):
    """``path`` is relative to its output, '' for one that is a file; ``changed`` in nanoseconds."""

    number: int
    path: str
    source: str
    size: int
    changed: int


class Output(NamedTuple):
    item: Item
    #: Relative, each before those in it.
    directories: tuple[str, ...]
    files: tuple[File, ...]


class Survey(NamedTuple):
    outputs: list[Output]
    #: What can not be saved, each with its reason.
    refused: list[str]

    @property
    def files(self) -> list[File]:
        """In the order in which they are saved: one output whole before the next."""
        return [file for output in self.outputs for file in output.files]


def survey(sends: Sequence[Send], *, newest_first: bool) -> Survey:
    """Look at every output. ``newest_first``: the output, and the file in it, that was written to last comes first."""
    found = Survey([], [])
    for number, send in enumerate(sends):
        source = ground.settle(send.source)
        if not os.path.lexists(source):
            found.refused.append(f"{send.source}: it does not exist")
            continue
        found.outputs.append(_output(number, send, source, found.refused))
    if newest_first:
        outputs = [
            output._replace(files=tuple(sorted(output.files, key=lambda file: -file.changed)))
            for output in found.outputs
        ]
        outputs.sort(key=lambda output: -max((file.changed for file in output.files), default=0))
        found.outputs[:] = outputs
    return found


def _output(number: int, send: Send, source: str, refused: list[str]) -> Output:
    directories: list[str] = []
    files: list[File] = []
    is_directory = os.path.isdir(source) and not os.path.islink(source)
    before = len(refused)
    if is_directory:
        for path, entry in _walk(source, "", refused):
            if entry.is_dir(follow_symlinks=False):
                directories.append(path)
            else:
                files += _file(number, path, os.path.join(source, path), refused)
    else:
        files += _file(number, "", source, refused)
    item = Item(
        number=number,
        source=send.source,
        collection=send.destination.collection,
        path=send.destination.path,
        into=os.path.basename(send.source) if send.into else None,
        is_directory=is_directory,
        # One that can not be saved is missing in the copy: it counts.
        files=len(files) + len(refused) - before,
        bytes=sum(file.size for file in files),
    )
    return Output(item, tuple(directories), tuple(files))


def _walk(top: str, below: str, refused: list[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(os.path.join(top, below)) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        refused.append(f"{os.path.join(top, below)}: {error.strerror}")
        return
    for entry in found:
        path = os.path.join(below, entry.name)
        yield path, entry
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(top, path, refused)


def _file(number: int, path: str, source: str, refused: list[str]) -> list[File]:
    """As stage-out does it: a link to a file is that file, everything else that is no file is refused."""
    try:
        found = os.stat(source)
    except OSError as error:
        refused.append(f"{source}: {error.strerror}")
        return []
    if not stat.S_ISREG(found.st_mode):
        refused.append(f"{source}: it is no plain file")
        return []
    return [File(number, path, source, found.st_size, found.st_mtime_ns)]
