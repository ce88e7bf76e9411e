"""Why a job's keeper could not lead, for those who wait for the endpoint itself (requests get a result of their own).

keepers/<job>.failed    written by the keeper, removed with its other files
"""

from __future__ import annotations

import time

from nodexfer import records
from nodexfer.errors import NodexferError, RecordBroken, from_record
from nodexfer.paths import NodePaths

FORMAT = 1


def path(paths: NodePaths, job: str) -> str:
    return f"{paths.keeper(job)}.failed"


def write(paths: NodePaths, job: str, error: NodexferError) -> None:
    """:raises DiskFull, NodeDirRemoved: nobody is told."""
    records.write(path(paths, job), {"format": FORMAT, "at": time.time(), "error": error.as_record()})


def raise_since(paths: NodePaths, job: str, since: float) -> None:
    """Raise what the job's keeper met at or after ``since`` (seconds since the epoch), if anything."""
    try:
        record = records.read(path(paths, job), FORMAT)
    except (OSError, RecordBroken):
        return
    # What was written in the future was written before the clock was set back: it is of an earlier wait.
    if record is not None and since <= float(record.get("at", 0.0)) < time.time() + 1.0:
        raise from_record(dict(record["error"]))
