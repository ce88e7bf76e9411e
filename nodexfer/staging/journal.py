"""What a salvage holds, known at every moment: a line for each whole copy, and never one for a half.

``journal`` is appended to, one JSON object a line. A line is written after its copy has been flushed, read again
and found equal; the copy is called ``part/<order>`` until then, and gets its name below ``data/`` afterwards. Dying in
between leaves a whole copy under its first name, which :func:`settle` moves; a line that was not written whole is none.

JSON of the standard library: it alone carries sources whose names are not UTF-8 (as lone surrogates).
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from typing import NamedTuple

#: Files between two flushes of the journal, when nothing else makes one: what a node's death may cost.
_GROUP = 64


class Copy(NamedTuple):
    """A whole copy. ``path`` is relative to its output, '' for one that is a file; ``size`` in bytes."""

    order: int
    number: int
    path: str
    source: str
    size: int
    checksum: str

    def place(self, directory: str) -> str:
        """Where it lies below the salvage ``directory`` when it is settled."""
        top = f"{directory}/data/{self.number}"
        return os.path.join(top, self.path) if self.path else top

    def part(self, directory: str) -> str:
        """Where it lay until it was proven."""
        return f"{directory}/part/{self.order}"


class Journal:
    """Written by one process. Threads may share it."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._descriptor = os.open(f"{directory}/journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._end = os.fstat(self._descriptor).st_size
        self._lock = threading.Lock()
        self._closed = False
        #: A flush failed: what the file system had taken by then may not be there.
        self._doubtful = False
        self.copies: list[Copy] = []

    def add(self, copy: Copy) -> bool:
        """Say that ``copy`` is whole, and give it its name; False when the journal is closed: it does not count.

        :raises OSError: it could not be said, and does not count.
        """
        line = _line(copy)
        with self._lock:
            if self._closed:
                return False
            try:
                _write_all(self._descriptor, line)
            except OSError:
                os.ftruncate(self._descriptor, self._end)
                raise
            self._end += len(line)
            self.copies.append(copy)
            count = len(self.copies)
        try:
            os.rename(copy.part(self._directory), copy.place(self._directory))
        except OSError:  # it counts all the same: settle() finds it
            pass
        if count % _GROUP == 0:
            self._flush()
        return True

    def _flush(self) -> None:
        """An error is told once (fsync(2)), and the next flush may say that all is well: so it is remembered."""
        try:
            os.fsync(self._descriptor)
        except OSError:
            self._doubtful = True

    def close(self) -> None:
        """What comes later does not count. :raises OSError: its lines may not survive this node."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._flush()
        os.close(self._descriptor)
        if self._doubtful:
            self._write_anew()

    def _write_anew(self) -> None:
        """Whole, beside its place, and renamed."""
        path = f"{self._directory}/journal"
        descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, b"".join(_line(copy) for copy in self.copies))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(f"{path}.new", path)


def _line(copy: Copy) -> bytes:
    return json.dumps(copy._asdict()).encode() + b"\n"


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def read(directory: str) -> list[Copy]:
    """Every copy that was proven, in the order of their proofs; [] where there is no journal."""
    try:
        with open(f"{directory}/journal", "rb") as file:
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines[:-1]:  # what follows the last newline was not written whole
        try:
            found.append(Copy(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def settle(directory: str, copies: Sequence[Copy]) -> None:
    """Give proven copies their names, and remove every other file below ``part`` and ``data``. May be done again."""
    for copy in copies:
        try:
            os.rename(copy.part(directory), copy.place(directory))
        except FileNotFoundError:
            continue
    wanted = {copy.place(directory) for copy in copies}
    for top in (f"{directory}/part", f"{directory}/data"):
        for where, _, names in os.walk(top):
            for name in names:
                if os.path.join(where, name) not in wanted:
                    os.unlink(os.path.join(where, name))
