"""What a request whose owner is dead leaves behind, and its removal. Standard library only: keepers clean up too."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable


def bury(directory: str, outgoing: Iterable[str]) -> None:
    """Remove the request at ``directory`` with all that exists for its sake, its record last.

    Only for a request whose owner is proven dead. ``outgoing`` are the directories ``RootPaths.outgoing(request)`` of
    all roots. What lies in an exchange is the desk's business, since GCP may still be writing there.
    """
    for path in (*_litter(directory), *outgoing):
        _remove(path)
    parent, name = os.path.split(directory)
    gone = f"{parent}/.gone-{name}-{os.getpid()}"
    try:
        os.rename(directory, gone)
    except OSError:
        return
    shutil.rmtree(gone, ignore_errors=True)


def _litter(directory: str) -> list[str]:
    """The paths that the record names, as far as their names say that they are of this very request."""
    try:
        with open(f"{directory}/request.json", "rb") as file:
            named = json.load(file).get("litter", [])
    except (OSError, ValueError, AttributeError):
        return []
    ours = f".nodexfer-{os.path.basename(directory)}-"
    return [path for path in named if isinstance(path, str) and os.path.basename(path).startswith(ours)]


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        os.unlink(path)
    except OSError:
        pass
