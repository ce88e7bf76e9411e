"""From what was typed to a value, one function per kind; each raises ValueError in words that finish a sentence.

A message says what is allowed: "<key> must be ...". The caller adds where the value was written.
"""

from __future__ import annotations

import math
import os
import re

#: GCP's ``-restrict-paths`` separates by commas and reads these as patterns or escapes; none can be quoted there.
UNSAYABLE = frozenset(",*?[]{}~\\%")

#: The least time after which a leader may be called silent.
SILENCE_SECONDS = 3.0

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_COLLECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def text(raw: object) -> str:
    if not isinstance(raw, str) or not raw or not raw.isprintable():
        raise ValueError("must be a text of printable characters, and not empty")
    return raw


def name(raw: object) -> str:
    """One path component."""
    if "/" in text(raw) or text(raw).startswith("."):
        raise ValueError("must be a name without '/' that does not start with '.'")
    return text(raw)


def texts(raw: object) -> tuple[str, ...]:
    if isinstance(raw, str) or not isinstance(raw, (list, tuple)):
        raise ValueError('must be a list of texts, as in ["one", "two"]')
    return tuple(text(item) for item in raw)


def seconds(raw: object) -> float:
    """Zero or more seconds; a bool is no number here."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not math.isfinite(raw) or raw < 0:
        raise ValueError("must be a number of seconds, 0 or more")
    return float(raw)


def some_seconds(raw: object) -> float:
    if seconds(raw) == 0:
        raise ValueError("must be a number of seconds above 0")
    return seconds(raw)


def silence(raw: object) -> float:
    """A leader at work turns every second, and is given 3 s by what it waits for."""
    if seconds(raw) < SILENCE_SECONDS:
        raise ValueError(f"must be a number of seconds, {SILENCE_SECONDS:g} or more: a leader at work may be as silent")
    return seconds(raw)


def directory(raw: object) -> str:
    """An absolute path with every link resolved; it need not exist."""
    return os.path.realpath(_absolute(raw))


def root(raw: object) -> str:
    """A local directory that GCP may be shown: links resolved, since GCP follows none out of its list."""
    return sayable(directory(raw))


def node_dir(raw: object) -> str:
    """As :func:`root`, but a link in its last component stays one: it may be a trap, and is refused later."""
    path = os.path.normpath(_absolute(raw))
    if path == "/":
        raise ValueError("must be a directory of its own, not /")
    return sayable(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)))


def sayable(path: str) -> str:
    if any(c in UNSAYABLE or c.isspace() or not c.isprintable() for c in path):
        raise ValueError(f"must be a path without blanks and without {' '.join(sorted(UNSAYABLE))}; GCP can not say it")
    return path


def collection_id(raw: object) -> str:
    if not isinstance(raw, str) or not _UUID.fullmatch(raw):
        raise ValueError("must be the collection's UUID, as in 1f3a5b7c-0000-4000-8000-0123456789ab")
    return raw.lower()


def collection_name(raw: str) -> str:
    """What may stand before ``:/path``; ``globus`` is the scheme of ``globus://<uuid>/path``."""
    if not _COLLECTION.fullmatch(raw) or raw == "globus":
        raise ValueError("must be letters, digits, '.', '_' and '-', and not 'globus'")
    return raw


def remote_path(raw: object) -> str:
    if not text(raw).startswith("/"):
        raise ValueError("must be a path that starts with /")
    return text(raw)


def _absolute(raw: object) -> str:
    path = text(raw)
    if not path.startswith("/"):
        raise ValueError("must be an absolute path")
    return path
