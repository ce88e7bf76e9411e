"""What the leader has on the shared file system and on this node's disks for one lease: taken, prepared, given back."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from nodexfer import identity
from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import ForeignGcp, NodeError, NodexferError, PoolEntryBroken, PoolMissing
from nodexfer.gcp import address, configdir, strays
from nodexfer.gcp.guard import now
from nodexfer.node import clean, place, rubbish
from nodexfer.node.log import say
from nodexfer.paths import RootPaths, ground, private_directory
from nodexfer.pool import choose, entries, waiting
from nodexfer.pool import lease as leases
from nodexfer.scheduler import Job

#: A pool may be exhausted for days; who waits has a deadline of its own (:mod:`nodexfer.node.work`).
FOREVER = 365 * 86400.0


class Claim(NamedTuple):
    """One lease of this place. ``began``: when the step that made it ours began (:func:`nodexfer.gcp.guard.now`)."""

    lease: leases.Lease
    began: float


class Prepared(NamedTuple):
    """``working`` is the config directory that GCP runs with; ``exchanges`` is root -> directory.

    ``grounds``: root -> which directory that is to us (:func:`nodexfer.paths.ground`).
    """

    working: str
    exchanges: dict[str, str]
    grounds: dict[str, str]

    @property
    def seen(self) -> dict[str, Any]:
        """What all may know of it."""
        return {"exchanges": self.exchanges, "grounds": self.grounds}


def who(config: Config, job: Job) -> leases.Me:
    return leases.Me(
        job.scheduler,
        job.cluster,
        identity.host(),
        identity.boot_id(),
        place.settle(config.node_paths),
        config.node_dir,
        job.id,
        job.run,
    )


def take(
    config: Config,
    job: Job,
    on_wait: Callable[[str], None],
    sleep: Callable[[float], object],
    passed: choose.PassedOver | None = None,
) -> Claim:
    """Continue the place's lease, or take one, waiting as long as ``on_wait`` and ``sleep`` raise nothing.

    :param passed: the endpoints that are not to be had again.
    :raises NodexferError: see :func:`nodexfer.pool.choose.acquire`.
    """
    began = [now()]

    def pause(seconds: float) -> None:
        sleep(seconds)
        began[0] = now()

    lease = choose.acquire(config, who(config, job), Deadline(FOREVER), on_wait, sleep=pause, passed=passed)
    return Claim(lease, began[0])


def demand(config: Config, lease: leases.Lease) -> Callable[[], bool]:
    """Asks whether another place waits for an endpoint of the pool, or for its turn on this host."""
    home = config.home_paths
    return waiting.Demand([home.pool(config.pool), home.turns(lease.boot)], lease.place).look


class TurnLost(Exception):
    """Another GCP of this user was quicker to start: what we have is given back, and we wait in line."""


class Turn:
    """Our wait for the one GCP that this host can have. A context manager, as :class:`nodexfer.pool.waiting.Queue`."""

    def __init__(self, config: Config, job: Job) -> None:
        self._config = config
        self._me = who(config, job)
        self._directory = config.home_paths.turns(self._me.boot)
        self._queue = waiting.Queue(self._directory, self._me)
        self._joined = False

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *error: object) -> None:
        self._queue.__exit__()
        for directory in (f"{self._directory}/{entries.QUEUE}", self._directory, os.path.dirname(self._directory)):
            rubbish.remove_empty(directory)

    @property
    def has_come(self) -> bool:
        """No GCP of this user runs here, and no place of this host waits longer than we do."""
        return address.holder(self._config) == "free" and self._queue.ahead() == 0

    def join(self) -> None:
        """Wait in line, or show that we still do. A home without room only costs the place in it."""
        if os.path.isdir(self._config.home):
            self._queue.join()
            if not self._joined:
                self._joined = True
                waiting.forget_old(os.path.dirname(self._directory), self._directory)

    def foreign(self) -> ForeignGcp:
        """Whose GCP is waited for: another place's of ours, by its lease, or one that somebody started by hand."""
        try:
            tops = _tops(self._config)
        except (NodexferError, OSError):  # the pool can not be looked at now: then by no name
            tops = []
        others = [top for top in tops if (top.boot, top.host) == (self._me.boot, self._me.host)]
        ours = [f"{top.holder} (its {top.node_dir} is another one)" for top in others if top.place != self._me.place]
        if ours:
            return ForeignGcp(
                f"Another place of this node has its turn: {', '.join(ours)}. A node can have one Globus Connect "
                "Personal; it is given up when it is idle.",
                "nodexfer status",
            )
        return ForeignGcp(
            "Another Globus Connect Personal of yours runs on this node, and a node can have only one; it was neither "
            "joined nor stopped.",
            "globusconnectpersonal -stop",
        )


def prepare(config: Config, lease: leases.Lease) -> Prepared:
    """The working copy of the entry's config directory, and the exchange on each root; what other leases left goes.

    A copy that a leader of this lease left is used again: the credentials in it may be newer than the pool's.

    :raises PoolEntryBroken, DiskFull, NodeDirUnsafe, NodeDirRemoved: GCP can not be started.
    """
    paths = config.node_paths
    working = paths.gcp_config(lease.place)
    if _endpoint_of(working) != lease.endpoint_id:
        configdir.check_out(f"{lease.directory}/config", working)
    exchanges: dict[str, str] = {}
    for root in config.roots:
        base = RootPaths.of(root, config.node_dir)
        try:
            exchanges[root] = base.make(lease.number).exchange(lease.number)
            private_directory(f"{exchanges[root]}/jobs")
        except NodeError as error:
            # A job's own TMPDIR may be gone or full; the root of the node_dir must not be.
            if base.base == config.node_dir:
                raise
            exchanges.pop(root, None)
            say(f"no exchange on {root}: {error}")
    clean.old_exchanges(config, lease.number).remove()
    return Prepared(working, exchanges, {root: ground(root, config.node_dir) for root in exchanges})


def _endpoint_of(working: str) -> str | None:
    """None where it is none. :raises NodexferError: it can not be read now; what is in it is not to be lost."""
    try:
        return configdir.endpoint_id(working)
    except PoolEntryBroken:
        return None


def save_credentials(config: Config, lease: leases.Lease) -> None:
    """Bring back what GCP changed in its config directory, while the lease is ours. A failure is only logged."""
    working = config.node_paths.gcp_config(lease.place)
    try:
        configdir.check_in(working, f"{lease.directory}/config")
    except (NodexferError, OSError) as error:
        say(f"credentials of {lease.entry} were not brought back: {error}")


def give_back(config: Config, lease: leases.Lease) -> None:
    """With GCP ended: the working copy and the exchanges go, and the endpoint is free for others.

    :raises HomeFull: it is still held, and will be found by the next leader here.
    """
    save_credentials(config, lease)
    # Not those of requests that are in the spool: a command may be publishing what arrived.
    clean.old_exchanges(config, None).remove()
    leases.give_back(lease)
    configdir.remove(config.node_paths.gcp_config(lease.place))


def give_back_from_nowhere(config: Config, lease: leases.Lease, prepared: Prepared | None) -> None:
    """The same where the node_dir was removed: what is at its path now is another place's, and is not touched.

    :raises HomeFull: see :func:`give_back`.
    """
    known = [] if prepared is None else prepared.exchanges.values()
    clean.exchanges(path for path in known if not path.startswith(f"{config.node_dir}/"))
    leases.give_back(lease)


def give_back_left(config: Config) -> bool:
    """What a killed leader of this place had, where no GCP was started since. With the leader's lock in hand.

    One of a leader that was killed with its guard may still run: it is ended first. False: it can not be.

    :raises HomeFull: see :func:`give_back`.
    """
    here = place.known(config.node_paths)
    if here is not None and not strays.kill_strays(config.node_paths.gcp_config(here)):
        return False
    for lease in left_here(config):
        give_back(config, lease)
    if here is not None and not _is_wanted(config, here):
        configdir.remove(config.node_paths.gcp_config(here))
    return True


def _is_wanted(config: Config, here: str) -> bool:
    """Whether the working copy of the place ``here`` may have credentials that the pool has not.

    A death after a lease was given back leaves one that has none. Of a pool that we do not look at, nothing is known.
    """
    endpoint = _endpoint_of(config.node_paths.gcp_config(here))
    if endpoint is None:  # half copied, or half removed
        return False
    held = {top.endpoint_id for top in _tops(config) if top.place == here}
    return endpoint in held or endpoint not in _known(config)


def left_here(config: Config) -> list[leases.Lease]:
    """The leases of this place that an earlier leader did not give back."""
    me = (identity.boot_id(), identity.host(), place.known(config.node_paths))
    return [top for top in _tops(config) if (top.boot, top.host, top.place) == me]


def _known(config: Config) -> set[str]:
    try:
        return {entry.endpoint_id for entry in entries.read_pool(config.home_paths, config.pool)}
    except PoolMissing:
        return set()


def _tops(config: Config) -> list[leases.Lease]:
    """The leases of the pool that are held."""
    try:
        pool = entries.read_pool(config.home_paths, config.pool)
    except PoolMissing:
        return []
    tops = [leases.top(entry.directory) for entry in pool]
    return [top for top in tops if top is not None and not top.released]
