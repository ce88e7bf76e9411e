"""How much there is of a program's outputs, while it may still be writing them."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple, TypeAlias

from nodexfer.running.walltime import Load
from nodexfer.staging.plan import Send

#: :data:`nodexfer.running.walltime.POLICIES`, as a type.
Policy: TypeAlias = Literal["success", "always", "failure"]


class Out(NamedTuple):
    """One output, and when it is kept."""

    send: Send
    policy: Policy

    @property
    def exists(self) -> bool:
        return os.path.lexists(self.send.source)


def measure(path: str) -> Load:
    """What is at ``path`` now; what comes and goes meanwhile, or can not be read, counts nothing."""
    if not os.path.isdir(path) or os.path.islink(path):
        try:
            return Load(os.stat(path).st_size, 1)
        except OSError:
            return Load()
    found, files, todo = 0, 0, [path]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    elif (size := _size(entry)) is not None:
                        files += 1
                        found += size
        except OSError:
            continue
    return Load(found, files)


def _size(entry: os.DirEntry[str]) -> int | None:
    try:
        return entry.stat().st_size
    except OSError:  # a link to nothing; or gone
        return None
