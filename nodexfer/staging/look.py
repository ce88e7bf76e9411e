"""Looking at the far side before anything moves: Globus itself would try a missing file for a day.

Every function makes HTTP calls, one or a few for each path; several paths of one directory are seen in one listing.
"""

from __future__ import annotations

import posixpath
import shlex
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from nodexfer.errors import DestinationExists, PermissionRefused, ServiceRefused, SourceMissing, SourceUnsupported
from nodexfer.globus.protocol import Entry, Globus
from nodexfer.staging.request import BatchItem, InItem, OutItem, Request

#: From so many paths of one directory on, it is listed once instead.
_LIST_FROM = 5
#: So many directories of one source are listed to compare its files with what was moved; for so long (s), and so many
#: at once. Listing is what Globus itself does with a source before it moves anything: this costs a part of that again.
SIZED_DIRECTORIES = 1000
_SIZED_SECONDS = 60.0
_AT_ONCE = 4
_UNKNOWN = "whether Globus left out symbolic links there is not known"


def many(globus: Globus, collection: str, paths: Iterable[str]) -> dict[str, Entry | None]:
    """What is at each path; None where nothing is."""
    by_parent: dict[str, list[str]] = defaultdict(list)
    for path in dict.fromkeys(paths):
        by_parent[posixpath.dirname(path)].append(path)
    found: dict[str, Entry | None] = {}
    for parent, together in by_parent.items():
        listed = _list(globus, collection, parent) if len(together) >= _LIST_FROM else None
        for path in together:
            entry = listed.get(posixpath.basename(path)) if listed is not None else None
            known = listed is not None and (entry is None or entry.type in ("file", "dir"))
            found[path] = entry if known else one(globus, collection, path)
    return found


def one(globus: Globus, collection: str, path: str) -> Entry | None:
    """What is at ``path``; None for nothing."""
    try:
        return globus.stat(collection, path)
    except SourceMissing:
        return None


def _list(globus: Globus, collection: str, directory: str) -> dict[str, Entry] | None:
    """By name; {} where there is no such directory, None where only a stat can tell."""
    try:
        return {entry.name: entry for entry in globus.ls(collection, directory)}
    except SourceMissing:
        return {}
    except (ServiceRefused, PermissionRefused):  # no directory, or one that may be entered and not listed
        return None


def sources(globus: Globus, items: Iterable[InItem]) -> list[BatchItem]:
    """What is to be brought, with kind and size; ``local`` is not settled yet.

    :raises SourceMissing, PermissionRefused, SourceUnsupported: for the first that can not be brought.
    """
    found: dict[tuple[str, str], Entry | None] = {}
    by_collection: dict[str, list[str]] = defaultdict(list)
    for item in items:
        by_collection[item.collection].append(item.path)
    for collection, paths in by_collection.items():
        for path, entry in many(globus, collection, paths).items():
            found[collection, path] = entry
    return [_source(item, found[item.collection, item.path]) for item in items]


class Sizes(NamedTuple):
    """``files``: the size of each, by its path. ``gaps``: a sentence for what was not looked at; none: it is all."""

    files: dict[str, int]
    gaps: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return not self.gaps


def sizes(globus: Globus, collection: str, top: str, most: int | None = None) -> Sizes:
    """What is below the directory ``top``, directories aside; one call a directory, for a minute.

    Of what lies in further ones, or can not be listed, the service's own comparison of checksums has to do.

    :param most: so many directories are listed, 1,000 where nobody says.
    :raises ServiceUnreachable, EndpointFailed: it is not known now.
    """
    most = SIZED_DIRECTORIES if most is None else most
    files: dict[str, int] = {}
    unlisted: list[str] = []
    todo, seen, end = [""], 0, time.monotonic() + _SIZED_SECONDS
    while todo and seen < most and time.monotonic() < end:
        count = min(_AT_ONCE, most - seen)
        now, todo, seen = todo[:count], todo[count:], seen + len(todo[:count])
        listings = _lists(globus, collection, [posixpath.join(top, below) for below in now])
        for below, listed in zip(now, listings, strict=True):
            if listed is None:
                unlisted.append(posixpath.join(top, below))
                continue
            for name, entry in listed.items():
                path = posixpath.join(below, name)
                if entry.type == "dir":
                    todo.append(path)
                else:
                    files[path] = entry.size
    gaps = []
    if unlisted:
        others = f" and {len(unlisted) - 1} more" if len(unlisted) > 1 else ""
        gaps.append(f"{min(unlisted)}{others} can not be listed: {_UNKNOWN}")
    if todo:
        gaps.append(f"{top} has more than {seen} directories, and only so many were looked into: {_UNKNOWN}")
    return Sizes(files, tuple(gaps))


def _lists(globus: Globus, collection: str, directories: list[str]) -> list[dict[str, Entry] | None]:
    if len(directories) == 1:
        return [_list(globus, collection, directories[0])]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(lambda directory: _list(globus, collection, directory), directories))


def _pattern(path: str) -> str:
    """To who hoped for more: a shell finds nothing that fits, and hands the pattern on as it is."""
    if set(path).isdisjoint("*?["):
        return ""
    return " It is taken as a name, not as a pattern: name the directory, or each file (--manifest)."


def _source(item: InItem, entry: Entry | None) -> BatchItem:
    if entry is None:
        raise SourceMissing(
            f"{item.path} does not exist on collection {item.collection}; nothing was moved.{_pattern(item.path)}",
            f"globus ls {shlex.quote(f'{item.collection}:{posixpath.dirname(item.path)}')}",
        )
    if entry.type not in ("file", "dir"):
        raise SourceUnsupported(
            f"{item.path} is neither a file nor a directory; nothing was moved.", show(item.collection, item.path)
        )
    is_directory = entry.type == "dir"
    return BatchItem(item.number, is_directory, "", item.path, None if is_directory else entry.size)


def destinations(globus: Globus, request: Request) -> list[BatchItem]:
    """Where each output goes, settled; ``local`` is not settled yet. Missing directories above are made.

    :raises DestinationExists: something is there, and the request does not say that it may be.
    :raises PermissionRefused: the service says that we may not look, or not make the directories.
    """
    items = request.outs
    seen = {
        (collection, path): entry
        for collection in {item.collection for item in items}
        for path, entry in many(globus, collection, [o.path for o in items if o.collection == collection]).items()
    }
    found = []
    for item in items:
        path, entry = item.path, seen[item.collection, item.path]
        if item.into is not None and entry is not None and entry.type == "dir":
            path = f"{item.path.rstrip('/')}/{item.into}"
            entry = one(globus, item.collection, path)
        _refuse_existing(item, path, entry, request)
        found.append(
            BatchItem(
                number=item.number,
                is_directory=item.is_directory,
                local="",
                remote=path,
                size=item.bytes,
                temporary=temporary(path, request.id, item.number),
                existed=entry is not None,
            )
        )
    made: set[str] = set()
    for item, settled in zip(items, found, strict=True):
        make(globus, item.collection, posixpath.dirname(settled.remote), made)
    return found


def show(collection: str, path: str) -> str:
    """The command that shows what is there."""
    return f"globus stat {shlex.quote(f'{collection}:{path}')}"


def temporary(path: str, request: str, number: int) -> str:
    """What an output is called until it is proven: beside its destination, hidden, of bounded length."""
    return f"{posixpath.dirname(path).rstrip('/')}/.nodexfer-{request}-{number}"


def _refuse_existing(item: OutItem, path: str, entry: Entry | None, request: Request) -> None:
    if entry is None or request.overwrite:
        return
    is_directory = entry.type == "dir"
    if request.merge and is_directory and item.is_directory:
        return
    flag = "--merge or --overwrite" if is_directory and item.is_directory else "--overwrite"
    raise DestinationExists(
        f"{path} exists already on collection {item.collection}; nothing was moved. Give {flag}, or another name.",
        show(item.collection, path),
    )


def make(globus: Globus, collection: str, directory: str, done: set[str]) -> None:
    """Make a directory and those above it, unless they are there. What is in ``done`` is known to be; it is added to.

    :raises DestinationExists: one of them is a file.
    """
    if directory in done or directory in ("", "/", "/~"):
        return
    done.add(directory)
    entry = one(globus, collection, directory)
    if entry is not None:
        if entry.type == "file":
            raise DestinationExists(
                f"{directory} is a file on collection {collection}; nothing was moved.", show(collection, directory)
            )
        return
    make(globus, collection, posixpath.dirname(directory), done)
    try:
        globus.mkdir(collection, directory)
    except DestinationExists:  # somebody else made it meanwhile
        pass
