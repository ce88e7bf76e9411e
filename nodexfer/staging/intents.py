"""From what a user names, in Python or on the command line, to a plan."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from nodexfer.config import Config
from nodexfer.errors import UrlMalformed
from nodexfer.staging import plan
from nodexfer.staging.location import Local, Remote, is_remote, parse_local, parse_remote

PathLike: TypeAlias = "str | os.PathLike[str]"
Sources: TypeAlias = "PathLike | Sequence[PathLike] | Mapping[str, PathLike]"


def fetches(sources: Sources, dest: PathLike | None, config: Config, *, base: str) -> list[plan.Fetch]:
    """What to bring. A mapping is exact; without ``dest`` all goes into ``base``.

    :raises UrlMalformed, ConfigMissing, CollectionUnknown, DestinationExists: see :mod:`nodexfer.staging.plan`.
    """
    if isinstance(sources, Mapping):
        _refuse_dest(dest)
        return exact_fetches([(source, os.fspath(where)) for source, where in sources.items()], config, base=base)
    where = _destination(os.fspath(dest) if dest is not None else f"{base}/", config, base)
    return plan.fetches([_source(text, config) for text in listed(sources)], where)


def exact_fetches(pairs: Sequence[tuple[str, str]], config: Config, *, base: str) -> list[plan.Fetch]:
    """Each source to the destination beside it."""
    return plan.exact_fetches(
        [plan.Pairing(_source(source, config), _destination(where, config, base)) for source, where in pairs]
    )


def sends(sources: Sources, dest: str | None, config: Config, *, base: str) -> list[plan.Send]:
    """What to send. A mapping is exact.

    :raises UrlMalformed, ConfigMissing, CollectionUnknown: see :mod:`nodexfer.staging.plan`.
    """
    if isinstance(sources, Mapping):
        _refuse_dest(dest)
        return exact_sends([(source, os.fspath(where)) for source, where in sources.items()], config, base=base)
    if dest is None:
        raise UrlMalformed("A destination is wanted: name:/path or globus://<uuid>/path.", "nodexfer stage-out --help")
    where = parse_remote(dest, config, "destination")
    return plan.sends([_output(text, config, base) for text in listed(sources)], where)


def exact_sends(pairs: Sequence[tuple[str, str]], config: Config, *, base: str) -> list[plan.Send]:
    """Each output to the destination beside it."""
    found = []
    for source, where in pairs:
        remote = parse_remote(where, config, "destination")
        found += plan.sends([_output(source, config, base)], remote, exact=True)
    return found


def listed(sources: PathLike | Sequence[PathLike]) -> list[str]:
    """One or several, as text."""
    if isinstance(sources, (str, os.PathLike)):
        return [os.fspath(sources)]
    return [os.fspath(source) for source in sources]


def absolute(sources: Sources, *, values: bool) -> Sources:
    """Paths on this node, made absolute by the working directory: those of a mapping's ``values``, or sources."""
    if isinstance(sources, Mapping):
        if values:
            return {source: absolute_path(where) for source, where in sources.items()}
        return {absolute_path(source): where for source, where in sources.items()}
    return sources if values else [absolute_path(text) for text in listed(sources)]


def absolute_path(path: PathLike) -> str:
    """A path on this node by the working directory, its last slash kept; a collection's path is left as it is."""
    text = os.fspath(path)
    return text if not text or is_remote(text) else os.path.join(os.getcwd(), text)


def _source(text: str, config: Config) -> Remote:
    return parse_remote(text, config, "source")


def _destination(text: str, config: Config, base: str) -> Local:
    return parse_local(text, config, base, "destination")


def _output(text: str, config: Config, base: str) -> Local:
    return parse_local(text, config, base, "source")


def _refuse_dest(dest: PathLike | None) -> None:
    if dest is not None:
        raise UrlMalformed("Sources with destinations of their own leave no room for another destination.")
