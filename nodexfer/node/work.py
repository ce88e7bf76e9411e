"""What waits at this place: requests in the spool and holds that want the endpoint.

The keeper asks for its own job (does it want to lead?), the leader for everybody (may it rest?). Only names are looked
at, so that it costs a few system calls; the desk reads the requests. The file names are those of
:mod:`nodexfer.staging.request`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from nodexfer import records
from nodexfer.errors import NodexferError
from nodexfer.node import bell, registry
from nodexfer.node.registry import Hold
from nodexfer.node.rubbish import names
from nodexfer.paths import NodePaths, safe_name

FORMAT = 1


class Waiting(NamedTuple):
    """A request that is not over. ``since`` is when it was made, ``patience`` how long it waits for an endpoint."""

    directory: str
    since: float
    patience: float | None
    deadline: float

    def is_out_of_patience(self, now: float) -> bool:
        return now >= self.deadline or (self.patience is not None and now >= self.since + self.patience)


def requests(paths: NodePaths, job: str | None = None) -> list[str]:
    """The directories of the requests that are not over, of one job or of all."""
    jobs = names(paths.spool) if job is None else [safe_name(job)]
    return [
        directory
        for name in jobs
        for directory in (f"{paths.spool}/{name}/{request}" for request in names(f"{paths.spool}/{name}"))
        if os.path.exists(f"{directory}/request.json") and not is_over(directory)
    ]


def is_over(directory: str) -> bool:
    """It has its answer. One of a leader that gave up is none as long as Globus may be at work on it.

    One that can not be read now is not known to be an answer.
    """
    try:
        with open(f"{directory}/result.json", "rb") as file:
            found = json.load(file)
    except OSError:
        return False
    except ValueError:
        return True
    return not (isinstance(found, dict) and found.get("unfinished") is True)


def submitted(paths: NodePaths) -> list[str]:
    """The requests that Globus knows of and that are not over: where no job lives any more, tasks to be cancelled."""
    return [directory for directory in requests(paths) if os.path.exists(f"{directory}/batch.json")]


def under_way(paths: NodePaths, lease: int) -> bool:
    """Does Globus have a task that was submitted under this lease, and that goes on by itself with its endpoint?"""
    return any(_lease_of(directory) == lease for directory in submitted(paths))


def _lease_of(directory: str) -> int | None:
    try:
        with open(f"{directory}/batch.json", "rb") as file:
            found = json.load(file)["lease"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None


def wanting(holds: Iterable[Hold]) -> list[Hold]:
    """The holds that want the endpoint to be up as long as they are."""
    return [hold for hold in holds if hold.endpoint]


def of_others(paths: NodePaths, job: str) -> bool:
    """Is there work of others that live? Their keepers wait for the lock, and go on under the lease that we have."""
    others = [hold for hold in registry.living(paths) if hold.job != job]
    own = set(requests(paths, job))
    return bool(wanting(others)) or (bool(others) and any(request not in own for request in requests(paths)))


def waiting(directory: str) -> Waiting | None:
    """What a request says of its patience; None when it is gone."""
    try:
        with open(f"{directory}/request.json", "rb") as file:
            record = json.load(file)
        patience = record.get("wait_endpoint")
        return Waiting(
            directory,
            float(record["created"]),
            None if patience is None else float(patience),
            float(record["deadline"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def refuse(directory: str, error: NodexferError) -> None:
    """Give a request its end, where no desk is there to do it. A request that has gone meanwhile is no error.

    One that was called off while Globus works on it has nobody who waits, and stays for the desk that ends its task.
    """
    begun, called_off, over = (
        os.path.exists(f"{directory}/{name}") for name in ("batch.json", "cancel", "result.json")
    )
    if over or (begun and called_off):
        return
    try:
        # A task that Globus has of it is ended by the next desk, for which the request stays.
        unfinished = {"unfinished": True} if begun else {}
        answer = {"format": FORMAT, "error": error.as_record(), **unfinished}
        records.write(f"{directory}/result.json", answer)
    except NodexferError:
        return
    bell.ring(f"{directory}/bell")


def refuse_impatient(paths: NodePaths, job: str | None, error: NodexferError, *, begun: bool = True) -> None:
    """Refuse the requests that do not want to wait any longer for an endpoint; with ``begun`` also moving ones."""
    now = time.time()
    for directory in requests(paths, job):
        if not begun and os.path.exists(f"{directory}/batch.json"):
            continue
        found = waiting(directory)
        if found is not None and found.is_out_of_patience(now):
            refuse(directory, error)
