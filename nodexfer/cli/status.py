"""``nodexfer status``: what there is on this node; for people in at most 80 columns.

A module of its own, so that what a hold needs is not loaded to look.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from nodexfer.cli.render import WIDTH, printable, show_json, show_table
from nodexfer.config import load
from nodexfer.node.endpoint import SILENT_SECONDS
from nodexfer.units import format_bytes, format_duration

#: So many holds have a line of their own: an array's jobs may have hundreds.
HOLDS_SHOWN = 10


@click.command(epilog="\b\nExample:\n  nodexfer status --json")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(as_json: bool) -> None:
    """Show what there is on this node: endpoint, place, jobs, holds, tasks."""
    from nodexfer.node.status import gather

    found = gather(load())
    if as_json:
        show_json(found)
    else:
        show(found)


def show(found: Mapping[str, Any]) -> None:
    """Print what :func:`nodexfer.node.status.gather` found."""
    now = time.time()
    for name, value in _head(found, now):
        for number, line in enumerate(_wrapped(printable(value))):
            sys.stdout.write(f"{'' if number else name:<9} {line}\n")
    for text in _pool(found["pool"], now):
        for line in _wrapped(printable(text)):
            sys.stdout.write(f"{'':<9} {line}\n")
    if found["jobs"]:
        sys.stdout.write("\n")
        show_table(("JOB", "HOLDS", "KEEPER", "SINCE"), [_job(job, now) for job in found["jobs"]])
    if found["holds"]:
        sys.stdout.write("\n")
        shown = found["holds"][:HOLDS_SHOWN]
        show_table(("HOLD", "JOB", "BY", "SINCE"), [_hold(hold, now) for hold in shown], whole=("HOLD",))
        if len(found["holds"]) > len(shown):
            sys.stdout.write(f"and {len(found['holds']) - len(shown)} more: nodexfer status --json\n")
    if found["tasks"]:
        sys.stdout.write("\n")
        show_table(("WHAT", "STATE", "DONE", "TASK"), [_task(task) for task in found["tasks"]], whole=("TASK",))
        for text in dict.fromkeys(_trouble(task) for task in found["tasks"] if task["trouble"]):
            sys.stdout.write("".join(f"{line}\n" for line in _wrapped(text)))


def _head(found: Mapping[str, Any], now: float) -> list[tuple[str, str]]:
    lines = [("node", str(found["host"])), ("place", str(found["node_dir"]))]
    lines += [("root", root) for root in found["roots"]]
    leader = found["endpoint"]
    if leader is None:
        lines.append(("endpoint", "none (it comes when there is work)"))
        return lines
    lines.append(("endpoint", f"{leader['endpoint_id'] or 'none yet'}: {leader['state']}{_since(leader, now)}"))
    if leader["blocked"]:
        lines.append(("", leader["blocked"]))
    elif leader["led"] and leader["silent"] > SILENT_SECONDS:
        lines.append(("", f"the leader has been silent for {format_duration(leader['silent'])}"))
    if leader["entry"]:
        lines.append(("lease", f"{leader['entry']} {leader['lease']}, led by {leader['keeper']}"))
    if leader["message"]:
        lines.append(("", leader["message"]))
    return lines


def _pool(pool: Mapping[str, Any], now: float) -> Iterator[str]:
    """What was passed over. Who holds what, and who waits, where somebody waits: else nobody needs to know."""
    if pool["trouble"]:
        yield pool["trouble"]
    for one in pool["endpoints"]:
        if one["trouble"]:
            yield f"{one['name']} {'was passed over' if one['state'] == 'free' else one['state']}: {one['trouble']}"
    if not pool["waiting"] and not pool["turns"]:
        return
    for one in pool["endpoints"]:
        if one["state"] == "held":
            yield f"{one['name']} is held by job {one['job']} on {one['host']}"
    for what, where in (("an endpoint", "waiting"), ("this host's turn", "turns")):
        for one in pool[where]:
            waits = format_duration(max(0.0, now - one["since"]))
            yield f"job {one['job']} on {one['host']} waits for {what}, {waits}"


def _since(leader: Mapping[str, Any], now: float) -> str:
    ready = leader["state"] == "ready" and leader["ready_at"]
    return f" for {format_duration(max(0.0, now - leader['ready_at']))}" if ready else ""


def _wrapped(text: str) -> list[str]:
    """At most 70 columns a line, but for what has no blank in it."""
    if len(text) <= WIDTH - 10:
        return [text]
    import textwrap

    return textwrap.wrap(text, WIDTH - 10, break_long_words=False, break_on_hyphens=False)


def _job(job: Mapping[str, Any], now: float) -> tuple[object, ...]:
    keeper = "none" if job["keeper"] is None else f"{job['keeper']}{', leads' if job['leads'] else ''}"
    return job["job"], job["holds"], keeper, format_duration(max(0.0, now - job["since"]))


def _hold(hold: Mapping[str, Any], now: float) -> tuple[object, ...]:
    """By whom: the job until it releases or ends, or a process as long as it lives."""
    by = "the job" if hold["by"] == "job" else f"process {hold['pid']}"
    endpoint = ", with endpoint" if hold["endpoint"] else ""
    return hold["id"], hold["job"], f"{by}{endpoint}", format_duration(max(0.0, now - hold["since"]))


def _task(task: Mapping[str, Any]) -> tuple[object, ...]:
    done = format_bytes(task["bytes_done"] or 0)
    if task["bytes_total"]:
        done += f" of {format_bytes(task['bytes_total'])}"
    return task["direction"] or "?", task["state"], done, task["task"] or ""


def _trouble(task: Mapping[str, Any]) -> str:
    code = task["trouble"]
    return f"{code}: {task.get('cause') or 'not a code that is known here.'} See: nodexfer explain {code}"
