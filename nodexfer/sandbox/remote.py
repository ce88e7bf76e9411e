"""A connected stand-in's files as a collection, over the data connections that it opened."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nodexfer.clock import Deadline
from nodexfer.sandbox import wire as wires
from nodexfer.sandbox.peer import Peer, not_connected
from nodexfer.sandbox.storage import Stat, StorageError
from nodexfer.sandbox.wire import Wire

#: Small blocks are gathered into one call to the kernel.
_GATHER = 256 * 1024
_GATHER_SECONDS = 0.05
#: How long the processes of a stand-in may take to die one after the other, in seconds.
_DYING_SECONDS = 0.5


class RemoteStorage:
    """A :class:`~nodexfer.sandbox.storage.Storage`. Thread-safe; each running call has a data connection of its own.

    Whatever the stand-in does, every call ends: when the other side is gone, at once (GC_NOT_CONNECTED, or
    CONNECTION_RESET if only a data connection broke); when it is silent for ``timeout`` seconds, with TIMEOUT.
    """

    def __init__(self, find: Callable[[], Peer | None], timeout: float = 60.0) -> None:
        """:param find: the peer that is connected now, or None."""
        self._find = find
        self._timeout = timeout

    def stat(self, path: str) -> Stat:
        return _stat(self._ask("stat", path=path)["stat"])

    def ls(self, path: str) -> Sequence[Stat]:
        return [_stat(entry) for entry in self._ask("ls", path=path)["entries"]]

    def mkdir(self, path: str) -> None:
        self._ask("mkdir", path=path)

    def rename(self, old: str, new: str) -> None:
        self._ask("rename", path=old, new=new)

    def remove(self, path: str) -> None:
        self._ask("remove", path=path)

    def checksum(self, path: str, algorithm: str) -> str:
        return str(self._ask("checksum", path=path, algorithm=algorithm)["digest"])

    def read(self, path: str, offset: int) -> Iterator[bytes]:
        with self._session() as session:
            session.send(wires.message(wires.REQUEST, op="read", path=path, offset=offset))
            while True:
                kind, length = session.header()
                if kind == wires.END:
                    return
                if kind != wires.DATA:
                    raise _refusal(kind, session, length)
                yield from session.pieces(length)

    def write(self, path: str, offset: int, blocks: Iterator[bytes], mtime: float | None) -> Iterator[int]:
        blocks = iter(blocks)
        # The source speaks first: if it can not, nothing is touched here.
        head = next(blocks, b"")
        with self._session() as session:
            outbox = _Outbox(session, wires.message(wires.REQUEST, op="write", path=path, offset=offset, mtime=mtime))
            for block in _chain(head, blocks):
                for piece in _slices(block, wires.BLOCK):
                    outbox.put(piece)
                    while session.waiting():
                        yield from _confirmed(session, sent_all=False)
            outbox.flush(wires.frame(wires.END))
            yield from _confirmed(session, sent_all=True)

    def _ask(self, op: str, **fields: Any) -> dict[str, Any]:
        with self._session() as session:
            session.send(wires.message(wires.REQUEST, op=op, **fields))
            while True:
                kind, length = session.header()
                if kind == wires.RESULT:
                    return dict(json.loads(session.body(length)))
                if kind != wires.CONFIRMED:  # a long checksum says that it goes on
                    raise _refusal(kind, session, length)
                session.body(length)

    @contextlib.contextmanager
    def _session(self) -> Iterator[Wire]:
        """A data connection. It is used again only if what went over it was finished."""
        peer = self._find()
        if peer is None:
            raise not_connected()
        session = peer.session(Deadline(self._timeout))
        try:
            session.set_timeout(self._timeout)
            yield session
        except _Refused as refused:
            peer.give_back(session)
            raise StorageError(refused.code, refused.details) from None
        except TimeoutError as error:
            peer.drop(session)
            raise StorageError("TIMEOUT", f"The GCP endpoint did not answer for {self._timeout:g} s") from error
        except OSError as error:
            peer.drop(session)
            if peer.closed_within(_DYING_SECONDS) or self._find() is None:
                raise not_connected() from error
            raise StorageError("CONNECTION_RESET", f"The data connection was lost: {error}") from error
        except BaseException:
            peer.drop(session)
            raise
        else:
            peer.give_back(session)


class _Refused(StorageError):
    """An error that came over the wire as one: the connection is in order."""


def _refusal(kind: bytes, session: Wire, length: int) -> Exception:
    if kind != wires.ERROR:
        return ConnectionAbortedError(f"an unexpected frame {kind!r}")
    fields = json.loads(session.body(length))
    return _Refused(str(fields["code"]), str(fields["details"]))


def _confirmed(session: Wire, *, sent_all: bool) -> Iterator[int]:
    """The offsets that came in. After an error the other side reads on until it sees our END."""
    while True:
        kind, length = session.header()
        if kind == wires.ERROR:
            refusal = _refusal(kind, session, length)
            if not sent_all:
                session.send(wires.frame(wires.END))
            raise refusal
        if kind not in (wires.CONFIRMED, wires.RESULT):
            raise ConnectionAbortedError(f"an unexpected frame {kind!r}")
        yield int(session.body(length))
        if kind == wires.RESULT or not sent_all:
            return


class _Outbox:
    """Gathers small blocks into one call to the kernel, but keeps none back for long: a slow source's count too."""

    def __init__(self, session: Wire, request: bytes) -> None:
        self._session = session
        self._waiting = request
        self._since = time.monotonic()

    def put(self, piece: bytes | memoryview) -> None:
        if len(self._waiting) + len(piece) < _GATHER and time.monotonic() - self._since < _GATHER_SECONDS:
            self._waiting = b"".join((self._waiting, wires.HEADER.pack(wires.DATA, len(piece)), piece))
            return
        self.flush()
        self._session.send_data(piece)

    def flush(self, last: bytes = b"") -> None:
        if self._waiting or last:
            self._session.send(self._waiting + last)
        self._waiting = b""
        self._since = time.monotonic()


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
        del head
    yield from rest


def _slices(block: bytes, size: int) -> Iterator[bytes | memoryview]:
    if len(block) <= size:
        yield block
        return
    view = memoryview(block)
    for start in range(0, len(block), size):
        yield view[start : start + size]


def _stat(fields: Sequence[Any]) -> Stat:
    return Stat(*fields)
