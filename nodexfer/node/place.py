"""The place: one node_dir, known by a random id kept inside it and by its device and inode.

A copy of the directory, or a new one at its path, is another place: jobs with a private /tmp have the same path and
not the same files.
"""

from __future__ import annotations

import os

from nodexfer import records
from nodexfer.errors import NodeDirRemoved, RecordBroken
from nodexfer.paths import NodePaths

FORMAT = 1


def known(paths: NodePaths) -> str | None:
    """The place's id, or None where it has none yet.

    :raises NodeDirRemoved: there is no node_dir. :raises RecordNewer: see :func:`nodexfer.records.read`.
    """
    try:
        here = os.lstat(paths.node_dir)
        record = records.read(paths.place, FORMAT)
    except FileNotFoundError as error:
        raise NodeDirRemoved(f"{paths.node_dir} is gone: somebody removed it while it was in use.") from error
    except RecordBroken:
        return None
    if record is None or (record.get("device"), record.get("inode")) != (here.st_dev, here.st_ino):
        return None
    return str(record["id"])


def settle(paths: NodePaths) -> str:
    """The place's id, made where it has none. Only the leader asks, so that it is made once."""
    found = known(paths)
    if found is None:
        here = os.lstat(paths.node_dir)
        found = os.urandom(8).hex()
        records.write(paths.place, {"format": FORMAT, "id": found, "device": here.st_dev, "inode": here.st_ino})
    return found
