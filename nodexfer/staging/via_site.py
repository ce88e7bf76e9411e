"""The site's own collection: one of the configuration whose files this machine sees too, under its ``local_path``."""

from __future__ import annotations

import os
import shlex
from typing import NamedTuple

from nodexfer.config import Config
from nodexfer.errors import CollectionUnknown


class Site(NamedTuple):
    """``local_path`` is where this machine sees what ``root_path`` is on the collection ``id``."""

    name: str
    id: str
    root_path: str
    local_path: str

    def remote(self, path: str) -> str:
        """The collection's name for the settled local ``path``."""
        below = os.path.relpath(path, self.local_path)
        return "/".join([self.root_path.rstrip("/"), "" if below == "." else below])


def covering(config: Config, path: str) -> Site | None:
    """The collection that shows ``path``, or None; of several, the one with the longest ``local_path``."""
    real = os.path.realpath(path)
    found = [site for site in sites(config) if real == site.local_path or real.startswith(_slash(site.local_path))]
    return max(found, key=lambda site: len(site.local_path), default=None)


def sites(config: Config) -> list[Site]:
    """All collections with a ``local_path`` that is there."""
    return [
        Site(name, found.id, found.root_path, os.path.realpath(found.local_path))
        for name, found in config.collections.items()
        if found.local_path is not None and os.path.isdir(found.local_path)
    ]


def must_cover(config: Config, path: str) -> Site:
    """:raises CollectionUnknown: no collection of the configuration shows ``path``."""
    found = covering(config, path)
    if found is not None:
        return found
    known = ", ".join(f"{site.name} ({site.local_path})" for site in sites(config)) or "none"
    raise CollectionUnknown(
        f"No collection of the configuration shows {path}; those with a local_path: {known}. Add local_path to the "
        "collection of this file system: the directory here that NAME:/ is there.",
        f"${{EDITOR:-vi}} {shlex.quote(config.file or config.home_paths.config)}",
    )


def _slash(path: str) -> str:
    return path.rstrip("/") + "/"
