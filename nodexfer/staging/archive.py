"""The receipts that are kept: found, listed, described as a schema. Only looked at; nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec

from nodexfer.errors import ReceiptUnknown
from nodexfer.paths import HomePaths
from nodexfer.staging.receipt import FORMAT, Receipt

_AGAIN = "nodexfer receipts list"


def schema() -> dict[str, Any]:
    """What a receipt is, as JSON Schema (2020-12). Later versions add fields and take none away."""
    import inspect

    found = msgspec.json.schema(Receipt)
    for definition in found["$defs"].values():
        if "description" in definition:  # indented by Python 3.12 and before
            definition["description"] = inspect.cleandoc(definition["description"])
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A receipt of nodexfer"}
    return {**about, **found}


def newest(paths: HomePaths, limit: int | None = None) -> list[Receipt]:
    """The newest ``limit`` receipts, newest first; what is no receipt, or one of a newer version, is left out.

    Months are read until there are enough, so that years of them cost nothing.
    """
    found: list[Receipt] = []
    for month in _names(paths.receipts):
        of_month = [receipt for path in _records(f"{paths.receipts}/{month}") if (receipt := peek(path)) is not None]
        found += sorted(of_month, key=lambda receipt: receipt.created, reverse=True)
        if limit is not None and len(found) >= limit:
            return found[:limit]
    return found


def find(paths: HomePaths, name: str) -> Receipt:
    """The receipt whose id begins with ``name``, or the file ``name``.

    :raises ReceiptUnknown: there is none, or several.
    """
    if os.path.isfile(name):
        matches = [name]
    else:
        every = [path for month in _names(paths.receipts) for path in _records(f"{paths.receipts}/{month}")]
        matches = [path for path in every if name and os.path.basename(path).startswith(name)]
    if not matches:
        raise ReceiptUnknown(f"There is no receipt {name!r} in {paths.receipts}.", _AGAIN)
    if len(matches) > 1:
        raise ReceiptUnknown(f"{len(matches)} receipts begin with {name!r}; give more of the id.", _AGAIN)
    receipt = peek(matches[0])
    if receipt is None:
        raise ReceiptUnknown(f"{matches[0]} is not whole, or is of a newer version of nodexfer.", f"cat {matches[0]}")
    return receipt


def peek(path: str) -> Receipt | None:
    """The receipt in a file; None for what is none. A half of one is its writer's to set aside."""
    try:
        with open(path, "rb") as file:
            record = msgspec.json.decode(file.read(), type=dict[str, Any])
        if record.get("format") != FORMAT:
            return None
        return msgspec.convert({**record, "path": path}, Receipt)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return None


def _records(directory: str) -> Iterator[str]:
    return (f"{directory}/{name}" for name in _names(directory) if name.endswith(".json"))


def _names(directory: str) -> list[str]:
    """What is there, the newest first: months, and ids, sort by time."""
    try:
        return sorted((name for name in os.listdir(directory) if not name.startswith(".")), reverse=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
