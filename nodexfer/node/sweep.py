"""``nodexfer clean``: what dead owners left at this place, listed, and taken away.

Two kinds of proof, and nothing without one:

    a job is dead      no live hold, its keeper's lock free, its script ended (:func:`nodexfer.node.clean.dead_names`)
    nobody is here     no live hold and no keeper at all, the leader's lock and the guard's lock are ours meanwhile

A dead job's scratch, requests and place in the exchanges go in any case. What belongs to no job (exchanges, outputs
gathered for a request that never was, a lease that was not given back, GCP's working directory) goes where nobody is
here: where somebody is, the next leader does it. A request that Globus still works on is kept, and said: the next
leader ends its task first.
"""

from __future__ import annotations

import fcntl
import os
from typing import NamedTuple

from nodexfer.config import Config
from nodexfer.errors import NodeDirRemoved
from nodexfer.node import claim, clean, locks, registry, rubbish
from nodexfer.paths import NodePaths, check_private
from nodexfer.pool import lease as leases


class Found(NamedTuple):
    """One thing that a dead owner left. ``kept`` says why it stays, '' where it goes."""

    path: str
    what: str
    kept: str = ""


def look(config: Config) -> list[Found]:
    """What :func:`sweep` would do; nothing is changed.

    :raises NodeDirUnsafe: the node_dir is not ours alone. :raises RecordBroken, RecordNewer: the registry.
    """
    paths = config.node_paths
    if not _is_there(paths):
        return []
    with registry.Transaction(paths) as table:
        return _list(config, table, _nobody(paths, table) and not locks.taken(paths.node_dir))


def sweep(config: Config) -> list[Found]:
    """Take it away; what was found, with why it is still there where it is. Takes as long as the scratch is large.

    :raises NodexferError: as :func:`look`; HomeFull: a lease could not be given back.
    """
    paths = config.node_paths
    if not _is_there(paths):
        return []
    held = _lock(paths)
    found = look(config) if not held else _look_alone(config)
    try:
        if held and claim.give_back_left(config):
            rubbish.remove(config.node_paths.endpoint)
        with registry.Transaction(paths) as table:
            alone = bool(held) and _nobody(paths, table)
            gone = clean.everything(config, table) if alone else clean.dead_jobs(config, table)
        gone.remove()
        if alone:
            clean.roots(config)
    finally:
        for descriptor in held:
            os.close(descriptor)
    return [_after(one) for one in found]


def _look_alone(config: Config) -> list[Found]:
    """The same with the leader's lock in our hand."""
    with registry.Transaction(config.node_paths) as table:
        return _list(config, table, _nobody(config.node_paths, table))


def _after(one: Found) -> Found:
    if one.kept or not os.path.lexists(one.path):
        return one
    return one._replace(kept="it could not be removed")


def _is_there(paths: NodePaths) -> bool:
    try:
        check_private(paths.node_dir)
    except NodeDirRemoved:  # nobody has held here yet
        return False
    return True


def _nobody(paths: NodePaths, table: registry.Table) -> bool:
    """Is no job here at all?"""
    lives = registry.lives_at(paths)
    return not any(lives(hold) for hold in table) and not clean.keepers(paths)


def _lock(paths: NodePaths) -> list[int]:
    """The leader's and the guard's lock, or [] where somebody has one, or somebody is here."""
    with registry.Transaction(paths) as table:
        if not _nobody(paths, table):
            return []
    held = [os.open(paths.node_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), locks.open_file(paths.guard_lock)]
    try:
        for descriptor in held:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        for descriptor in held:
            os.close(descriptor)
        return []
    return held


# -- what there is ----------------------------------------------------------------------------------------------------


def _list(config: Config, table: registry.Table, alone: bool) -> list[Found]:
    """In the registry's transaction, of which nothing is changed."""
    paths = config.node_paths
    found = []
    for name in clean.dead_names(paths, table):
        found += _of_job(config, name)
    for base in clean.bases(config):
        found += [Found(path, "half removed") for path in rubbish.hidden(base.base)]
        if alone:
            found += _of_nobody(base.base)
    return found + (_of_place(config) if alone else [])


def _of_job(config: Config, name: str) -> list[Found]:
    paths = config.node_paths
    rows = [Found(f"{paths.jobs}/{name}", f"scratch of {name}")]
    rows += [Found(f"{paths.keepers}/{name}", f"keeper's file of {name}")]
    for request in rubbish.names(f"{paths.spool}/{name}", hidden=True):
        directory = f"{paths.spool}/{name}/{request}"
        why = "Globus may work on it: the next leader here ends its task" if clean.is_moving(directory) else ""
        if os.path.isdir(directory):
            rows.append(Found(directory, f"request of {name}", why))
    for base in clean.bases(config):
        for lease in rubbish.names(f"{base.base}/exchange"):
            rows.append(Found(f"{base.base}/exchange/{lease}/jobs/{name}", f"exchange of {name}"))
    return [row for row in rows if os.path.lexists(row.path)]


def _of_nobody(base: str) -> list[Found]:
    words = {"exchange": "exchange of a lease", "outgoing": "outputs gathered for a request"}
    return [
        Found(f"{base}/{name}/{below}", what)
        for name, what in words.items()
        for below in rubbish.names(f"{base}/{name}", hidden=True)
    ]


def _of_place(config: Config) -> list[Found]:
    paths = config.node_paths
    working = [name for name in rubbish.names(paths.node_dir) if name.startswith("gcp-")]
    found = [Found(f"{paths.node_dir}/{name}", "GCP's working directory") for name in working]
    if os.path.lexists(paths.endpoint):
        found.append(Found(paths.endpoint, "what a killed leader said"))
    return found


def leases_here(config: Config) -> list[leases.Lease]:
    """The leases that a killed leader of this place did not give back: nobody is here (else the next leader has them).

    They are files on the shared file system, which stay; :func:`sweep` says in them that the endpoint is free.
    """
    paths = config.node_paths
    if not _is_there(paths):
        return []
    with registry.Transaction(paths) as table:
        alone = _nobody(paths, table) and not locks.taken(paths.node_dir)
    return claim.left_here(config) if alone else []
