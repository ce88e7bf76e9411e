"""What there is to save, and in which order. Nothing that is wrong with one file keeps the others from being saved.

A copy has the name that it will have at the far side. Globus knows UTF-8 only: a byte that is none becomes ``%`` and
two digits, in the copy's name and so at the destination.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

from nodexfer.staging import ground
from nodexfer.staging.encoding import utf8
from nodexfer.staging.plan import Send
from nodexfer.staging.salvage_record import Item

#: Of a name that grew: a file system has room for 255.
_NAME_BYTES = 240


class File(NamedTuple):
    """``path`` is the copy's, relative to its output, '' for one that is a file; ``changed`` in nanoseconds."""

    number: int
    path: str
    source: str
    size: int
    changed: int


class Output(NamedTuple):
    item: Item
    #: Of the copies, relative, each before those in it.
    directories: tuple[str, ...]
    files: tuple[File, ...]


class Survey(NamedTuple):
    outputs: list[Output]
    #: What can not be saved, each with its reason.
    refused: list[str]
    #: What gets another name than it has, and why.
    renamed: list[str]
    first: Sequence[str] = ()

    @property
    def files(self) -> list[File]:
        """In the order in which they are saved: what was named first, then one output whole before the next."""
        files = [file for output in self.outputs for file in output.files]
        return sorted(files, key=lambda file: _rank(file, self.first)) if self.first else files


def _rank(file: File, first: Sequence[str]) -> int:
    """The first pattern that the file, or a directory of its output that it is in, matches from the right."""
    own = PurePath(file.source)
    names = [own, *list(own.parents)[: len(PurePath(file.path).parts)]]
    return next((i for i, pattern in enumerate(first) if any(name.match(pattern) for name in names)), len(first))


def survey(sends: Sequence[Send], first: Sequence[str] = ()) -> Survey:
    """Look at every output. The output, and the file in it, that was written to last comes first.

    :param first: shell patterns of what comes before all that, in this order.
    """
    found = Survey([], [], [], first)
    for number, send in enumerate(sends):
        source = ground.settle(send.source)
        if not os.path.lexists(source):
            found.refused.append(f"{send.source}: it does not exist")
            continue
        found.outputs.append(_output(number, send, source, found))
    outputs = [
        output._replace(files=tuple(sorted(output.files, key=lambda file: -file.changed))) for output in found.outputs
    ]
    outputs.sort(key=lambda output: -max((file.changed for file in output.files), default=0))
    found.outputs[:] = outputs
    return found


def _output(number: int, send: Send, source: str, survey: Survey) -> Output:
    refused = survey.refused
    directories: list[str] = []
    files: list[File] = []
    is_directory = os.path.isdir(source) and not os.path.islink(source)
    before = len(refused)
    if is_directory:
        for path, entry in _walk(source, "", survey):
            if entry.is_dir(follow_symlinks=False):
                directories.append(path)
            else:
                files += _file(number, path, entry.path, refused)
    else:
        files += _file(number, "", source, refused)
    if utf8(send.destination.path) != send.destination.path:
        survey.renamed.append(_renamed(source, os.path.basename(utf8(send.destination.path))))
    elif send.into and utf8(send.source) != send.source:
        survey.renamed.append(_renamed(source, os.path.basename(utf8(send.source))))
    item = Item(
        number=number,
        source=send.source,
        collection=send.destination.collection,
        path=utf8(send.destination.path),
        into=utf8(os.path.basename(send.source)) if send.into else None,
        is_directory=is_directory,
        # One that can not be saved is missing in the copy: it counts.
        files=len(files) + len(refused) - before,
        bytes=sum(file.size for file in files),
    )
    return Output(item, tuple(directories), tuple(files))


def _renamed(path: str, name: str) -> str:
    return f"{path}: its name is not UTF-8, which Globus does not move; it was saved, and is sent, as {name}"


def _walk(top: str, below: str, survey: Survey) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below ``top``, each with its copy's path below the output's copy, which is ``below`` for ``top``."""
    try:
        with os.scandir(top) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        survey.refused.append(f"{top}: {error.strerror}")
        return
    taken = {entry.name for entry in found}
    for entry in found:
        name = utf8(entry.name)
        if name != entry.name:
            name = name.encode()[:_NAME_BYTES].decode(errors="ignore")
            while name in taken:
                name += "%"
            taken.add(name)
            survey.renamed.append(_renamed(entry.path, name))
        path = os.path.join(below, name)
        yield path, entry
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, path, survey)


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
