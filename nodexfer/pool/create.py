"""Make endpoints of a pool: at the service and on the shared file system, as one thing.

An entry's record is written before Globus is asked for anything, and says ``complete`` only at the very end. What a
crash leaves is an entry that every reader calls broken, and that ``nodexfer pool remove`` takes away, endpoint and all.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nodexfer import records, scheduler
from nodexfer.clock import utc
from nodexfer.config import Config
from nodexfer.errors import ConfigInvalid, HomeFull, NodexferError, PoolEntryBroken
from nodexfer.gcp import configdir
from nodexfer.gcp.install import Program
from nodexfer.paths import SAFE, private_directory
from nodexfer.pool.entries import FORMAT, QUEUE, PoolEntry, read_entry
from nodexfer.pool.manage import Endpoints


def create(
    config: Config, globus: Endpoints, program: Program, environ: Mapping[str, str], count: int, prefix: str
) -> Iterator[PoolEntry]:
    """Make ``count`` endpoints ``<prefix>-<n>``, one after the other, each given as soon as it can be used.

    Each takes one call to the service and one run of GCP's ``-setup``. When one fails it is taken back, and those
    before it stay.

    :raises ConfigInvalid: the prefix can not be part of a file's name.
    :raises HomeFull, EndpointFailed, GcpMissing, ServiceError: nothing of the one that failed is left.
    """
    if not prefix or not SAFE.issuperset(prefix) or prefix[0] in ".-" or prefix == QUEUE:
        raise ConfigInvalid(
            f"The prefix {prefix!r} must be letters, digits, '.', '_' and '-', and begin with none of the last two.",
            "nodexfer pool create --count 2 --prefix mynode",
        )
    owner = globus.identity()
    for _ in range(count):
        directory = _new_directory(config, prefix)
        record = {
            "format": FORMAT,
            "name": os.path.basename(directory),
            # No two endpoints of an identity may have one display name; an old one of this name may still be there.
            "display_name": f"{os.path.basename(directory)}-{secrets.token_hex(3)}",
            "endpoint_id": None,
            "owner": owner,
            "created": utc(),
            "cluster": scheduler.detect(environ).cluster,
            "complete": False,
        }
        try:
            _fill(config, globus, program, environ, directory, record)
        except BaseException as error:
            if not _take_back(globus, directory, record) and isinstance(error, NodexferError):
                name = record["name"]
                error.say(f"{error.message} {name} stays, as broken: `nodexfer pool remove {name}` takes it away.")
            raise
        yield read_entry(directory)


def _new_directory(config: Config, prefix: str) -> str:
    """The first ``<prefix>-<n>`` that nobody has; made here, by one mkdir(2), so that two who create do not meet."""
    with _space_in(config.home):
        os.makedirs(config.home, 0o700, exist_ok=True)
        private_directory(config.home_paths.pools)
        pool = private_directory(config.home_paths.pool(config.pool))
        number = 1
        while True:
            try:
                os.mkdir(f"{pool}/{prefix}-{number}", 0o700)
            except FileExistsError:
                number += 1
                continue
            return f"{pool}/{prefix}-{number}"


def _fill(
    config: Config,
    globus: Endpoints,
    program: Program,
    environ: Mapping[str, str],
    directory: str,
    record: dict[str, Any],
) -> None:
    path = f"{directory}/record.json"
    records.write(path, record, shared=True)
    made = globus.create_endpoint(record["display_name"])
    record["endpoint_id"] = made.id
    records.write(path, record, shared=True)
    with _space_in(directory):
        found = configdir.setup(
            program,
            made.setup_key,
            f"{directory}/config",
            prefix=config.gcp_prefix,
            environ=environ,
            keep=config.gcp_environment,
        )
    if found != made.id:
        raise PoolEntryBroken(f"GCP set up {found} with the key of {made.id}.")
    records.write(path, {**record, "complete": True}, shared=True)


def _take_back(globus: Endpoints, directory: str, record: Mapping[str, Any]) -> bool:
    """As far as it goes: what can not be taken back stays as a broken entry, and the first error is the one told."""
    try:
        endpoint = record["endpoint_id"] or globus.own_endpoint(record["display_name"])
        if endpoint:
            globus.delete_endpoint(endpoint)
        configdir.remove(directory)
    except (NodexferError, OSError):
        return False
    return True


@contextmanager
def _space_in(directory: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HomeFull(f"No space is left in {directory}.", f"df -h {directory}") from error
        raise
