"""A site's collection: a directory of this machine, shown from its root."""

from __future__ import annotations

import os
import posixpath

from nodexfer.sandbox.local import LocalStorage
from nodexfer.sandbox.reach import checked
from nodexfer.sandbox.storage import StorageError


class SiteStorage(LocalStorage):
    """Serves ``root`` as "/" (and as "/~/"). Neither ".." nor a link leads out of it: PERMISSION_DENIED."""

    def __init__(self, root: str) -> None:
        super().__init__(_Root(os.path.realpath(root)))


class _Root:
    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    def locate(self, path: str, write: bool) -> str:  # noqa: ARG002  (the rules are the same for both)
        if not checked(path).startswith(("/", "~")):
            raise StorageError("INVALID_PATH_NAME", f"500 Command failed. : Not an absolute path: {path!r}")
        inside = path.lstrip("/")
        if inside == "~" or inside.startswith("~/"):
            inside = inside[1:]
        inside = posixpath.normpath("/" + inside.lstrip("/"))
        return (self._root + inside).rstrip("/") or "/"

    def check(self, real: str, write: bool) -> None:  # noqa: ARG002
        if real.rstrip("/") != self._root and not real.startswith(self._root + "/"):
            raise StorageError("PERMISSION_DENIED", "500 Command failed. : Path not allowed.")
