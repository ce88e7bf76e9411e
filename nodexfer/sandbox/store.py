"""What survives a restart of the server: one SQLite table of JSON documents.

The objects in memory are the truth while the server lives; every change of standing is written through at once,
progress now and then. A process that dies loses at most the last bit of progress, which is then moved again.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable
from typing import TypeVar

import msgspec

T = TypeVar("T")


class Store:
    """Documents by kind and id. Any thread may call; each call is one transaction."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # WAL with NORMAL does not flush on commit: the file stays whole through any crash, and a commit is quick.
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS documents (kind TEXT, id TEXT, body BLOB, PRIMARY KEY (kind, id)) WITHOUT ROWID"
        )

    def load(self, kind: str, of: type[T]) -> dict[str, T]:
        """Every document of ``kind``, in the order of their ids."""
        decoder = msgspec.json.Decoder(of)

        def decoded(body: bytes) -> T:
            try:
                return decoder.decode(body)
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:  # a lone surrogate, see _encoded
                return msgspec.convert(json.loads(body), of)

        with self._lock:
            rows = self._database.execute(
                "SELECT id, body FROM documents WHERE kind = ? ORDER BY id", (kind,)
            ).fetchall()
        return {name: decoded(body) for name, body in rows}

    def save(self, kind: str, id: str, document: object) -> None:
        self.save_all([(kind, id, document)])

    def save_all(self, documents: Iterable[tuple[str, str, object]]) -> None:
        """(kind, id, document) of each: all of them are kept, or none."""
        rows = [(kind, name, _encoded(document)) for kind, name, document in documents]
        if not rows:
            return
        with self._lock, self._database:
            self._database.execute("BEGIN")
            self._database.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", rows)

    def forget(self, kind: str, id: str | None = None) -> None:
        """Remove one document, or all of ``kind``."""
        where, values = ("kind = ?", (kind,)) if id is None else ("kind = ? AND id = ?", (kind, id))
        with self._lock:
            self._database.execute(f"DELETE FROM documents WHERE {where}", values)  # noqa: S608  (no value is in the text)

    def clear(self) -> None:
        with self._lock:
            self._database.execute("DELETE FROM documents")

    def close(self) -> None:
        with self._lock:
            self._database.close()


def _encoded(document: object) -> bytes:
    """Names of files need not be UTF-8: they are lone surrogates in memory, which msgspec can not write."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(document)).encode("ascii")
