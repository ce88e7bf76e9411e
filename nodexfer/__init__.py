"""Brings data by Globus into a compute node's own /tmp, and takes the results out again.

    with nodexfer.hold() as node:
        node.stage_in("site:/project/input.h5")
        compute(node.scratch / "input.h5", node.scratch / "result.h5")
        node.stage_out("result.h5", "site:/project/results/")

``nodexfer.stage_in(...)`` and ``nodexfer.stage_out(...)`` do one of these alone. Errors are in :mod:`nodexfer.errors`.
Importing this package imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nodexfer.errors import NodexferError
    from nodexfer.integrations.compute import staged
    from nodexfer.integrations.sources import Source
    from nodexfer.session import Node, hold, stage_in, stage_out
    from nodexfer.staging.receipt import Receipt

__version__ = "0.1.0"
__all__ = ["Node", "NodexferError", "Receipt", "Source", "__version__", "hold", "stage_in", "stage_out", "staged"]

_HOMES = {
    "Node": "nodexfer.session",
    "NodexferError": "nodexfer.errors",
    "Receipt": "nodexfer.staging.receipt",
    "Source": "nodexfer.integrations.sources",
    "hold": "nodexfer.session",
    "stage_in": "nodexfer.session",
    "stage_out": "nodexfer.session",
    "staged": "nodexfer.integrations.compute",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nodexfer' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
