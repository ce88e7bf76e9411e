"""The holds of this place, in one small record under one lock.

    {"format": 1, "boot": ..., "generation": ..., "holds": {id: {"job", "owner", "script", "endpoint", "since"}}}

The reference count is computed from it, never stored: it is the number of holds that live. A hold lives while its
``owner`` does (a Python process or ``nodexfer hold``); one without an owner lives while the job's ``script`` does.
A process of another pid namespace can not be looked at: such a hold lives while its job's keeper does, which can.
Nothing of another boot lives.

A transaction reads the record, lets the caller change it, and writes it whole. Under the lock is done what
is local and quick: this record, a look at a keeper's lock, a rename that takes a dead job's directory out of sight. No
network, no process start, no sleep, no file of the shared file system.

What a death leaves: the old record or the new one (:func:`nodexfer.records.write_locked`), and a lock that the kernel
frees.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

from nodexfer import records
from nodexfer.errors import NodeDirRemoved
from nodexfer.identity import ProcessId, boot_id, pid_namespace
from nodexfer.node import locks
from nodexfer.paths import NodePaths, check_private, private_directory
from nodexfer.scheduler.protocol import Job

FORMAT = 1

#: Seconds to wait for the registry's lock. A transaction takes about 0.2 ms; 256 at once wait for half a second.
LOCK_SECONDS = 30.0


class Hold(NamedTuple):
    """One reference of a job to its place. ``since`` is seconds since the epoch."""

    id: str
    job: str
    owner: ProcessId | None
    script: ProcessId
    endpoint: bool
    since: float

    @property
    def process(self) -> ProcessId:
        """The process that it lives by."""
        return self.owner or self.script

    def as_record(self) -> dict[str, Any]:
        return {
            "job": self.job,
            "owner": self.owner,
            "script": self.script,
            "endpoint": self.endpoint,
            "since": self.since,
        }


def new_hold(job: str, owner: ProcessId | None, script: ProcessId, endpoint: bool) -> Hold:
    return Hold(os.urandom(8).hex(), job, owner, script, endpoint, time.time())


class Table:
    """The registry in memory, within a transaction.

    ``changed`` says that it is to be written; ``fresh`` that there was none, so that its generation is new.
    """

    def __init__(self, generation: str, holds: dict[str, Any], fresh: bool = False) -> None:
        self.generation = generation
        self.changed = False
        self.fresh = fresh
        self._holds = holds

    def __iter__(self) -> Iterator[Hold]:
        return (_hold(hold_id, record) for hold_id, record in self._holds.items())

    def __contains__(self, hold_id: str) -> bool:
        return hold_id in self._holds

    def get(self, hold_id: str) -> Hold | None:
        record = self._holds.get(hold_id)
        return None if record is None else _hold(hold_id, record)

    def of(self, job: str) -> list[Hold]:
        return [_hold(hold_id, record) for hold_id, record in self._holds.items() if record["job"] == job]

    def add(self, hold: Hold) -> None:
        self._holds[hold.id] = hold.as_record()
        self.changed = True

    def drop(self, hold_id: str) -> None:
        if self._holds.pop(hold_id, None) is not None:
            self.changed = True

    def clear(self) -> None:
        self._holds.clear()
        self.changed = True

    def prune(self, lives: Callable[[Hold], bool], job: str | None = None) -> list[Hold]:
        """Drop the holds (of ``job``, or all) that do not live; which they were."""
        dead = [hold for hold in self if (job is None or hold.job == job) and not lives(hold)]
        for hold in dead:
            self.drop(hold.id)
        return dead

    def forget(self, path: str) -> None:
        """Remove the registry at ``path`` instead of writing it: nobody holds."""
        records.remove_locked(path)
        self.changed = False

    def check(self) -> None:
        """:raises KeyError, TypeError, ValueError: a hold that is none, whoever wrote it."""
        for record in self._holds.values():
            for pid, start, namespace in (record["script"], record["owner"] or record["script"]):
                if not type(pid) is type(start) is type(namespace) is int:
                    raise ValueError("one of its processes is none")
            if type(record["job"]) is not str or type(record["endpoint"]) is not bool:
                raise ValueError("one of its holds is none")
            float(record["since"])

    def as_record(self) -> dict[str, Any]:
        return {"format": FORMAT, "boot": boot_id(), "generation": self.generation, "holds": self._holds}


class Transaction:
    """``with Transaction(paths) as table:``, the registry locked; written at the end if changed and nothing was raised.

    :param create: make the node_dir where it is missing: for commands. A keeper's node_dir is there or was removed.

    Entering raises NodeDirUnsafe, NodeDirRemoved, RecordBroken (it has been set aside: the next transaction starts
    anew), RecordNewer, NodeError (the lock is held for more than 30 s). Leaving raises DiskFull, NodeDirRemoved.
    """

    def __init__(self, paths: NodePaths, *, create: bool = False) -> None:
        self._paths = paths
        self._create = create
        self._descriptor = -1
        self._table: Table | None = None

    def __enter__(self) -> Table:
        self._check_directory()
        self._descriptor = locks.take(self._paths.registry_lock, LOCK_SECONDS)
        try:
            self._table = self._read()
        except BaseException:
            os.close(self._descriptor)
            raise
        return self._table

    def _check_directory(self) -> None:
        try:
            check_private(self._paths.node_dir)
        except NodeDirRemoved:
            if not self._create:
                raise
            private_directory(self._paths.node_dir)

    def _read(self) -> Table:
        record = records.read_locked(self._paths.registry, FORMAT)
        if record is None:
            return Table(os.urandom(8).hex(), {}, fresh=True)
        try:
            boot, holds = record["boot"], record["holds"]
            if type(holds) is not dict:
                raise ValueError("its holds are none")
            table = Table(str(record["generation"]), holds)
            table.check()
        except (KeyError, TypeError, ValueError) as error:
            raise records.set_aside(self._paths.registry, error) from error
        if boot != boot_id():
            table.clear()
        return table

    def _write(self, table: Table) -> None:
        if table.fresh:
            # The directories come first, here, and go last where a place is cleared: a registry implies them.
            self._paths.make()
        records.write_locked(self._paths.registry, table.as_record())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._table is not None and self._table.changed:
                self._write(self._table)
        finally:
            os.close(self._descriptor)


def keeper_lives(paths: NodePaths, job: str) -> bool:
    """Is the job's keeper there? Only within a transaction: see :mod:`nodexfer.node.locks`."""
    return locks.taken(paths.keeper(job))


def lives(hold: Hold, keeper: Callable[[str], bool]) -> bool:
    """Does this hold of this boot live? ``keeper`` says of a job whether its keeper does."""
    process = hold.process
    return process.alive if process.namespace == pid_namespace() else keeper(hold.job)


def lives_at(paths: NodePaths) -> Callable[[Hold], bool]:
    """:func:`lives` for the holds of this place, within a transaction."""
    return lambda hold: lives(hold, lambda job: keeper_lives(paths, job))


def living(paths: NodePaths) -> list[Hold]:
    """The holds of this place that live now. :raises NodexferError: see :class:`Transaction`."""
    with Transaction(paths) as table:
        lives = lives_at(paths)
        return [hold for hold in table if lives(hold)]


class Keeper(NamedTuple):
    """What a keeper says of itself in ``keepers/<job>``. Whether it lives is said by its lock alone."""

    boot: str
    process: ProcessId
    #: The script of the command that started it.
    script: ProcessId
    job: Job
    since: float


def write_keeper(descriptor: int, keeper: Keeper) -> None:
    """Written in place: a rename would lose the lock. A reader takes what is not whole for nothing."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(keeper._asdict()).encode(), 0)


def read_keeper(path: str) -> Keeper | None:
    """What is written in ``keepers/<job>``; None where nothing can be read (yet)."""
    try:
        return load_keeper(path)
    except OSError:
        return None


def load_keeper(path: str) -> Keeper | None:
    """The same; None where nothing whole is written (yet). :raises OSError: what is written can not be read now."""
    with open(path, "rb") as file:
        text = file.read(65536)
    try:
        record = json.loads(text)
        return Keeper(
            record["boot"],
            ProcessId(*record["process"]),
            ProcessId(*record["script"]),
            Job(*record["job"]),
            record["since"],
        )
    except (ValueError, TypeError, KeyError):
        return None


def _hold(hold_id: str, record: dict[str, Any]) -> Hold:
    owner = record["owner"]
    return Hold(
        hold_id,
        record["job"],
        None if owner is None else ProcessId(*owner),
        ProcessId(*record["script"]),
        record["endpoint"],
        record["since"],
    )
