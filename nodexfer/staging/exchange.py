"""The exchanges: the only directories that GCP sees, ``<exchange>/<request>/<number>``, and what moves in and out.

The lease's number is part of every path here: a task of an earlier lease can not touch the files of a later one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence

from nodexfer.errors import EndpointFailed, NodeDirRemoved, TransferFailed
from nodexfer.paths import RootPaths, ground
from nodexfer.staging.copying import named
from nodexfer.staging.ground import refuse_full
from nodexfer.staging.request import BatchItem, InItem, OutItem, Request


def places(
    request: Request, items: Sequence[BatchItem], exchanges: Mapping[str, str], node_dir: str
) -> list[BatchItem]:
    """``items`` with ``local`` settled.

    The service has seen our exchanges; here it is proven that they are the job's: its root is the directory that we see
    at that path, and not one of a mount namespace of its own. Nothing has been moved before.

    :raises EndpointFailed: an output lies on a root that this leader does not serve.
    """
    wanted: dict[int, InItem | OutItem] = {item.number: item for item in request.ins or request.outs}
    found = []
    for item in items:
        root, seen = wanted[item.number].root, wanted[item.number].ground
        served = exchanges.get(root) if seen in ("", ground(root, node_dir)) else None
        if served is None and request.direction == "out":
            raise EndpointFailed(_not_served(root, exchanges), "nodexfer status")
        directory = served or _common(exchanges, node_dir)
        found.append(_at(item, f"{directory}/{request.id}/{item.number}"))
    return found


def _not_served(root: str, exchanges: Mapping[str, str]) -> str:
    if root in exchanges:
        return f"The endpoint of this node sees another {root} than this job does; nothing was moved."
    return f"The endpoint of this node serves {', '.join(exchanges)}, and not {root}; nothing was moved."


def _common(exchanges: Mapping[str, str], node_dir: str) -> str:
    """The exchange that every leader has: the one in the node_dir."""
    inside = [path for path in exchanges.values() if path.startswith(f"{node_dir}/")]
    return (inside or list(exchanges.values()))[0]


def _at(item: BatchItem, local: str) -> BatchItem:
    return BatchItem(item.number, item.is_directory, local, item.remote, item.size, item.temporary, item.existed)


def prepare(request: Request, items: Sequence[BatchItem], exchanges: Mapping[str, str], node_dir: str) -> None:
    """Make room for what comes, or move in what goes: one rename a root. Again does no harm.

    :raises DiskFull: what comes can not fit.
    :raises PermissionRefused, NodeDirRemoved: there can be no directory for it.
    :raises TransferFailed: what was gathered for sending is gone; what is in the way of a directory stays.
    """
    if request.direction == "in":
        for directory in {os.path.dirname(item.local) for item in items}:
            _fresh(directory)
            needed = sum(item.size or 0 for item in items if os.path.dirname(item.local) == directory)
            refuse_full(directory, needed, [item.remote for item in items])
        return
    for root in {item.root for item in request.outs}:
        _move_in(RootPaths.of(root, node_dir), request.id, exchanges[root])


def _fresh(directory: str) -> None:
    """An empty directory: what a failed attempt left there is not taken for what arrives now."""
    shutil.rmtree(directory, ignore_errors=True)
    try:
        os.mkdir(directory, 0o700)
    except FileNotFoundError as error:
        raise NodeDirRemoved(
            f"{os.path.dirname(directory)} is gone: somebody removed it while it was in use."
        ) from error
    except OSError as error:
        raise named(error, f"{directory} can not be made") from error


def _move_in(place: RootPaths, request: str, exchange: str) -> None:
    target = f"{exchange}/{request}"
    if os.path.isdir(target):
        return
    for source in (place.outgoing(request), *_of_earlier_leases(place, request)):
        try:
            os.rename(source, target)
        except FileNotFoundError:
            continue
        return
    raise TransferFailed(
        f"What {request} gathered for sending is gone from {place.base}; nothing was moved.", "nodexfer status"
    )


def _of_earlier_leases(place: RootPaths, request: str) -> Iterable[str]:
    top = f"{place.base}/exchange"
    return (f"{top}/{lease}/{request}" for lease in os.listdir(top))


def fingerprint(directories: Iterable[str], checksums: Mapping[str, str] | None = None) -> str:
    """Of names, sizes and times of all files below: a hard link shows when its file is written to.

    The order of the directories does not matter: they are moved, and then sort otherwise.

    :param checksums: by path relative to its directory, where contents count too.
    """
    lines = []
    for top in set(directories):
        for where, _, names in os.walk(top):
            for name in names:
                found = os.lstat(os.path.join(where, name))
                path = os.path.relpath(os.path.join(where, name), top)
                known = "" if checksums is None else checksums.get(path, "")
                lines.append(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0{known}\n")
    return hashlib.blake2b("".join(sorted(lines)).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def clear(paths: Iterable[str]) -> None:
    """Remove a request's directories. Only when nothing writes there any more."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def strangers(exchanges: Iterable[str], known: set[str]) -> list[str]:
    """Directories of requests that nobody knows any more: their commands died after the end."""
    found: list[str] = []
    for exchange in exchanges:
        try:
            names = os.listdir(exchange)
        except OSError:
            continue
        found.extend(f"{exchange}/{name}" for name in names if is_request(name) and name not in known)
    return found


def is_request(name: str) -> bool:
    """Whether ``name`` is of the form that :func:`nodexfer.staging.spool.new_id` gives."""
    return len(name) == 17 and name[0] == "r" and all(c in "0123456789abcdef" for c in name[1:])
