"""What goes where, by the rules of cp, and what two things can not be at once: decided before any byte moves.

A destination that ends in ``/``, or is a directory, or has several sources, is gone into; else it is the thing itself.
An exact plan (``run``, manifests) goes into a directory only where a slash says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nodexfer.errors import DestinationExists, UrlMalformed
from nodexfer.staging import unpack
from nodexfer.staging.location import Local, Remote

_HELP = "nodexfer stage-in --help"


class Fetch(NamedTuple):
    """One source to bring, and the path on this node that it becomes."""

    source: Remote
    destination: str


class Send(NamedTuple):
    """One output to send. ``into``: should ``destination`` prove to be a directory, it goes into that."""

    source: str
    destination: Remote
    into: bool


class Pairing(NamedTuple):
    """An input as ``run`` and manifests name it."""

    source: Remote
    destination: Local


def fetches(
    sources: Sequence[Remote], destination: Local, is_directory: Callable[[str], bool] = os.path.isdir
) -> list[Fetch]:
    """Sources to one destination, as ``cp -r SRC... DEST`` would have it.

    :raises UrlMalformed: a source has no name to take along; nothing is named.
    :raises DestinationExists: two sources would become one file.
    """
    into = len(sources) != 1 or destination.is_directory or is_directory(destination.path)
    found = [Fetch(source, _named(source, destination.path) if into else destination.path) for source in sources]
    return _distinct(found)


def unpacked(found: Sequence[Fetch]) -> list[Fetch]:
    """The same of archives whose contents are wanted: gone into a directory, one has its name without the suffix.

    :raises SourceUnsupported: a source is not called like an archive.
    :raises DestinationExists: two would become one directory.
    """
    return _distinct([fetch._replace(destination=_without_suffix(fetch)) for fetch in found])


def _without_suffix(fetch: Fetch) -> str:
    stem = unpack.stem(fetch.source.path)
    directory, name = os.path.split(fetch.destination)
    return os.path.join(directory, stem) if name == os.path.basename(fetch.source.path) else fetch.destination


def exact_fetches(pairs: Sequence[Pairing]) -> list[Fetch]:
    """Each source to its own destination. :raises UrlMalformed, DestinationExists: see :func:`fetches`."""
    return _distinct(
        [Fetch(source, _named(source, where.path) if where.is_directory else where.path) for source, where in pairs]
    )


def sends(sources: Sequence[Local], destination: Remote, *, exact: bool = False) -> list[Send]:
    """Outputs to one destination. Whether that is a directory only the service can tell, and the desk will ask.

    :raises UrlMalformed: a source or the destination has no name; nothing is named.
    """
    if not sources:
        raise UrlMalformed("Nothing to send was named.")
    found = []
    for source in sources:
        if not source.name:
            raise UrlMalformed(f"The source {source.text!r} has no name to take along.")
        into = len(sources) > 1 or destination.is_directory
        where = destination.below(source.name) if into else destination
        if not where.name:
            # The collection's root and its home are directories: no need to ask.
            where, into = destination.below(source.name), True
        found.append(Send(source.path, where, into=not into and not exact))
    return found


def distinct_sends(found: Sequence[Send]) -> list[Send]:
    """:raises DestinationExists: two outputs would become one, or one would lie inside another."""
    refuse_overlap([f"{send.destination.collection}{send.destination.path}" for send in found])
    return list(found)


def _named(source: Remote, directory: str) -> str:
    if not source.name:
        raise UrlMalformed(f"The source {source.text!r} has no name to take along; name the destination itself.")
    return os.path.join(directory, source.name)


def _distinct(found: list[Fetch]) -> list[Fetch]:
    if not found:
        raise UrlMalformed("Nothing to bring was named.")
    refuse_overlap([fetch.destination for fetch in found])
    return found


def refuse_overlap(paths: Sequence[str]) -> None:
    """:raises DestinationExists: two of the paths are one, or one lies inside another."""
    previous = ""
    for path in sorted(paths, key=lambda path: path.split("/")):
        if path == previous:
            raise DestinationExists(f"Two of the sources would become {path}.", _HELP)
        if previous and path.startswith(f"{previous.rstrip('/')}/"):
            raise DestinationExists(f"One source would become {previous}, and another {path} inside of it.", _HELP)
        previous = path
