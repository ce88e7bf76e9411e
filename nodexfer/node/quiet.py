"""Giving a hold back once what it was taken for is done: for a block, a manager or a worker that comes to its end."""

from __future__ import annotations

import os

from nodexfer.config import Config
from nodexfer.errors import NodexferError
from nodexfer.node import hold


def release(config: Config, hold_id: str, *, wait: float = hold.END_SECONDS) -> None:
    """As :func:`nodexfer.node.hold.release`; that the place was removed meanwhile is no reason to fail: so is the hold.

    :raises NodexferError: the registry is there, and it was not given back.
    """
    try:
        hold.release(config, hold_id, wait=wait)
    except NodexferError:
        if os.path.lexists(config.node_paths.registry):
            raise
