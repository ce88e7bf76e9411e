"""Who holds which endpoint of the pool, and who waits: for ``status``. Only looked at; the service is not asked."""

from __future__ import annotations

import os
from typing import Any

from nodexfer import identity, records
from nodexfer.config import Config
from nodexfer.errors import PoolEntryBroken, PoolMissing
from nodexfer.pool import lease as leases
from nodexfer.pool.entries import QUEUE, PoolEntry, read_pool


def survey(config: Config) -> dict[str, Any]:
    """{"name", "trouble", "endpoints": [...], "waiting": [...], "turns": [...]}: the last are of this host's places.

    ``trouble``: why nobody knows what there is, or ''.
    """
    home = config.home_paths
    trouble = ""
    entries: list[PoolEntry] = []
    try:
        entries = read_pool(home, config.pool, config_too=False)
    except PoolMissing:
        pass
    except OSError as error:
        trouble = records.unusable(error, home.pool(config.pool)).message
    return {
        "name": config.pool,
        "trouble": trouble,
        "endpoints": [_endpoint(entry) for entry in entries],
        "waiting": _waiting(home.pool(config.pool)),
        "turns": _waiting(home.turns(identity.boot_id())),
    }


def _waiting(above: str) -> list[dict[str, Any]]:
    if not os.path.isdir(f"{above}/{QUEUE}"):  # nobody ever had to
        return []
    from nodexfer.pool import waiting

    return [waiter._asdict() for waiter in waiting.waiters(above)]


def _endpoint(entry: PoolEntry) -> dict[str, Any]:
    row: dict[str, Any] = {"name": entry.name, "state": "free", "host": None, "job": None, "lease": None, "trouble": ""}
    if entry.broken is not None:
        return {**row, "state": "broken"}
    if entry.unread is not None:
        return {**row, "state": "unreadable", "trouble": entry.unread.message}
    try:
        top = leases.top(entry.directory)
    except PoolEntryBroken:  # removed since the pool was listed
        return {**row, "state": "broken"}
    except OSError as error:
        unread = records.unusable(error, error.filename or entry.directory)
        return {**row, "state": "unreadable", "trouble": unread.message}
    if top is None or top.released:
        return {**row, "trouble": top.trouble if top else ""}
    return {**row, "state": "held", "host": top.host, "job": top.job, "lease": top.number}
