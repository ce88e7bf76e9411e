"""Which requests become one task, when, and what of a task is whose. Pure: values in, values out.

Globus runs three transfers of a user at a time and queues the rest (Transfer API, task behaviour): a task that would
only queue is better held back here, where others can still join it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from nodexfer.globus.protocol import Moved, TransferItem
from nodexfer.staging.request import BatchItem, MovedFile

#: Active transfers of a user that Globus runs at once.
ACTIVE_LIMIT = 3
#: Items of one submission. The service names no limit; a body of this many stays below 10 MB.
ITEM_LIMIT = 20_000
#: Seconds to wait for company, by the number of tasks that move for the same collection already.
_GATHER = {0: 0.0, 1: 0.25, 2: 1.0}
#: The same while other requests are still being looked at, which takes milliseconds; and while other jobs stage too:
#: jobs of an array start, and end, within seconds of each other.
_GATHER_COMPANY, _GATHER_CROWD = 0.05, 0.3


class Key(NamedTuple):
    """Requests with equal keys can share a task. ``part`` tells apart what a failed task was split into."""

    direction: str
    collection: str
    part: str = ""


def wait_before_submit(
    age: float, moving_alike: int, moving: int, *, company: bool, crowd: bool = False
) -> float | None:
    """Seconds to go on waiting for company; 0 = submit now, None = until a task has ended.

    :param age: seconds that the oldest of the waiting requests has been ready.
    :param moving_alike: tasks under way with the same key; ``moving``: all of ours that Globus counts.
    :param company: other requests are being looked at now.
    :param crowd: other jobs have asked within the last second. One job alone is never held back for it.
    """
    if moving >= ACTIVE_LIMIT:
        return None
    gather = max(_GATHER[min(moving_alike, 2)], _GATHER_COMPANY if company else 0.0, _GATHER_CROWD if crowd else 0.0)
    return max(0.0, gather - age)


def label(endpoint: str, lease: int, submission_id: str) -> str:
    """At most 128 characters, by which a later lease knows the task (Transfer API, task_submit)."""
    return f"{lease_mark(endpoint, lease)}{submission_id[:8]}"


def lease_mark(endpoint: str, lease: int) -> str:
    """What the label of every task of this lease begins with."""
    return f"nodexfer {endpoint} lease {lease} "


def fill(sizes: Sequence[int], limit: int = ITEM_LIMIT) -> int:
    """How many of the waiting requests, with ``sizes`` items each, fit into one task: at least one."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > limit and count:
            return count
    return len(sizes)


def transfer_items(direction: str, items: Iterable[BatchItem]) -> list[TransferItem]:
    """The items as Globus wants them."""
    if direction == "in":
        return [TransferItem(item.remote, item.local, item.is_directory) for item in items]
    return [TransferItem(item.local, item.temporary, item.is_directory) for item in items]


def halves(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split what failed together, to find out whose fault it is in few tasks."""
    middle = (len(names) + 1) // 2
    return list(names[:middle]), list(names[middle:])


def whose(
    direction: str, items: Mapping[str, Sequence[BatchItem]], moved: Iterable[Moved]
) -> dict[str, list[MovedFile]]:
    """What the service says it moved, by request. ``items`` are each request's; a file of nobody's is left out.

    ``path`` of a file is relative to its item.
    """
    owners: dict[str, tuple[str, BatchItem]] = {}
    for request, own in items.items():
        for item in own:
            owners[_arrival(direction, item)] = (request, item)
    # A file that was moved again after a fault may be named twice: it is one.
    found: dict[str, dict[tuple[int, str], MovedFile]] = {request: {} for request in items}
    for one in moved:
        name = posixpath.normpath(one.destination)
        at = name
        while at not in owners and at not in ("", "/"):
            at = posixpath.dirname(at)
        if at in owners:
            request, item = owners[at]
            path = posixpath.relpath(name, at) if at != name else ""
            size = None if item.is_directory else item.size
            found[request][item.number, path] = MovedFile(item.number, path, size)
    return {request: list(files.values()) for request, files in found.items()}


def _arrival(direction: str, item: BatchItem) -> str:
    return posixpath.normpath(item.local if direction == "in" else item.temporary)


def blamed(direction: str, items: Mapping[str, Sequence[BatchItem]], text: str) -> list[str]:
    """The requests of which an item's path is named in an event's ``text``; the longest paths decide."""
    named: list[tuple[int, str]] = []
    for request, own in items.items():
        for item in own:
            paths = (item.remote, item.local) if direction == "in" else (item.local, item.temporary)
            named.extend((len(path), request) for path in paths if path in text)
    longest = max((length for length, _ in named), default=0)
    return sorted({request for length, request in named if length == longest})
