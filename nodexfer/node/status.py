"""What there is at this place and in the pool, as plain data: nothing is changed, nobody is asked."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from nodexfer import identity
from nodexfer.config import Config
from nodexfer.errors import NodeDirRemoved
from nodexfer.node import endpoint, place, registry, rubbish
from nodexfer.paths import NodePaths, check_private
from nodexfer.pool.survey import survey

_PROGRESS = ("state", "task", "bytes_done", "bytes_total", "files_done", "files_total", "faults", "trouble")


def gather(config: Config) -> dict[str, Any]:
    """{"host", "node_dir", "place", "roots", "config", "pool", "endpoint", "jobs", "holds", "tasks"}.

    :raises NodeDirUnsafe: the node_dir is not ours alone.
    :raises RecordBroken, RecordNewer: the registry or the leader's record can not be read.
    """
    paths = config.node_paths
    found: dict[str, Any] = {
        "host": identity.host(),
        "node_dir": config.node_dir,
        "node_dir_from": config.source("node_dir"),
        "config": config.file,
        "roots": list(config.roots),
        "pool": survey(config),
        "place": None,
        "endpoint": None,
        "jobs": [],
        "holds": [],
        "tasks": [],
    }
    try:
        check_private(config.node_dir)
        found["place"] = place.known(paths)
    except NodeDirRemoved:  # nobody has held here yet
        return found
    leader = endpoint.read(paths)
    found["endpoint"] = _endpoint(paths, leader)
    holds, keepers = _holds(paths)
    found["holds"] = [_hold(hold) for hold in holds]
    found["tasks"] = tasks(paths)
    found["jobs"] = [_job(paths, job, holds, keepers, leader) for job in dict.fromkeys(hold.job for hold in holds)]
    return found


def _endpoint(paths: NodePaths, found: endpoint.Endpoint | None) -> dict[str, Any] | None:
    if found is None:
        return None
    from nodexfer.node import silence

    record = found._asdict()
    record["silent"] = round(max(0.0, time.time() - record.pop("beat")), 1)
    blocked = silence.blocked(paths)
    record["blocked"] = None if blocked is None else blocked.message
    if not found.led:
        # What a killed leader said last is no state of anything: the next keeper that looks goes on from it.
        record["state"] = "left behind"
    return record


def _holds(paths: NodePaths) -> tuple[list[registry.Hold], set[str]]:
    """The holds that live, and the jobs among theirs whose keeper does."""
    with registry.Transaction(paths) as table:
        lives = registry.lives_at(paths)
        holds = [hold for hold in table if lives(hold)]
        return holds, {job for job in {hold.job for hold in holds} if registry.keeper_lives(paths, job)}


def _hold(hold: registry.Hold) -> dict[str, Any]:
    return {
        "id": hold.id,
        "job": hold.job,
        "by": "process" if hold.owner else "job",
        "pid": hold.process.pid,
        "endpoint": hold.endpoint,
        "since": hold.since,
    }


def _job(
    paths: NodePaths, job: str, holds: list[registry.Hold], keepers: set[str], leader: endpoint.Endpoint | None
) -> dict[str, Any]:
    """``keeper`` is None where it was killed: the job's next command starts another."""
    keeper = registry.read_keeper(paths.keeper(job)) if job in keepers else None
    return {
        "job": job,
        "holds": sum(hold.job == job for hold in holds),
        "keeper": None if keeper is None else keeper.process.pid,
        "leads": leader is not None and leader.led and leader.keeper == job,
        "scratch": paths.scratch(job),
        "since": min(hold.since for hold in holds if hold.job == job),
    }


def tasks(paths: NodePaths) -> list[dict[str, Any]]:
    """The requests in the spool, with what the desk says of each."""
    found = []
    for job in rubbish.names(paths.spool):
        for request in sorted(rubbish.names(f"{paths.spool}/{job}")):
            directory = f"{paths.spool}/{job}/{request}"
            asked = _read(f"{directory}/request.json")
            progress = _read(f"{directory}/progress.json")
            over = os.path.exists(f"{directory}/result.json")
            row: dict[str, Any] = {
                "request": request,
                "job": asked.get("job", job),
                "direction": asked.get("direction"),
            }
            row.update({name: progress.get(name) for name in _PROGRESS})
            row["cause"] = _cause(row["trouble"])
            row["state"] = "over" if over else row["state"] or "waiting for an endpoint"
            row["deadline"] = asked.get("deadline")
            found.append(row)
    return found


def _cause(trouble: str | None) -> str | None:
    """What the code means that a task is in trouble with."""
    if trouble is None:
        return None
    from nodexfer.globus.events import find  # rarely wanted, on a way where milliseconds count

    row = find(trouble)
    return None if row is None else row.cause


def _read(path: str) -> dict[str, Any]:
    """Looked at only: what is broken is its owner's to set aside."""
    try:
        with open(path, "rb") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
