"""The keys, each with its check and the form that its environment variable has."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from nodexfer.config import checks


class Key(NamedTuple):
    #: From a TOML value or an argument to the attribute of Config.
    check: Callable[[object], Any]
    #: From the text of ``NODEXFER_<KEY>`` to what ``check`` takes, and back.
    read: Callable[[str], object]
    write: Callable[[Any], str]
    #: A leading ``~/`` means the user's home directory.
    is_path: bool = False


def _number(raw: str) -> object:
    try:
        return float(raw)
    except ValueError:
        return raw


def _colons(raw: str) -> object:
    return [part for part in raw.split(":") if part]


def _words(raw: str) -> object:
    """:raises ValueError: a quotation mark is not closed."""
    import shlex  # only where such a variable is set

    return shlex.split(raw)


def _joined(words: Sequence[str]) -> str:
    import shlex

    return shlex.join(words)


def _roots(raw: object) -> tuple[str, ...]:
    paths = tuple(dict.fromkeys(checks.root(path) for path in checks.texts(raw)))
    if not paths:
        raise ValueError("must name at least one directory")
    return paths


KEYS: Mapping[str, Key] = {
    "home": Key(checks.directory, str, str, is_path=True),
    "node_dir": Key(checks.node_dir, str, str, is_path=True),
    "roots": Key(_roots, _colons, ":".join, is_path=True),
    "pool": Key(checks.name, str, str),
    "linger": Key(checks.seconds, _number, repr),
    "lease": Key(checks.some_seconds, _number, repr),
    "silence": Key(checks.silence, _number, repr),
    "gcp": Key(checks.text, str, str, is_path=True),
    "gcp_prefix": Key(checks.texts, _words, _joined),
    "gcp_address": Key(checks.text, str, str),
    "gcp_environment": Key(checks.texts, _words, _joined),
    "service_timeout": Key(checks.some_seconds, _number, repr),
    "via_after": Key(checks.seconds, _number, repr),
}


def defaults(node_dir: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The value of every key but ``home`` and ``node_dir`` where nobody set one."""
    return {
        "roots": default_roots(node_dir, environ.get("TMPDIR", "")),
        "pool": "default",
        "linger": 300.0,
        "lease": 300.0,
        "silence": 30.0,
        "gcp": None,
        "gcp_prefix": (),
        "gcp_address": "/org/globusonline/globusconnect",
        "gcp_environment": (),
        "service_timeout": 30.0,
        "via_after": 300.0,
    }


def default_roots(node_dir: str, tmpdir: str) -> tuple[str, ...]:
    """The directory that the node_dir lies in, and ``$TMPDIR`` where it adds something.

    It adds nothing where it lies below the first on the same file system, and GCP can not be shown it where its name
    has brackets (PBS: TMPDIR of an array's sub-job). Neither is an error: nobody asked for it here.
    """
    first = os.path.dirname(node_dir)
    try:
        second = checks.root(tmpdir)
        inside = second == first or second.startswith(first.rstrip("/") + "/")
        if not os.path.isdir(second) or (inside and os.stat(second).st_dev == os.stat(first).st_dev):
            return (first,)
    except (ValueError, OSError):
        return (first,)
    return (first, second)
