"""Inputs that a job's workers on a node share: each is brought once, whoever comes first, and is there for all.

    <scratch>/shared/<key>/<name>      the input; whole when it is there, since stage-in publishes by rename
    <scratch>/shared/<key>.lock        shared by those who use it, taken alone by who brings or removes it
    <scratch>/shared/<key>.failed      why the last one who brought it could not

Locks are taken in the order of their keys, so that no two wait for each other; the kernel frees what the dead had.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from nodexfer.clock import Deadline
from nodexfer.errors import DeadlinePassed, DiskFull, Interrupted, NodexferError, from_record
from nodexfer.integrations.sources import Source, requests
from nodexfer.node import locks
from nodexfer.session import Node

#: Seconds between two looks at a lock: the first ones, and the later ones.
_LOOK = (0.005, 0.1)


class Wanted(NamedTuple):
    """An input: its source, the file name that it gets, and what is to be done with its contents."""

    url: str
    name: str
    extract: bool = False
    expect: str | None = None


class Inputs(NamedTuple):
    """Where each key's input is, and the receipts (plain data) of what this call had to bring."""

    paths: dict[str, str]
    receipts: list[dict[str, object]]


@contextmanager
def using(node: Node, wanted: Mapping[str, Wanted], **options: Any) -> Iterator[Inputs]:
    """Have all that is ``wanted`` (by key) on the node, and in use until the end of the ``with``.

    What is there costs a look. What is missing is brought in as few requests as can be, mostly one; whoever else wants
    it waits, at most to the end of the job, and where that fails, fails by the same error. A later call tries again.

    :param wanted: two keys stand for two sources. A key is a file name: letters and digits.
    :param options: of :meth:`nodexfer.session.Node.stage_in`, but for what a :class:`Wanted` says itself.
    :raises NodexferError: see there, its ``receipts`` tell what had been brought before it; DeadlinePassed: somebody
        else took until the end of the job.
    """
    found = Inputs({key: f"{node.scratch}/shared/{key}/{one.name}" for key, one in wanted.items()}, [])
    os.makedirs(f"{node.scratch}/shared", 0o700, exist_ok=True)
    with ExitStack() as stack:
        while True:
            turn = stack.enter_context(_Turn(node, found.paths))
            missing = turn.take()
            if missing:
                turn.bring({key: wanted[key] for key in missing}, options, found.receipts)
            if turn.settle():
                break
            stack.close()  # it was removed for want of room, the moment we let go
        yield found


class _Turn:
    """The locks of one look at all keys."""

    def __init__(self, node: Node, paths: Mapping[str, str]) -> None:
        self._node = node
        self._paths = paths
        self._base = f"{node.scratch}/shared"
        self._descriptors: dict[str, int] = {}
        self._begun = time.monotonic()
        self._deadline: Deadline | None = None

    def __enter__(self) -> _Turn:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def take(self) -> list[str]:
        """Lock every key, in order; those whose input is missing, which are ours alone."""
        return [key for key in sorted(self._paths) if self._take(key)]

    def _take(self, key: str) -> bool:
        descriptor = self._descriptors[key] = locks.open_file(f"{self._base}/{key}.lock")
        path, pause = self._paths[key], _LOOK[0]
        while True:
            there = os.path.lexists(path)
            if _flock(descriptor, fcntl.LOCK_SH if there else fcntl.LOCK_EX):
                if there == os.path.lexists(path):
                    if not there:
                        self._refuse_failed(key)
                    return not there
                continue  # it came, or went, between the look and the lock
            self._refuse_failed(key)
            self._refuse_late(key)
            time.sleep(pause)
            pause = min(pause * 1.5, _LOOK[1])

    def _refuse_failed(self, key: str) -> None:
        """Where somebody failed while we waited, by what we want as well, we fail likewise."""
        try:
            with open(f"{self._base}/{key}.failed", encoding="utf-8") as file:
                failed = json.load(file)
        except FileNotFoundError:
            return
        if failed["at"] >= self._begun and set(failed["keys"]) <= self._paths.keys():
            raise from_record(failed["error"])

    def _refuse_late(self, key: str) -> None:
        if self._deadline is None:
            self._deadline = Deadline.from_epoch(self._node.client().deadline)
        if self._deadline.passed:
            name = os.path.basename(self._paths[key])
            raise DeadlinePassed(f"Another worker was still bringing {name} at the end of the job.", "nodexfer status")

    def bring(
        self, missing: Mapping[str, Wanted], options: Mapping[str, Any], receipts: list[dict[str, object]]
    ) -> None:
        """All of it, its receipts into ``receipts``."""
        keys = {Source(one.url, one.extract, one.expect): key for key, one in missing.items()}
        for several, own in requests(keys):
            try:
                receipts.append(self._request({key: url for url, key in several.items()}, {**options, **own}))
            except NodexferError as error:
                error.receipts = (*receipts, *error.receipts)
                raise

    def _request(self, missing: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, object]:
        """One request for these URLs, by key; the receipt."""
        for key in missing:
            os.makedirs(f"{self._base}/{key}", 0o700, exist_ok=True)
        sources = {url: self._paths[key] for key, url in missing.items()}
        try:
            try:
                receipt = self._node.stage_in(sources, **options)
            except DiskFull:
                if not make_room(self._base):
                    raise
                receipt = self._node.stage_in(sources, **options)
        except Interrupted:
            raise  # that is ours alone
        except NodexferError as error:
            self._tell(sorted(missing), error)
            raise
        for key in missing:
            write_protect(self._paths[key])
        return receipt.as_record()

    def _tell(self, keys: Sequence[str], error: NodexferError) -> None:
        record = {"at": time.monotonic(), "keys": keys, "error": error.as_record()}
        for key in keys:
            path = f"{self._base}/{key}.failed"
            try:
                with open(f"{path}.new", "w", encoding="utf-8") as file:
                    json.dump(record, file)
                os.replace(f"{path}.new", path)
            except OSError:  # the disk is full, perhaps: who waits tries it then
                pass

    def settle(self) -> bool:
        """From now on others may use it, too. False where somebody took it away meanwhile."""
        for descriptor in self._descriptors.values():
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        return all(map(os.path.lexists, self._paths.values()))


def keep(node: Node, key: str, path: str) -> bool:
    """Share what an app wrote at ``path``, under ``key``: it is moved. False where that is not to be had now.

    Perhaps nobody wants it: it is kept as long as there is room.
    """
    base = f"{node.scratch}/shared"
    if not has_room(base):
        return False
    os.makedirs(f"{base}/{key}", 0o700, exist_ok=True)
    target = f"{base}/{key}/{os.path.basename(path)}"
    descriptor = locks.open_file(f"{base}/{key}.lock")
    try:
        if not locks.try_lock(descriptor) or os.path.lexists(target):
            return False
        os.rename(path, target)
        write_protect(target)
        return True
    finally:
        os.close(descriptor)


def has_room(base: str) -> bool:
    """Whether as much of the disk is free as is used. (It may be the node's memory.)"""
    disk = os.statvfs(base)
    return disk.f_bavail >= disk.f_blocks - disk.f_bfree


def make_room(base: str) -> bool:
    """Remove all that nobody uses now, where something that is wanted does not fit. False where there is nothing.

    Dying in here leaves a directory that goes with the scratch.
    """
    removed = False
    for name in os.listdir(base):
        key, dot, ending = name.rpartition(".")
        if not dot or ending != "lock" or not os.path.isdir(f"{base}/{key}"):
            continue
        descriptor = locks.open_file(f"{base}/{name}")
        try:
            if not locks.try_lock(descriptor):
                continue  # in use
            gone = f"{base}/.gone-{key}-{os.urandom(4).hex()}"
            os.rename(f"{base}/{key}", gone)
        except OSError:  # somebody else did the same
            continue
        finally:
            os.close(descriptor)
        shutil.rmtree(gone, ignore_errors=True)
        removed = True
    return removed


def write_protect(path: str) -> None:
    """Files only: a directory that can not be written to can not be removed either."""
    for top, _, names in os.walk(path):
        for name in names:
            _write_protect(f"{top}/{name}")
    if not os.path.isdir(path):
        _write_protect(path)


def _write_protect(path: str) -> None:
    if not os.path.islink(path):
        os.chmod(path, os.stat(path).st_mode & 0o555)


def _flock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
