"""Many sources with a destination each, from a file: JSON lines or two columns.

    {"source": "site:/a b", "destination": "a b"}
    site:/a<TAB>inputs/a

A line that begins with ``{`` is JSON. Any other has exactly one TAB; a name that holds a TAB or a newline needs JSON.
Empty lines are skipped; there are no comments, since a name may begin with ``#``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from nodexfer.errors import SourceMissing, UrlMalformed

_HELP = "nodexfer stage-in --help"


class Pair(NamedTuple):
    """As typed. ``destination`` is the thing itself, or with a trailing slash the directory that it goes into."""

    source: str
    destination: str


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    destination: str


def read(path: str) -> list[Pair]:
    """The pairs of the file ``path``; ``-`` is stdin.

    :raises SourceMissing: it can not be read.
    :raises UrlMalformed: a line is not as it should be, or there is none; the message has its number.
    """
    if path == "-":
        return parse(sys.stdin.buffer.read().split(b"\n"), "stdin")
    try:
        with open(path, "rb") as file:
            return parse(file.read().split(b"\n"), path)
    except OSError as error:
        raise SourceMissing(f"The manifest {path} can not be read: {error.strerror}.", f"ls -l {path}") from error


def parse(lines: Iterable[bytes], name: str) -> list[Pair]:
    """:raises UrlMalformed: see :func:`read`."""
    pairs = [_pair(line, f"{name}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not pairs:
        raise UrlMalformed(f"The manifest {name} names nothing.", _HELP)
    return pairs


def _pair(raw: bytes, where: str) -> Pair:
    try:
        if raw.lstrip().startswith(b"{"):
            line = msgspec.json.decode(raw, type=_Line)
            pair = Pair(line.source, line.destination)
        else:
            source, destination = raw.rstrip(b"\r").decode().split("\t")
            pair = Pair(source, destination)
    except msgspec.MsgspecError as error:
        raise UrlMalformed(f"{where}: {error}; wanted are source and destination.", _HELP) from error
    except UnicodeDecodeError as error:
        raise UrlMalformed(f"{where}: this is not UTF-8.", _HELP) from error
    except ValueError as error:
        raise UrlMalformed(f"{where}: wanted are two columns with one TAB between them, or JSON.", _HELP) from error
    if not pair.source or not pair.destination:
        raise UrlMalformed(f"{where}: source or destination is empty.", _HELP)
    return pair
