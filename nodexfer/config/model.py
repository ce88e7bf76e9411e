"""The settings as one value: plain attributes, and where each came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from nodexfer.config.keys import KEYS
from nodexfer.errors import CollectionUnknown, ConfigMissing
from nodexfer.paths import HomePaths, NodePaths


class CollectionConfig(NamedTuple):
    """``[collections.NAME]``: a collection that ``NAME:/path`` stands for."""

    id: str
    #: The path on the collection that ``NAME:/`` is.
    root_path: str
    #: Where this node sees the same files, or None.
    local_path: str | None


class Config:
    """All that the user can set. Made by :func:`nodexfer.config.load`; never changed afterwards.

    Times are seconds. ``home`` and ``roots`` are absolute with every link resolved; ``node_dir`` likewise but for its
    last component, which must not be a link (:func:`nodexfer.paths.check_private` sees to that).
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        sources: Mapping[str, str],
        collections: Mapping[str, CollectionConfig],
        file: str | None,
        compute: Mapping[str, object] | None = None,
    ) -> None:
        self.home: str = values["home"]
        self.node_dir: str = values["node_dir"]
        self.roots: tuple[str, ...] = values["roots"]
        self.pool: str = values["pool"]
        self.linger: float = values["linger"]
        self.lease: float = values["lease"]
        self.silence: float = values["silence"]
        self.gcp: str | None = values["gcp"]
        self.gcp_prefix: tuple[str, ...] = values["gcp_prefix"]
        self.gcp_address: str = values["gcp_address"]
        self.gcp_environment: tuple[str, ...] = values["gcp_environment"]
        self.service_timeout: float = values["service_timeout"]
        self.via_after: float = values["via_after"]
        self.collections = dict(collections)
        #: ``[compute]``, not looked at: :mod:`nodexfer.integrations.compute_settings` does.
        self.compute = compute or {}
        #: The file that was read, or None where there is none.
        self.file = file
        self._sources = dict(sources)

    @property
    def node_paths(self) -> NodePaths:
        return NodePaths(self.node_dir)

    @property
    def home_paths(self) -> HomePaths:
        return HomePaths(self.home)

    def source(self, key: str) -> str:
        """Where the value of ``key`` comes from: "argument", "environment variable ...", the file, or "default"."""
        return self._sources[key]

    def environment(self) -> dict[str, str]:
        """The variables that give another process of ours what was set by argument here; empty where nothing was."""
        return {
            f"NODEXFER_{key.upper()}": KEYS[key].write(getattr(self, key))
            for key, source in self._sources.items()
            if source == "argument"
        }

    def collection(self, name: str) -> CollectionConfig:
        """The collection that ``name:/path`` means.

        :raises ConfigMissing: there is no configuration file that could name it.
        :raises CollectionUnknown: the file does not name it.
        """
        if name in self.collections:
            return self.collections[name]
        if self.file is None:
            wanted = self.home_paths.config
            raise ConfigMissing(
                f"There is no such file as {wanted} to say which collection {name}:/ is, by the lines "
                f'[collections.{name}] and id = "<its UUID>".',
                f"mkdir -p {self.home} && ${{EDITOR:-vi}} {wanted}",
            )
        known = ", ".join(sorted(self.collections)) or "none"
        raise CollectionUnknown(
            f"{self.file} names no collection {name!r}; it names: {known}.", f"${{EDITOR:-vi}} {self.file}"
        )
