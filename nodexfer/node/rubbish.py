"""Taking things away: out of sight in one rename, while a lock is held; removed afterwards, however long it takes.

A death in between leaves ``.gone-*`` in a directory of ours, which the next cleaning removes. Nothing here raises: what
can not be removed now is found again later.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

PREFIX = ".gone-"


def hide(path: str, base: str) -> str | None:
    """Rename ``path`` to a hidden name in ``base`` (same file system); the name to remove, None where nothing was."""
    hidden = f"{base}/{PREFIX}{os.urandom(6).hex()}-{os.path.basename(path)}"
    try:
        os.rename(path, hidden)
    except OSError:
        return None
    return hidden


def hidden(base: str) -> list[str]:
    """What earlier ones left hidden in ``base``."""
    return [f"{base}/{name}" for name in names(base, hidden=True) if name.startswith(PREFIX)]


def names(directory: str, *, hidden: bool = False) -> list[str]:
    """What is in ``directory``, [] where there is none; names with a leading dot only with ``hidden``."""
    try:
        return [name for name in os.listdir(directory) if hidden or not name.startswith(".")]
    except OSError:
        return []


def bury(request: str, outgoing: list[str]) -> None:
    """Remove the directory of a request whose owner is proven dead, with all that exists for its sake; itself last.

    ``outgoing`` are its directories of that kind on all roots. It may have been hidden before: its name ends with the
    request's id. What lies in an exchange is the desk's business, since GCP may still be writing there.
    """
    for path in (*_litter(request), *outgoing, request):
        remove(path)


def _litter(request: str) -> list[str]:
    """The paths that the record names, as far as their own names say that they are of this very request."""
    try:
        with open(f"{request}/request.json", "rb") as file:
            named = json.load(file).get("litter", [])
    except (OSError, ValueError, AttributeError):
        return []
    ours = f".nodexfer-{os.path.basename(request).rpartition('-')[2]}-"
    return [path for path in named if isinstance(path, str) and os.path.basename(path).startswith(ours)]


def remove(path: str) -> bool:
    """Remove ``path`` and everything below it, following no link; False when something is left."""
    try:
        os.unlink(path)
        return True
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError):  # Linux says EISDIR; POSIX allows EPERM
        return _remove_directory(path)
    except OSError:
        return False


def _remove_directory(top: str) -> bool:
    # Two passes at most: a directory that its owner made read-only is opened for us in the first.
    for _ in range(2):
        for where, directories, files in os.walk(top, topdown=False):
            for name in files:
                _try(os.unlink, f"{where}/{name}")
            for name in directories:
                _try(os.unlink if os.path.islink(f"{where}/{name}") else os.rmdir, f"{where}/{name}")
        _try(os.rmdir, top)
        if not os.path.lexists(top):
            return True
        for where, _directories, _files in os.walk(top):
            _try(_open_up, where)
    return False


def _open_up(directory: str) -> None:
    # os.walk looks into the subdirectories after this, so that each is opened before it is read.
    for name in (directory, *(entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False))):
        os.chmod(name, 0o700)


def _try(action: Callable[[str], None], path: str) -> None:
    try:
        action(path)
    except OSError:
        pass


def remove_empty(directory: str) -> None:
    """Remove ``directory`` if nothing is in it."""
    _try(os.rmdir, directory)
