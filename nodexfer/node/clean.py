"""What jobs leave behind, and taking it away: each job's own at its end, a dead job's by the next who looks.

Dead is what is proven dead: no live hold in the registry, and the lock of its keeper free. Both are looked at under the
registry's lock, and what is to go is renamed out of sight under it, so that a job of the same key that starts at this
moment finds nothing of it. Removing comes after the lock.

When the last job has gone, what stays at the place is: the node_dir, its lock files, the place's id if a lease could
not be given back, and logs that have something to say.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

from nodexfer import records
from nodexfer.config import Config
from nodexfer.errors import NodexferError
from nodexfer.identity import boot_id
from nodexfer.node import locks, registry, rubbish, work
from nodexfer.node.registry import Table, lives_at
from nodexfer.paths import NodePaths, RootPaths, safe_name

#: A log says why something failed; after a week nobody asks.
LOG_SECONDS = 7 * 86400.0


class Gone(NamedTuple):
    """What has been taken out of sight and is to be removed: (hidden directory, what else goes with it)."""

    paths: list[str]
    requests: list[tuple[str, list[str]]]

    def remove(self) -> None:
        """Outside of any lock. Takes as long as the scratch is large."""
        for directory, outgoing in self.requests:
            rubbish.bury(directory, outgoing)
        for path in self.paths:
            rubbish.remove(path)


def bases(config: Config) -> list[RootPaths]:
    """What nodexfer has on each root, the node_dir first, none twice."""
    found = {config.node_dir: RootPaths(config.node_dir)}
    for root in config.roots:
        paths = RootPaths.of(root, config.node_dir)
        found[paths.base] = paths
    return list(found.values())


def job(config: Config, key: str) -> Gone:
    """Take away what the job had: scratch, its place in the exchanges, requests that Globus never heard of.

    Under the registry's lock, by its own keeper or when its keeper is dead.
    """
    return _job(config, safe_name(key), Gone([], []))


def keepers(paths: NodePaths) -> list[str]:
    """The keepers that live here. Under the registry's lock.

    Where one does, the registry stays, although no hold may be left: it has not yet seen the last release, and would
    take a new registry for one that has lost its holds.
    """
    return [name for name in keeper_names(paths) if locks.taken(f"{paths.keepers}/{name}")]


def keeper_names(paths: NodePaths) -> list[str]:
    """The safe names of the jobs that have a keeper here, or had one that was killed."""
    return [name for name in rubbish.names(paths.keepers) if not name.endswith((".bell", ".failed"))]


def keeper_files(keeper: str) -> None:
    """Remove what lies beside a keeper's file, and then the file. Under the registry's lock."""
    for ending in (".bell", ".failed", ""):
        rubbish.remove(f"{keeper}{ending}")


def dead_jobs(config: Config, table: Table) -> Gone:
    """The same for each job that is proven dead; its holds are dropped. Under the registry's lock."""
    paths = config.node_paths
    names = dead_names(paths, table)
    table.prune(lives_at(paths))
    gone = Gone([], [])
    for name in names:
        _job(config, name, gone)
        keeper_files(f"{paths.keepers}/{name}")
    for base in bases(config):
        for path in rubbish.hidden(base.base):
            _bury_hidden(config, gone, path)
    return gone


def clear_dead_jobs(config: Config) -> None:
    """Out of sight now; removed beside the leader's work, since a scratch may be large and others wait for it."""
    with registry.Transaction(config.node_paths) as table:
        gone = dead_jobs(config, table)
    threading.Thread(target=gone.remove, name="clean", daemon=True).start()


def dead_names(paths: NodePaths, table: Table) -> list[str]:
    """The safe names of the jobs that left something here and are proven dead. Changes nothing."""
    lives = lives_at(paths)
    alive = {safe_name(hold.job) for hold in table if lives(hold)}
    known = {
        name.removesuffix(".bell").removesuffix(".failed")
        for directory in (paths.keepers, paths.spool, paths.jobs)
        for name in _all(directory)
    }
    keepers = {name: f"{paths.keepers}/{name}" for name in sorted(known - alive)}
    return [name for name, keeper in keepers.items() if not (locks.taken(keeper) or _script_lives(keeper))]


def _script_lives(keeper: str) -> bool:
    """A keeper that was killed and a registry that was broken at the same time: even then no live job loses files."""
    try:
        found = registry.load_keeper(keeper)
    except FileNotFoundError:
        return False
    except OSError:  # not to be told now, and not to be taken for dead
        return True
    return found is not None and found.boot == boot_id() and found.script.alive


def _all(directory: str) -> list[str]:
    # A safe name never begins with a dot unless the job's did: half-written requests (.new-*) lie one level deeper.
    return rubbish.names(directory)


def _job(config: Config, name: str, gone: Gone) -> Gone:
    paths = config.node_paths
    _hide(gone, f"{paths.jobs}/{name}", paths.node_dir)
    for base in bases(config):
        for lease in rubbish.names(f"{base.base}/exchange"):
            _hide(gone, f"{base.base}/exchange/{lease}/jobs/{name}", base.base)
    spool = f"{paths.spool}/{name}"
    for request in rubbish.names(spool, hidden=True):
        if not is_moving(f"{spool}/{request}"):
            _hide_request(config, gone, f"{spool}/{request}")
    rubbish.remove_empty(spool)
    return gone


def is_moving(request: str) -> bool:
    """Whether Globus may work on it: its task is to be cancelled first, by the next desk, which removes the request.

    Not on one that was over, and whose command died while it removed it.
    """
    begun = os.path.exists(f"{request}/batch.json") and not work.is_over(request)
    return begun and not os.path.basename(request).startswith(rubbish.PREFIX)


def _hide(gone: Gone, path: str, base: str) -> None:
    hidden = rubbish.hide(path, base)
    if hidden is not None:
        gone.paths.append(hidden)


def _hide_request(config: Config, gone: Gone, directory: str) -> None:
    request = os.path.basename(directory).removeprefix(".new-")
    hidden = rubbish.hide(directory, config.node_dir)
    if hidden is not None:
        gone.requests.append((hidden, _outgoing(config, request)))


def _bury_hidden(config: Config, gone: Gone, path: str) -> None:
    """What somebody hid who died before it was removed; of a request, what exists for its sake elsewhere goes too."""
    if os.path.exists(f"{path}/request.json") or ".new-" in path:
        gone.requests.append((path, _outgoing(config, path.rpartition("-")[2])))
    else:
        gone.paths.append(path)


def _outgoing(config: Config, request: str) -> list[str]:
    return [base.outgoing(request) for base in bases(config)]


def old_exchanges(config: Config, lease: int | None) -> Gone:
    """Take away what lies in exchanges of other leases than ``lease`` and belongs to nobody: no request, no job.

    By the leader, before GCP is started: no GCP of this place sees these directories any more. What a job that lives
    has there (NODEXFER_ROOT) is its own all the same, and goes with the job. Takes the registry's lock.
    """
    paths = config.node_paths
    jobs = _living(paths)
    wanted = {request for name in _all(paths.spool) for request in rubbish.names(f"{paths.spool}/{name}")}
    gone = Gone([], [])
    for base in bases(config):
        for number in rubbish.names(f"{base.base}/exchange"):
            top = f"{base.base}/exchange/{number}"
            if number == str(lease):
                continue
            for name in rubbish.names(f"{top}/jobs"):
                if jobs is not None and name not in jobs:
                    _hide(gone, f"{top}/jobs/{name}", base.base)
            rubbish.remove_empty(f"{top}/jobs")
            for name in rubbish.names(top, hidden=True):
                if name not in wanted and name != "jobs":
                    _hide(gone, f"{top}/{name}", base.base)
            rubbish.remove_empty(top)
    return gone


def _living(paths: NodePaths) -> set[str] | None:
    """The safe names of the jobs that hold or have a keeper here; None where that can not be known now."""
    try:
        with registry.Transaction(paths) as table:
            lives = lives_at(paths)
            return {safe_name(hold.job) for hold in table if lives(hold)} | set(keepers(paths))
    except (NodexferError, OSError):
        return None


def exchanges(directories: Iterable[str]) -> None:
    """Remove the exchanges of a lease that is being given back: GCP has been stopped, and nobody waits."""
    for directory in directories:
        rubbish.remove(directory)


def everything(config: Config, table: Table) -> Gone:
    """The last one puts out the light: take away all that is not a lock file. Under the registry's lock.

    The registry goes first: where it is missing, the next comer makes the directories before it writes one.
    """
    paths = config.node_paths
    gone = dead_jobs(config, table)
    table.forget(paths.registry)
    for base in bases(config):
        for name in ("exchange", "outgoing"):
            _hide(gone, f"{base.base}/{name}", base.base)
    _old_logs(paths.logs)
    for name in rubbish.names(paths.node_dir, hidden=True):
        if name.startswith(records.HALF):  # of a leader that died while it wrote: nobody else writes here
            rubbish.remove(f"{paths.node_dir}/{name}")
    for directory in (paths.keepers, paths.spool, paths.jobs, paths.logs):
        rubbish.remove_empty(directory)
    rubbish.remove(paths.desk_bell)
    rubbish.remove(paths.blocked)
    if not any(name.startswith("gcp-") for name in rubbish.names(paths.node_dir)):
        rubbish.remove(paths.place)
    return gone


def roots(config: Config) -> None:
    """Remove our directories on further roots where they are empty, after :class:`Gone` was removed."""
    for base in bases(config)[1:]:
        rubbish.remove_empty(base.base)
        if base.above is not None:
            rubbish.remove_empty(base.above)


def logs_of_a_good_term(paths: NodePaths) -> None:
    """GCP and its guard tell of every start and stop: where all went well, nobody asks."""
    rubbish.remove(f"{paths.logs}/gcp.log")


def _old_logs(directory: str) -> None:
    for name in rubbish.names(directory):
        try:
            found = os.stat(f"{directory}/{name}")
        except OSError:
            continue
        if found.st_size == 0 or found.st_mtime < time.time() - LOG_SECONDS:
            rubbish.remove(f"{directory}/{name}")
