"""The entries of a pool, as they lie on the shared file system. Reading changes nothing.

pool/<pool>/<entry>/record.json   {"format": 1, "name", "endpoint_id", "owner", "created", "cluster", "complete"}
                    config/       GCP's config directory
                    lease.<n>
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from nodexfer import records
from nodexfer.errors import NodexferError, PoolEntryBroken, PoolMissing
from nodexfer.paths import HomePaths

FORMAT = 1
#: The queue of waiters (pool/waiting.py) lies beside the entries.
QUEUE = "waiting"


class PoolEntry(NamedTuple):
    """``owner`` is the identity that made the endpoint; ``broken`` says why it can not be used, or is None.

    ``unread``: what the file system has against it just now. Such an entry may be well, and nothing is known of it.
    """

    name: str
    directory: str
    endpoint_id: str
    owner: str
    broken: str | None
    created: str = ""
    unread: NodexferError | None = None

    @property
    def usable(self) -> bool:
        return self.broken is None and self.unread is None

    def error(self) -> NodexferError:
        """Why it is not usable."""
        return self.unread or PoolEntryBroken(
            f"The pool entry {self.name} is broken: {self.broken}.", f"nodexfer pool remove {self.name}"
        )


def read_pool(home: HomePaths, pool: str, *, config_too: bool = True) -> list[PoolEntry]:
    """Every entry, by name: also those that are broken, or can not be read now.

    :param config_too: look into the GCP config directories, too: a damaged one makes an entry broken.
    :raises PoolMissing: there is no entry at all.
    :raises OSError: nobody knows what there is, as long as the file system says so.
    """
    directory = home.pool(pool)
    try:
        names = sorted(name for name in os.listdir(directory) if not name.startswith(".") and name != QUEUE)
    except (FileNotFoundError, NotADirectoryError):
        names = []
    if not names:
        raise PoolMissing(f"The pool {pool} has no endpoint: {directory} is empty or does not exist.")
    return [read_entry(f"{directory}/{name}", config_too=config_too) for name in names]


def read_entry(directory: str, *, config_too: bool = True) -> PoolEntry:
    """One entry; what is wrong with it is in ``broken``, why it can not be read in ``unread``."""
    path = f"{directory}/record.json"
    unread: NodexferError | None = None
    record, broken = dict[str, Any](), None
    try:
        record, broken = _record(path)
    except OSError as error:
        unread = records.unusable(error, path)
    entry = PoolEntry(
        name=os.path.basename(directory),
        directory=directory,
        endpoint_id=str(record.get("endpoint_id") or ""),
        owner=str(record.get("owner") or ""),
        broken=broken,
        created=str(record.get("created") or ""),
        unread=unread,
    )
    return _with_config(entry) if config_too and entry.usable else entry


def _record(path: str) -> tuple[dict[str, Any], str | None]:
    """:raises OSError: it is there, and can not be read."""
    try:
        with open(path, "rb") as file:
            record = json.loads(file.read(65536))
        if not isinstance(record, dict) or not isinstance(record["format"], int):
            raise ValueError("no format number")
    except (FileNotFoundError, NotADirectoryError):
        return {}, "it has no record.json"
    except (ValueError, KeyError):
        return {}, "its record.json is not a whole record"
    if record["format"] > FORMAT:
        return record, "a newer nodexfer wrote it"
    if not record.get("complete"):
        return record, "its set-up was never finished"
    return record, None


def _with_config(entry: PoolEntry) -> PoolEntry:
    from nodexfer.gcp import configdir  # not for those who only look who holds what

    try:
        found = configdir.endpoint_id(f"{entry.directory}/config")
    except PoolEntryBroken:
        return entry._replace(broken="its config directory is missing or damaged")
    except NodexferError as error:
        return entry._replace(unread=error)
    return entry if found == entry.endpoint_id else entry._replace(broken="its config directory is another endpoint's")
