"""Before GCP connects under a new lease: the endpoint is ours, and no task of an earlier lease is left on it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from nodexfer.clock import Deadline
from nodexfer.errors import (
    EndpointFailed,
    EndpointNotOurs,
    NodexferError,
    PermissionRefused,
    ServiceRefused,
    SourceMissing,
)
from nodexfer.globus.protocol import Globus, Task
from nodexfer.staging.batches import lease_mark


class Left(NamedTuple):
    """A task that can not be ended: this endpoint is not to be used, while another may be."""

    error: NodexferError


def fence(globus: Globus, endpoint: str, lease: int, deadline: Deadline) -> Left | None:
    """Cancel every unfinished task that names ``endpoint`` and is not of this lease, and see them ended.

    A task goes on by itself as soon as its endpoint connects (Transfer API): one of an earlier lease would then write
    where nobody expects it. Anybody's own task on this endpoint, of an earlier lease, is of a job that is over.

    :returns: None when none is left; else one that did not end by the deadline, or that the service refuses to cancel.
    :raises EndpointNotOurs: the endpoint belongs to another identity than the token's.
    :raises NodexferError: the service can not be asked.
    """
    _see_ours(globus, endpoint)
    pause = 0.05
    asked: dict[str, NodexferError | None] = {}
    while left := strangers(globus.unfinished_tasks(endpoint), endpoint, lease):
        refusals = [error for task in left if (error := asked.get(task.id)) is not None]
        if refusals:  # and it has not ended by itself either
            return Left(refusals[0])
        for task in left:
            if task.id not in asked:
                asked[task.id] = _cancel(globus, task)
        if deadline.passed:
            return Left(
                EndpointFailed(
                    f"Task {left[0].id} of an earlier lease of the endpoint {endpoint} does not end.",
                    f"globus task cancel {left[0].id}",
                )
            )
        time.sleep(min(pause, max(deadline.left, 0.01)))
        pause = min(pause * 1.5, 1.0)
    return None


def _cancel(globus: Globus, task: Task) -> NodexferError | None:
    """What the service has against it. :raises NodexferError: it was not asked."""
    try:
        globus.cancel(task.id)
    except (ServiceRefused, PermissionRefused, SourceMissing) as error:
        return error
    return None


def _see_ours(globus: Globus, endpoint: str) -> None:
    try:
        found = globus.collection(endpoint)
    except PermissionRefused as error:  # endpoints of a pool are private: others may not even look
        raise EndpointNotOurs(
            f"The endpoint {endpoint} belongs to another identity than your token, which is of {globus.identity()}."
        ) from error
    if found.owner_id != globus.identity():
        raise EndpointNotOurs(
            f"The endpoint {endpoint} ({found.name}) belongs to the identity {found.owner_id}, "
            f"and your token is of {globus.identity()}."
        )


def strangers(tasks: Sequence[Task], endpoint: str, lease: int) -> list[Task]:
    """Those that are not of this lease."""
    return [task for task in tasks if not task.label.startswith(lease_mark(endpoint, lease))]
