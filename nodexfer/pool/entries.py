"""The entries of a pool, as they lie on the shared file system. Reading changes nothing.

pool/<pool>/<entry>/record.json   {"format": 1, "name", "endpoint_id", "owner", "created", "cluster", "complete"}
                    config/       GCP's config directory
                    lease.<n>
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from nodexfer.errors import PoolEntryBroken, PoolMissing
from nodexfer.paths import HomePaths

FORMAT = 1
#: The queue of waiters (pool/waiting.py) lies beside the entries.
QUEUE = "waiting"


class PoolEntry(NamedTuple):
    """``owner`` is the identity that made the endpoint; ``broken`` says why it can not be used, or is None."""

    name: str
    directory: str
    endpoint_id: str
    owner: str
    broken: str | None
    created: str = ""

    def error(self) -> PoolEntryBroken:
        return PoolEntryBroken(
            f"The pool entry {self.name} is broken: {self.broken}.", f"nodexfer pool remove {self.name}"
        )


def read_pool(home: HomePaths, pool: str, *, config_too: bool = True) -> list[PoolEntry]:
    """Every entry, broken ones included, by name.

    :param config_too: look into the GCP config directories, too: a damaged one makes an entry broken.
    :raises PoolMissing: there is no entry at all.
    """
    directory = home.pool(pool)
    try:
        names = sorted(name for name in os.listdir(directory) if not name.startswith(".") and name != QUEUE)
    except OSError:
        names = []
    if not names:
        raise PoolMissing(f"The pool {pool} has no endpoint: {directory} is empty or does not exist.")
    return [read_entry(f"{directory}/{name}", config_too=config_too) for name in names]


def read_entry(directory: str, *, config_too: bool = True) -> PoolEntry:
    """One entry; what is wrong with it is in ``broken``."""
    record, broken = _record(f"{directory}/record.json")
    entry = PoolEntry(
        name=os.path.basename(directory),
        directory=directory,
        endpoint_id=str(record.get("endpoint_id") or ""),
        owner=str(record.get("owner") or ""),
        broken=broken,
        created=str(record.get("created") or ""),
    )
    return entry if broken or not config_too else entry._replace(broken=_config_trouble(entry))


def _record(path: str) -> tuple[dict[str, Any], str | None]:
    try:
        with open(path, "rb") as file:
            record = json.loads(file.read(65536))
        if not isinstance(record, dict) or not isinstance(record["format"], int):
            raise ValueError("no format number")
    except FileNotFoundError:
        return {}, "it has no record.json"
    except (OSError, ValueError, KeyError):
        return {}, "its record.json can not be read"
    if record["format"] > FORMAT:
        return record, "a newer nodexfer wrote it"
    if not record.get("complete"):
        return record, "its set-up was never finished"
    return record, None


def _config_trouble(entry: PoolEntry) -> str | None:
    from nodexfer.gcp import configdir  # not for those who only look who holds what

    try:
        found = configdir.endpoint_id(f"{entry.directory}/config")
    except PoolEntryBroken:
        return "its config directory is missing or damaged"
    return None if found == entry.endpoint_id else "its config directory is another endpoint's"
