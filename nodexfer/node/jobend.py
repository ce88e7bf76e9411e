"""When our job ends: asked once for all commands of a job on this node, and at most three times.

An answer of the environment is kept in the job's directory of the spool, ``.end``, and goes with it. One of the
scheduler outlives that, among the logs: a job's commands one after the other each have a hold of their own, and would
each ask. Who asks holds ``.end.lock``: many commands at once are one question. A scheduler that did not answer is asked
again by a later command; one that did, only by who is about to act on the answer (``again``), since a limit may have
been raised.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nodexfer import procs, records, scheduler
from nodexfer.config import Config
from nodexfer.errors import NodexferError, RecordBroken
from nodexfer.node import locks
from nodexfer.paths import NodePaths, private_directory, safe_name
from nodexfer.scheduler.protocol import Answer, End, Job, RunArgv

#: Processes of the scheduler that a job starts on one node to learn of its end.
CALLS = 3
#: What is assumed where nobody knows, from the moment of asking (s). One rule for everything that waits.
ASSUMED_SECONDS = 24 * 3600.0
#: Seconds for which an answer is new: many programs of one job come to their end together.
_NEW_SECONDS = 60.0
#: An end that is over for so long (s) was that of another run with our id.
_PAST_SECONDS = 600.0
#: Seconds to wait for somebody else's question: two processes of 10 s at most.
_LOCK_SECONDS = 25.0


class JobEnd(NamedTuple):
    """``at`` (seconds since the epoch) is assumed where it is not ``known``; ``source`` says by whom it is."""

    at: float
    known: bool
    source: str


def find(config: Config, job: Job, environ: Mapping[str, str], *, again: bool = False) -> JobEnd:
    """When ``job``, our own, ends. 0.1 ms where it is known here; else up to 20 s with a scheduler that is slow.

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
        known = _ask(files, known, job, environ, again)
    return known.told


def told(paths: NodePaths, job: Job, environ: Mapping[str, str]) -> float | None:
    """When ``job`` ends, as far as a command of it was told (seconds since the epoch). Nobody is asked."""
    end = _files(paths, job, environ).read().end
    return None if end is None else end.at


class _Known(NamedTuple):
    """The record: what was answered, when, and how often a process was started for it."""

    end: End | None
    asked: float
    calls: int

    @property
    def answered(self) -> bool:
        return self.end is not None

    @property
    def is_new(self) -> bool:
        return 0 <= time.time() - self.asked < _NEW_SECONDS

    @property
    def told(self) -> JobEnd:
        if self.end is None:
            return JobEnd(time.time() + ASSUMED_SECONDS, False, "nobody says when this job ends")
        if self.end.at is None:
            return JobEnd(time.time() + ASSUMED_SECONDS, False, f"{self.end.source} says that this job has no limit")
        return JobEnd(self.end.at, True, self.end.source)


class _Files(NamedTuple):
    """Where it is written down: at ``own`` where nobody was asked, else at ``lasting``. ``run`` tells runs apart."""

    own: str
    lasting: str
    run: str

    def read(self) -> _Known:
        found = _record(self.lasting)
        at = found.get("end")
        if found.get("run") != self.run or (at is not None and float(at) < time.time() - _PAST_SECONDS):
            found = {}  # none, or of an earlier run with our id
        found = found or _record(self.own)
        at, source = found.get("end"), found.get("source")
        end = End(None if at is None else float(at), str(source)) if source is not None else None
        return _Known(end, float(found.get("asked", 0.0)), int(found.get("calls", 0)))

    def write(self, known: _Known) -> None:
        end = None if known.end is None else known.end.at
        source = None if known.end is None else known.end.source
        record = {"format": 1, "end": end, "source": source, "asked": known.asked, "calls": known.calls}
        records.write(self.lasting if known.calls else self.own, {**record, "run": self.run})


def _files(paths: NodePaths, job: Job, environ: Mapping[str, str]) -> _Files:
    return _Files(f"{paths.job_spool(job.key)}/.end", f"{paths.logs}/end-{safe_name(job.key)}", _run_of(job, environ))


def _record(path: str) -> records.Record:
    try:
        return records.read(path, 1) or {}
    except RecordBroken:  # it is set aside
        return {}


def _run_of(job: Job, environ: Mapping[str, str]) -> str:
    """What a run of the job has and another does not: PBS, which does not count them for us, writes this file anew."""
    try:
        found = os.stat(environ.get("PBS_NODEFILE", "")) if job.scheduler == "pbs" else None
    except OSError:  # it is on the job's first node only
        found = None
    return "" if found is None else f"{found.st_ino}-{found.st_mtime_ns}"


def _ask(files: _Files, known: _Known, job: Job, environ: Mapping[str, str], again: bool) -> _Known:
    try:
        lock = locks.take(f"{files.own}.lock", _LOCK_SECONDS)
    except NodexferError:  # whoever asks is stuck: what is known has to do
        return known
    try:
        before, known = known, files.read()
        if known.is_new and (known.answered or again) and known != before:
            return known  # somebody else has just asked
        counted = _Counted(procs.run, CALLS - known.calls)
        end = scheduler.end(job, environ, counted, fresh=again)
        known = _Known(end or known.end, time.time(), known.calls + counted.calls)
        files.write(known)
        return known
    finally:
        os.close(lock)


class _Counted:
    """A runner that starts so many processes and no more. A program that is not there has bothered nobody."""

    def __init__(self, run_argv: RunArgv, allowed: int) -> None:
        self._run_argv = run_argv
        self._allowed = allowed
        self.calls = 0

    def __call__(self, argv: Sequence[str], *, timeout: float) -> Answer:
        """:raises OSError: it was asked often enough; or as the runner does."""
        if self.calls >= self._allowed:
            raise OSError("the scheduler has been asked often enough")
        self.calls += 1
        try:
            return self._run_argv(argv, timeout=timeout)
        except FileNotFoundError:
            self.calls -= 1
            raise
