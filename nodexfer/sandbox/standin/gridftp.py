"""globus-gridftp-server: serves this process's own view of the files over one data connection, by the path rules."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from nodexfer.sandbox import wire as wires
from nodexfer.sandbox.local import LocalStorage
from nodexfer.sandbox.pathrules import PathRules, RuleGate, home_directory
from nodexfer.sandbox.reach import named
from nodexfer.sandbox.standin import children, settings
from nodexfer.sandbox.storage import StorageError
from nodexfer.sandbox.wire import Wire

#: A request that stops in its middle for so many seconds is over.
_SILENCE_SECONDS = 300.0
#: What was written is confirmed after so many bytes, or so many seconds.
_CONFIRM_BYTES = 1024 * 1024
_CONFIRM_SECONDS = 0.05


def main(here: str, argv: list[str]) -> int:
    """-i CONFIGDIR -restrict-paths LIST ...; the number of the data connection comes as a line on standard input."""
    session = os.read(0, 4096).decode("ascii").strip()
    children.die_with_parent()
    known = settings.read(here)
    home = home_directory(dict(os.environ))
    storage = LocalStorage(RuleGate(PathRules.parse(argv[argv.index("-restrict-paths") + 1], home), home))
    try:
        connection = wires.connect(known.relay_host, known.relay_port, known.relay_unix, _SILENCE_SECONDS)
        with connection:
            wire = Wire(connection, _SILENCE_SECONDS)
            wire.send(wires.message(wires.REQUEST, session=session))
            _Server(wire, storage).run()
    except ConnectionError:
        pass  # the relay has closed: that is how a data connection ends
    except OSError as error:
        print(f"globus-gridftp-server: {error}", file=sys.stderr)
        return 1
    return 0


class _Server:
    def __init__(self, wire: Wire, storage: LocalStorage) -> None:
        self._wire = wire
        self._storage = storage

    def run(self) -> None:
        """One request after the other, until the relay closes the connection (ConnectionError)."""
        while True:
            try:
                _, length = self._wire.header()
            except TimeoutError:
                continue  # idle
            request = json.loads(self._wire.body(length))
            operation = getattr(self, f"_{request.pop('op')}")
            try:
                operation(**request)
            except StorageError as error:
                self._wire.send(wires.message(wires.ERROR, code=error.code, details=error.details))

    def _answer(self, **fields: Any) -> None:
        self._wire.send(wires.message(wires.RESULT, **fields))

    def _stat(self, path: str) -> None:
        self._answer(stat=self._storage.stat(path))

    def _ls(self, path: str) -> None:
        self._answer(entries=self._storage.ls(path))

    def _mkdir(self, path: str) -> None:
        self._storage.mkdir(path)
        self._answer()

    def _rename(self, path: str, new: str) -> None:
        self._storage.rename(path, new)
        self._answer()

    def _remove(self, path: str) -> None:
        self._storage.remove(path)
        self._answer()

    def _checksum(self, path: str, algorithm: str) -> None:
        alive = wires.frame(wires.CONFIRMED)
        self._answer(digest=self._storage.checksum(path, algorithm, lambda: self._wire.send(alive)))

    def _read(self, path: str, offset: int) -> None:
        descriptor = self._storage.open_source(path)
        try:
            if (size := os.fstat(descriptor).st_size - offset) <= wires.AHEAD:
                data = os.pread(descriptor, max(0, size), offset)
                self._wire.send((wires.frame(wires.DATA, data) if data else b"") + wires.frame(wires.END))
                return
            while size > 0:
                block = min(size, wires.BLOCK)
                self._wire.send_file(descriptor, offset, block)
                offset += block
                size -= block
            self._wire.send(wires.frame(wires.END))
        except ConnectionError:
            raise
        except OSError as error:
            raise named(error, path) from error
        finally:
            os.close(descriptor)

    def _write(self, path: str, offset: int, mtime: float | None) -> None:
        blocks = self._blocks()
        confirmed = told = offset
        told_at = time.monotonic()
        try:
            for confirmed in self._storage.write(path, offset, blocks, mtime):
                now = time.monotonic()
                if confirmed - told >= _CONFIRM_BYTES or (confirmed > told and now - told_at >= _CONFIRM_SECONDS):
                    self._wire.send(wires.frame(wires.CONFIRMED, str(confirmed).encode()))
                    told, told_at = confirmed, now
        except StorageError as error:
            self._wire.send(wires.message(wires.ERROR, code=error.code, details=error.details))
            for _ in blocks:
                pass  # what was under way when the other side had not heard of the error yet
            return
        self._wire.send(wires.frame(wires.RESULT, str(confirmed).encode()))

    def _blocks(self) -> Iterator[bytes]:
        while True:
            kind, length = self._wire.header()
            if kind == wires.END:
                return
            if kind != wires.DATA:
                raise ConnectionAbortedError(f"an unexpected frame {kind!r}")
            yield from self._wire.pieces(length)
