"""One attempt at a delete: paths, globs, whole trees; a symbolic link is removed, never followed."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable

from nodexfer.sandbox.engine.control import FATAL, Control, Problem
from nodexfer.sandbox.engine.journal import Journal
from nodexfer.sandbox.storage import Stat, Storage, StorageError

GLOB = re.compile(r"(?<!\\)[*?\[]")


class DeleteAttempt:
    def __init__(self, storage: Storage, journal: Journal, control: Control) -> None:
        self._storage = storage
        self._journal = journal
        self._task = journal.task
        self._control = control

    def run(self) -> Problem | None:
        """None when everything is gone. A missing path is fatal unless ``ignore_missing``. :raises Stopped:"""
        for number in list(self._task.unexpanded):
            self._control.check()
            try:
                self._item(str(self._task.items[number]["path"]))
                self._task.unexpanded.remove(number)
            except StorageError as error:
                fatal = error.code in FATAL or error.code == "FILE_NOT_FOUND"
                if not fatal:
                    self._journal.error(error.code, error.details)
                return Problem(error.code, error.details, fatal)
        return None

    def _item(self, path: str) -> None:
        ignore = self._task.options.get("ignore_missing")
        globs = self._task.options.get("interpret_globs") and GLOB.search(path)
        for found in self._matching(path) if globs else [path.rstrip("/") or "/"]:
            try:
                entry = self._storage.stat(found)
            except StorageError as error:
                if error.code == "FILE_NOT_FOUND" and ignore:
                    continue
                raise
            if entry.type == "dir" and entry.link_target is None and not self._task.options.get("recursive"):
                raise StorageError("IS_A_DIRECTORY", f"{found} is a directory, and the delete is not recursive.")
            empty(self._storage, found, entry, self._control, self._journal.deleted)

    def _matching(self, path: str) -> list[str]:
        """A glob in the last part of the path; names with a leading dot only where the pattern has it."""
        parent, _, pattern = path.rstrip("/").rpartition("/")
        names = [entry.name for entry in self._storage.ls(parent or "/")]
        return [
            f"{parent}/{name}"
            for name in sorted(names)
            if fnmatch.fnmatchcase(name, pattern) and (not name.startswith(".") or pattern.startswith("."))
        ]


def empty(storage: Storage, path: str, entry: Stat, control: Control, on_removed: Callable[[bool], None]) -> None:
    """Remove ``path`` and everything below it, the deepest first. ``on_removed`` is told: True for a directory."""
    control.check()
    is_directory = entry.type == "dir" and entry.link_target is None
    if is_directory:
        for child in storage.ls(path):
            empty(storage, f"{path.rstrip('/')}/{child.name}", child, control, on_removed)
    try:
        storage.remove(path)
    except StorageError as error:
        if error.code != "FILE_NOT_FOUND":  # gone already: somebody else, or an earlier attempt
            raise
    on_removed(is_directory)
