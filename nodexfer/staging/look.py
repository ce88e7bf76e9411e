"""Looking at the far side before anything moves: Globus itself would try a missing file for a day.

Every function makes HTTP calls, one or a few for each path; several paths of one directory are seen in one listing.
"""

from __future__ import annotations

import posixpath
import shlex
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from nodexfer.errors import DestinationExists, PermissionRefused, ServiceRefused, SourceMissing, SourceUnsupported
from nodexfer.globus.protocol import Entry, Globus
from nodexfer.staging.request import BatchItem, InItem, OutItem, Request

#: From so many paths of one directory on, it is listed once instead.
_LIST_FROM = 5
#: So many directories of one source are listed to compare the sizes of its files.
_SIZED_DIRECTORIES = 20


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
    """``files``: the size of each, by its path. ``whole``: there are no others."""

    files: dict[str, int]
    whole: bool


def sizes(globus: Globus, collection: str, top: str) -> Sizes:
    """What is below the directory ``top``, directories aside; one call a directory, 20 at most.

    Of what lies in further ones, or can not be listed, the service's own comparison of checksums has to do.

    :raises ServiceUnreachable, EndpointFailed: it is not known now.
    """
    found = Sizes({}, True)
    todo = [""]
    for _ in range(_SIZED_DIRECTORIES):
        if not todo:
            return found
        below = todo.pop(0)
        listed = _list(globus, collection, posixpath.join(top, below))
        if listed is None:
            found = found._replace(whole=False)
            continue
        for name, entry in listed.items():
            path = posixpath.join(below, name)
            if entry.type == "dir":
                todo.append(path)
            else:
                found.files[path] = entry.size
    return found._replace(whole=found.whole and not todo)


def _source(item: InItem, entry: Entry | None) -> BatchItem:
    if entry is None:
        raise SourceMissing(
            f"{item.path} does not exist on collection {item.collection}; nothing was moved.",
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
