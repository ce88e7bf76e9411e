"""Who holds which endpoint of the pool, and who waits: for ``status``. Only looked at; the service is not asked."""

from __future__ import annotations

import os
from typing import Any

from nodexfer import identity
from nodexfer.config import Config
from nodexfer.errors import PoolEntryBroken, PoolMissing
from nodexfer.pool import lease as leases
from nodexfer.pool.entries import QUEUE, PoolEntry, read_pool


def survey(config: Config) -> dict[str, Any]:
    """{"name", "endpoints": [...], "waiting": [...], "turns": [...]}: the last are of this host's places."""
    home = config.home_paths
    try:
        entries = read_pool(home, config.pool, config_too=False)
    except PoolMissing:
        entries = []
    return {
        "name": config.pool,
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
    try:
        top = leases.top(entry.directory)
    except (PoolEntryBroken, OSError):  # removed since the pool was listed; or not to be read
        return {**row, "state": "broken"}
    if top is None or top.released:
        return {**row, "trouble": top.trouble if top else ""}
    return {**row, "state": "held", "host": top.host, "job": top.job, "lease": top.number}
