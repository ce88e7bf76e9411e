"""Before GCP connects under a new lease: the endpoint is ours, and no task of an earlier lease is left on it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from nodexfer.clock import Deadline
from nodexfer.errors import EndpointFailed, EndpointNotOurs, PermissionRefused
from nodexfer.globus.protocol import Globus, Task
from nodexfer.staging.batches import lease_mark


def fence(globus: Globus, endpoint: str, lease: int, deadline: Deadline) -> None:
    """Cancel every unfinished task that names ``endpoint`` and is not of this lease, and see them ended.

    A task goes on by itself as soon as its endpoint connects (Transfer API): one of an earlier lease would then write
    where nobody expects it. Anybody's own task on this endpoint, of an earlier lease, is of a job that is over.

    :raises EndpointNotOurs: the endpoint belongs to another identity than the token's.
    :raises EndpointFailed: a task did not end by the deadline.
    """
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
    pause = 0.05
    asked: set[str] = set()
    while left := strangers(globus.unfinished_tasks(endpoint), endpoint, lease):
        for task in left:
            if task.id not in asked:
                globus.cancel(task.id)
                asked.add(task.id)
        if deadline.passed:
            raise EndpointFailed(
                f"Task {left[0].id} of an earlier lease of the endpoint {endpoint} does not end.",
                f"globus task cancel {left[0].id}",
            )
        time.sleep(min(pause, max(deadline.left, 0.01)))
        pause = min(pause * 1.5, 1.0)


def strangers(tasks: Sequence[Task], endpoint: str, lease: int) -> list[Task]:
    """Those that are not of this lease."""
    return [task for task in tasks if not task.label.startswith(lease_mark(endpoint, lease))]
