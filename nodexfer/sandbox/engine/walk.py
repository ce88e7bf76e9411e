"""From the items of a transfer to its files: walking, filter rules, symbolic links. It only reads."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from nodexfer.sandbox.engine.control import SKIPPABLE
from nodexfer.sandbox.model import FileJob
from nodexfer.sandbox.storage import Stat, Storage, StorageError

#: Told of an error below a directory that may be skipped: source path, destination path, the error.
OnSkip = Callable[[str, str, StorageError], None]


class Found(NamedTuple):
    """What one item stands for. ``directories`` are destination paths, parents first."""

    files: list[FileJob]
    directories: list[str]


def expand(source: Storage, item: dict[str, Any], options: dict[str, Any], on_skip: OnSkip | None) -> Found:
    """Look at the source of one item.

    :param on_skip: given when errors at the source are to be skipped; an item whose own source is skipped is empty.
    :raises StorageError: what is wrong with the source, or with the item (IS_A_DIRECTORY, NOT_A_DIRECTORY).
    """
    path, destination = str(item["source_path"]), str(item["destination_path"])
    recursive = item.get("recursive")
    try:
        found = source.stat(path)
        if found.type == "invalid_symlink":
            raise StorageError("FILE_NOT_FOUND", f"{path} is a symbolic link to nothing.")
    except StorageError as error:
        if on_skip is None or error.code not in SKIPPABLE:
            raise
        on_skip(path, destination, error)
        return Found([], [])
    if found.type == "file":
        if recursive:
            raise StorageError("NOT_A_DIRECTORY", f"{path} is a file, and the item is recursive.")
        return Found([_job(item, path, destination, found)], [])
    if recursive is False:
        raise StorageError("IS_A_DIRECTORY", f"{path} is a directory, and the item is not recursive.")
    files: list[FileJob] = []
    directories: list[str] = []
    for below, target, entry in _walk(source, path.rstrip("/"), destination.rstrip("/"), options, on_skip):
        if entry is None:
            directories.append(target)
        else:
            files.append(_job(item, below, target, entry))
    return Found(files, directories)


def _walk(
    source: Storage, top: str, destination: str, options: dict[str, Any], on_skip: OnSkip | None
) -> Iterator[tuple[str, str, Stat | None]]:
    """(source path, destination path, the file's stat or None for a directory), a directory before what is in it."""
    rules = options.get("filter_rules") or []
    copy_links = options.get("recursive_symlinks", "ignore") == "copy"
    todo = [(top, destination)]
    while todo:
        path, target = todo.pop()
        yield path, target, None
        try:
            entries = source.ls(path or "/")
        except StorageError as error:
            if on_skip is None or error.code not in SKIPPABLE:
                raise
            on_skip(path, target, error)
            continue
        for entry in entries:
            if (entry.link_target is not None and not copy_links) or entry.type == "invalid_symlink":
                continue
            if not included(rules, entry.name, entry.type):
                continue
            names = f"{path}/{entry.name}", f"{target}/{entry.name}"
            if entry.type == "dir":
                todo.append(names)
            else:
                yield (*names, entry)


def included(rules: list[dict[str, Any]], name: str, type: str) -> bool:
    """The first rule that matches decides; without one, it is included (Transfer API, filter_rule)."""
    for rule in rules:
        if rule.get("type") not in (None, type):
            continue
        if fnmatch.fnmatchcase(name, str(rule.get("name", ""))):
            return bool(rule.get("method", "exclude") == "include")
    return True


def _job(item: dict[str, Any], source: str, destination: str, found: Stat) -> FileJob:
    algorithm = str(item.get("checksum_algorithm") or "MD5").upper().replace("-", "")
    return FileJob(
        0,
        source,
        destination,
        found.size,
        found.modified,
        algorithm=algorithm,
        external_checksum=item.get("external_checksum"),
    )
