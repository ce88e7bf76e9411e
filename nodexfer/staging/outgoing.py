"""Outputs gathered for sending: hard links where possible, copies else, so that GCP sees them and nothing beside them.

All outputs are looked at before the first is linked. A symbolic link to a file is sent as that file; one to a
directory, or to nothing, and anything that is neither file nor directory, is refused: what arrived could not be told
from a mistake. A file that is written to on its way is noticed by the desk (``Request.fingerprint``), before anything
gets its final name.

Dying in here leaves ``outgoing/<request>`` without a request, which the next cleaning of this place removes.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nodexfer.config import Config
from nodexfer.errors import NodexferError, OutputMissing, PermissionRefused, SourceUnsupported
from nodexfer.paths import RootPaths
from nodexfer.paths import ground as ground_of
from nodexfer.staging import copying, ground
from nodexfer.staging.plan import Send
from nodexfer.staging.request import OutItem


class Seen(NamedTuple):
    """A file as it was when it was linked. ``path`` is relative to the item, '' for an item that is a file."""

    number: int
    path: str
    source: str
    size: int


class Output(NamedTuple):
    """One output, looked at: nothing has been linked yet."""

    send: Send
    root: str
    is_directory: bool
    files: tuple[Seen, ...]
    directories: tuple[str, ...]


def survey(sends: Sequence[Send], config: Config) -> list[Output]:
    """Look at every output.

    :raises OutputMissing: one is not there; SourceUnsupported, PermissionRefused: it can not be sent.
    :raises DestinationNotAllowed: it lies outside the roots.
    """
    return [_survey(number, send, config) for number, send in enumerate(sends)]


def _survey(number: int, send: Send, config: Config) -> Output:
    source = ground.settle(send.source)
    if not os.path.lexists(source):
        raise OutputMissing(f"{send.source} does not exist; nothing was sent.", f"ls -la {_above(source)}")
    root = ground.root_of(source, config)
    for name in (send.destination.path, source if send.into else ""):
        _refuse_encoding(name)
    if not os.path.isdir(source) or os.path.islink(source):
        return Output(send, root, False, (_seen(number, source, ""),), ())
    files, directories = [], []
    for path, is_directory in _walk(source, ""):
        if is_directory:
            _refuse_encoding(os.path.join(source, path))
            directories.append(path)
        else:
            files.append(_seen(number, os.path.join(source, path), path))
    return Output(send, root, True, tuple(files), tuple(directories))


def _walk(top: str, below: str) -> Iterator[tuple[str, bool]]:
    """Everything below ``top``, relative to it; a directory comes before what is in it."""
    try:
        with os.scandir(os.path.join(top, below)) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except PermissionError as error:
        raise PermissionRefused(
            f"{os.path.join(top, below)} can not be read; nothing was sent.", ground.show(os.path.join(top, below))
        ) from error
    for entry in found:
        path = os.path.join(below, entry.name)
        is_directory = entry.is_dir(follow_symlinks=False)
        yield path, is_directory
        if is_directory:
            yield from _walk(top, path)


def _seen(number: int, source: str, path: str) -> Seen:
    try:
        found = os.stat(source)
    except FileNotFoundError as error:
        raise SourceUnsupported(
            f"{source} is a link to nothing; nothing was sent.", f"ls -l {_above(source)}"
        ) from error
    except OSError as error:
        raise copying.named(error, f"{source} can not be looked at, and nothing was sent") from error
    if path:
        _refuse_encoding(source)
    if not stat.S_ISREG(found.st_mode):
        kind = "a link to a directory" if stat.S_ISDIR(found.st_mode) else "neither a file nor a directory"
        raise SourceUnsupported(f"{source} is {kind}, which is not moved; nothing was sent.", f"ls -l {_above(source)}")
    if not os.access(source, os.R_OK):
        raise PermissionRefused(f"{source} can not be read; nothing was sent.", f"ls -l {shlex.quote(source)}")
    return Seen(number, path, source, found.st_size)


def _refuse_encoding(path: str) -> None:
    """What it is called is the far side's name too, but for an item itself."""
    try:
        os.path.basename(path).encode()
    except UnicodeEncodeError as error:
        raise SourceUnsupported(
            f"{path!r}: Globus moves only files whose names are UTF-8.", f"ls -b {_above(path)}"
        ) from error


def _above(path: str) -> str:
    return shlex.quote(os.path.dirname(path))


def directories(outputs: Sequence[Output], request: str, config: Config) -> list[str]:
    """Where :func:`gather` puts things."""
    return sorted({RootPaths.of(output.root, config.node_dir).outgoing(request) for output in outputs})


def gather(outputs: Sequence[Output], request: str, config: Config) -> tuple[OutItem, ...]:
    """Link (else copy) everything into ``outgoing/<request>``.

    :raises DiskFull: it has to be copied, and there is no room; what was made is left for the caller to remove.
    """
    items = []
    for number, output in enumerate(outputs):
        place = RootPaths.of(output.root, config.node_dir).make()
        directory = place.outgoing(request)
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
            _refuse_full(output, directory)
            _link(output, f"{directory}/{number}")
        except OSError as error:
            raise _named(error, output) from error
        total = sum(seen.size for seen in output.files)
        send = output.send
        items.append(
            OutItem(
                number=number,
                collection=send.destination.collection,
                path=send.destination.path,
                root=output.root,
                is_directory=output.is_directory,
                files=len(output.files),
                bytes=total,
                into=os.path.basename(send.source) if send.into else None,
                ground=ground_of(output.root, config.node_dir),
            )
        )
    return tuple(items)


def _named(error: OSError, output: Output) -> NodexferError:
    if isinstance(error, NodexferError):
        return error
    return copying.named(error, f"{output.send.source} could not be gathered for sending, and nothing was sent")


def _link(output: Output, place: str) -> None:
    if output.is_directory:
        os.mkdir(place, 0o700)
        for path in output.directories:
            os.mkdir(os.path.join(place, path), 0o700)
    for seen in output.files:
        copying.link_or_copy(seen.source, os.path.join(place, seen.path) if seen.path else place)


def _refuse_full(output: Output, directory: str) -> None:
    device = os.stat(directory).st_dev
    copied = [seen for seen in output.files if os.stat(seen.source).st_dev != device]
    ground.refuse_full(directory, sum(seen.size for seen in copied), [seen.source for seen in copied])
