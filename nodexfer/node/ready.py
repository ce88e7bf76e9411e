"""Waiting for the endpoint: what ``acquire --endpoint`` and ``hold --endpoint`` do with the hold that they took."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import EndpointFailed, NodeDirRemoved, NodexferError, from_record
from nodexfer.node import endpoint, failure, hold, silence
from nodexfer.paths import ground, private_directory, safe_name
from nodexfer.scheduler import Job

FIRST_PAUSE, LAST_PAUSE = 0.01, 0.1
#: How often the keeper is looked at: it may have been killed.
KEEPER_SECONDS = 1.0


def wait(config: Config, job: Job, taken: hold.Taken, patience: float | None, deadline: Deadline) -> endpoint.Endpoint:
    """Come back when the endpoint is ready.

    :param patience: seconds to wait for one to come free (of the pool, of another GCP of this user); the time that one
        needs to start is not counted. None: until the deadline.
    :raises NodexferError: why there is none; EndpointFailed: it was not ready by the deadline.
    """
    paths = config.node_paths
    tired = Deadline(deadline.left if patience is None else patience)
    pause = FIRST_PAUSE
    look = Deadline(KEEPER_SECONDS)
    while True:
        found = endpoint.read(paths)
        blocked = silence.blocked(paths)
        if found is not None and found.ready and blocked is None:
            return found
        _raise_failure(config, taken)
        if found is not None and found.led and found.waiting is not None and tired.passed:
            raise from_record(found.waiting)
        if blocked is not None and (tired.passed or deadline.passed):
            raise blocked
        if deadline.passed:
            raise EndpointFailed(f"The endpoint was not ready in time: {_state(found)}", "nodexfer status")
        if look.passed:
            look = Deadline(KEEPER_SECONDS)
            hold.ensure_keeper(config, job)
        time.sleep(min(pause, deadline.left))
        pause = min(LAST_PAUSE, pause * 1.3)


def _raise_failure(config: Config, taken: hold.Taken) -> None:
    try:
        failure.raise_since(config.node_paths, taken.job, taken.since)
    except NodexferError as error:
        from nodexfer.node.surroundings import explained

        raise explained(config, taken.job, error) from None


def _state(found: endpoint.Endpoint | None) -> str:
    if found is None or not found.led:
        return "nobody leads at this place."
    silent = time.time() - found.beat
    if silent > endpoint.SILENT_SECONDS:
        return (
            f"the leader (process {found.leader} of job {found.keeper}) has shown no sign of life for {silent:.0f} s; "
            "it may be suspended, and nobody can lead as long as it is there."
        )
    return f"{found.state}, {found.message or 'without a reason'}."


def variables(config: Config, taken: hold.Taken, found: endpoint.Endpoint) -> dict[str, str]:
    """The hold's, and the endpoint's. ``NODEXFER_ROOT`` is a directory that the endpoint sees; it is made here.

    :raises NodeDirUnsafe, NodeDirRemoved: it can not be made.
    """
    root = private_directory(f"{_exchange(config, found)}/jobs/{safe_name(taken.job)}")
    return {**taken.variables, "NODEXFER_ENDPOINT_ID": found.endpoint_id or "", "NODEXFER_ROOT": root}


def _exchange(config: Config, found: endpoint.Endpoint) -> str:
    """On the first of our roots that the leader serves, and that is the same directory to it and to us."""
    for root in (*config.roots, *found.exchanges):
        here = ground(root, config.node_dir)
        # A leader of an older version says nothing of grounds.
        if root in found.exchanges and found.grounds.get(root, here) == here:
            return found.exchanges[root]
    raise NodeDirRemoved("The endpoint serves no directory of this node.", "nodexfer status")


def end_of_job(config: Config, job: Job, environ: Mapping[str, str] | None = None) -> Deadline:
    """The deadline of whatever waits in this job, which holds the place. May ask the scheduler (20 s)."""
    from nodexfer.node import jobend

    return Deadline.from_epoch(jobend.find(config, job, os.environ if environ is None else environ).at)
