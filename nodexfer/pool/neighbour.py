"""Another place of this very node: its locks say whether anybody leads there, without asking anyone."""

from __future__ import annotations

import fcntl
import json
import os
from types import TracebackType

from nodexfer.gcp.strays import kill_strays
from nodexfer.paths import NodePaths
from nodexfer.pool.lease import Lease, Me


class Neighbour:
    """The locks of the place that ``lease`` is of, held while in the context so that nobody starts to lead there.

    ``dead`` is True only when the place is this node's, in this boot, is to be seen from here, and both its leader's
    and its guard's lock were free; else None. What is left of its GCP is killed first, 5 s at most.
    """

    def __init__(self, lease: Lease, me: Me) -> None:
        self._lease = lease
        self._me = me
        self._held: list[int] = []
        self.dead: bool | None = None

    def __enter__(self) -> Neighbour:
        lease, me = self._lease, self._me
        if (lease.boot, lease.host) == (me.boot, me.host) and lease.place != me.place and lease.node_dir:
            paths = NodePaths(lease.node_dir)
            if _is_place(paths, lease.place) and self._lock(paths.node_dir) and self._lock(paths.guard_lock):
                # With its guard SIGKILLed too, its GCP may have outlived both.
                self.dead = kill_strays(paths.gcp_config(lease.place)) or None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._held:
            os.close(self._held.pop())

    def _lock(self, path: str) -> bool:
        """Take the flock at ``path`` without waiting. A missing file is a free one: nobody ever took it."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        self._held.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _is_place(paths: NodePaths, place: str) -> bool:
    """With a private /tmp, the same path is another directory: the id inside says which one this is."""
    try:
        with open(paths.place, "rb") as file:  # only looked at: it is not ours to set aside
            record = json.loads(file.read(4096))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("id") == place
