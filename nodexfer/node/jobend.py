"""When our job ends: asked once for all commands of a job, on whatever nodes, and at most three times.

An answer of the environment is kept in the job's directory of the spool, ``.end``, and goes with it. One of the
scheduler outlives that, among the logs: a job's commands one after the other each have a hold of their own, and would
each ask. Who asks holds ``.end.lock``: many commands at once are one question of this node, and the nodes of a job are
one by what they share (:mod:`nodexfer.node.questions`). A scheduler that did not answer is asked again by a later
command; one that did, only by who is about to act on the answer (``again``), since a limit may have been raised.

Nodes share nothing where the home can not be written, or where nobody can tell which run of the job this is. Each then
counts for itself, among its logs; and what a run that can not be told was told, is believed in the same session only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from nodexfer import identity, records, scheduler
from nodexfer.config import Config
from nodexfer.errors import NodexferError, RecordBroken
from nodexfer.node import locks
from nodexfer.paths import NodePaths, private_directory, safe_name
from nodexfer.scheduler.protocol import NEW_SECONDS, Answer, End, Job

#: What is assumed where nobody knows, from the moment of asking (s). One rule for everything that waits.
ASSUMED_SECONDS = 24 * 3600.0
#: Seconds to wait for another command's question here; who only looks again has less time than that.
_LOCK_SECONDS, _LOCK_AGAIN_SECONDS = 75.0, 25.0


class JobEnd(NamedTuple):
    """``at`` (seconds since the epoch) is assumed where it is not ``known``; ``source`` says by whom it is."""

    at: float
    known: bool
    source: str


def find(config: Config, job: Job, environ: Mapping[str, str], *, again: bool = False) -> JobEnd:
    """When ``job``, our own, ends. 0.1 ms where it is known here; else up to 20 s with a scheduler that is slow.

    Where those were killed who asked before us, on other nodes, up to 95 s, and 170 s where here, too; 50 s ``again``.
    The place must be held, so that the job has a directory here.

    :param again: ask once more, where questions are left; what was known stays where there is no answer.
    :raises NodeError: this node's directories can not be used.
    """
    private_directory(config.node_paths.job_spool(job.key))
    private_directory(config.node_paths.logs)
    files = _files(config.node_paths, job, environ)
    known = files.read()
    silent = not known.answered and (known.calls == 0 or not known.is_new)
    if silent or (again and not known.is_new):
        known = _ask(config, files, known, job, environ, again)
    return known.told


def told(paths: NodePaths, job: Job, environ: Mapping[str, str]) -> float | None:
    """When ``job`` ends, as far as a command of it was told (seconds since the epoch). Nobody is asked."""
    end = _files(paths, job, environ).read().end
    return None if end is None else end.at


class _Known(NamedTuple):
    """The record: what was answered, when, and how many processes of the job are known to have been started for it."""

    end: End | None
    asked: float
    calls: int

    @property
    def answered(self) -> bool:
        return self.end is not None

    @property
    def is_new(self) -> bool:
        return abs(time.time() - self.asked) < NEW_SECONDS

    @property
    def told(self) -> JobEnd:
        if self.end is None:
            return JobEnd(time.time() + ASSUMED_SECONDS, False, "nobody says when this job ends")
        if self.end.at is None:
            return JobEnd(time.time() + ASSUMED_SECONDS, False, f"{self.end.source} says that this job has no limit")
        return JobEnd(self.end.at, True, self.end.source)


class _Files(NamedTuple):
    """Where it is written down: at ``own`` where nobody was asked, else at ``lasting``."""

    own: str
    lasting: str

    def read(self) -> _Known:
        lasting = _read(self.lasting)
        if lasting.end is not None and not lasting.end.is_past:
            return lasting
        own = _read(self.own)
        return own._replace(calls=lasting.calls) if own.answered else lasting._replace(end=None)

    def write(self, known: _Known, path: str) -> None:
        at, source = (None, None) if known.end is None else known.end
        records.write(path, {"format": 1, "end": at, "source": source, "asked": known.asked, "calls": known.calls})


def _files(paths: NodePaths, job: Job, environ: Mapping[str, str]) -> _Files:
    return _Files(f"{paths.job_spool(job.key)}/.end", f"{paths.logs}/end-{_name(job, environ)}")


def _name(job: Job, environ: Mapping[str, str]) -> str:
    """Of this run: the end of an earlier one would be too early. Where it can not be told, of this session only."""
    run = scheduler.run_of(job, environ)
    if run is None and job.scheduler != "local":
        run = _session()
    return safe_name(f"{job.key}-{run}" if run else job.key)


def _session() -> str:
    leader = identity.session_leader()
    return f"s{leader.pid}-{leader.start}-{identity.boot_id()}"


def _read(path: str) -> _Known:
    try:
        found = records.read(path, 1) or {}
    except RecordBroken:  # it is set aside
        found = {}
    at, source = found.get("end"), found.get("source")
    end = End(None if at is None else float(at), str(source)) if source is not None else None
    return _Known(end, float(found.get("asked", 0.0)), int(found.get("calls", 0)))


def _ask(config: Config, files: _Files, known: _Known, job: Job, environ: Mapping[str, str], again: bool) -> _Known:
    try:
        lock = locks.take(f"{files.own}.lock", _LOCK_AGAIN_SECONDS if again else _LOCK_SECONDS)
    except NodexferError:  # whoever asks is stuck: what is known has to do
        return known
    try:
        before, known = known, files.read()
        if known.is_new and known != before and (known.answered or known.calls):
            return known  # somebody else has just asked
        if not again or job.scheduler == "local":
            end = scheduler.end(job, environ, _start_nothing)
            if end is not None or job.scheduler == "local":
                known = _Known(end, time.time(), known.calls)
                files.write(known, files.own)
                return known
        known = _ask_scheduler(config, known, job, environ, again)
        if known.calls:
            files.write(known, files.lasting)
        return known
    finally:
        os.close(lock)


def _start_nothing(*_: object, **__: object) -> Answer:
    raise OSError("the environment alone is asked")


def _ask_scheduler(config: Config, known: _Known, job: Job, environ: Mapping[str, str], again: bool) -> _Known:
    """With the job's other nodes, or alone: what was asked together counts then, too."""
    from nodexfer.node import answers, questions

    own = f"{config.node_paths.logs}/ends"
    if scheduler.run_of(job, environ) is None:
        places = [answers.Place(f"{own}/{safe_name(job.key)}", known.calls, _session())]
    else:
        places = [answers.Place(f"{top}/{_name(job, environ)}", known.calls) for top in (config.home_paths.ends, own)]
    put = partial(scheduler.end, job, environ, fresh=again)
    spent = known.calls
    for place in places:
        place.spent = max(place.spent, spent)
        try:
            said = questions.settle(place.make(), put, again=again)
        except (NodexferError, OSError):
            spent = place.spent
            continue
        end = said.end or known.end
        return _Known(end, time.time() if end is None else said.asked, said.calls)
    return known
