"""The small framed protocol between the sandbox's relay and the stand-in's programs.

A frame is one letter, a length (32 bits, network order), and that many bytes. Requests, results and errors are JSON;
data travel as they are, so that a block costs one header and two system calls on either side. The stand-in's programs
run with a copy of this file: standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

#: No data frame is longer; a storage's block is at most this.
BLOCK = 4 * 1024 * 1024
#: What one call to the kernel takes of a data frame: larger pieces leave the processor's caches.
PIECE = 1024 * 1024
#: Headers and small frames are read ahead in one call.
AHEAD = 64 * 1024
#: A JSON frame above this is not one of ours (a directory of a million names fits).
LIMIT = 512 * 1024 * 1024

HEADER = struct.Struct("!cI")
REQUEST, RESULT, ERROR, DATA, END, CONFIRMED = b"Q", b"R", b"E", b"D", b"Z", b"C"


def frame(kind: bytes, body: bytes = b"") -> bytes:
    return HEADER.pack(kind, len(body)) + body


def message(kind: bytes, **fields: Any) -> bytes:
    """A frame with a JSON object; names that are not UTF-8 survive, as lone surrogates."""
    return frame(kind, json.dumps(fields, separators=(",", ":")).encode("ascii"))


class Wire:
    """One connection. One thread sends and receives; any other may only :meth:`cut` it.

    Every call raises :class:`TimeoutError` when the other side neither sends nor takes a byte for ``timeout`` seconds
    (None: for ever), and :class:`ConnectionError` when it is gone.
    """

    def __init__(self, connection: socket.socket, timeout: float | None) -> None:
        self._socket = connection
        self._ahead = b""
        connection.settimeout(None)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.set_timeout(timeout)

    def set_timeout(self, seconds: float | None) -> None:
        """The kernel keeps the time (SO_RCVTIMEO, socket(7)): no poll before each read, and MSG_WAITALL works."""
        whole = seconds or 0.0
        value = struct.pack("@ll", int(whole), int(whole % 1 * 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def listen_for_ever(self) -> None:
        """No timeout for receiving; that for sending stays."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 0))

    # sending

    def send(self, frames: bytes) -> None:
        try:
            self._socket.sendall(frames)
        except BlockingIOError:
            raise TimeoutError("the other side takes no more bytes") from None

    def send_data(self, block: bytes | memoryview) -> None:
        """One data frame, the block itself not copied; at most :data:`BLOCK` bytes."""
        try:
            self._socket.sendall(HEADER.pack(DATA, len(block)), socket.MSG_MORE)
            self._socket.sendall(block)
        except BlockingIOError:
            raise TimeoutError("the other side takes no more bytes") from None

    def send_file(self, descriptor: int, offset: int, length: int) -> None:
        """One data frame of a file's bytes, which never come through this process.

        :raises ConnectionAbortedError: the file became shorter meanwhile; the frame can not be finished any more.
        """
        try:
            self._socket.sendall(HEADER.pack(DATA, length), socket.MSG_MORE)
            while length:
                sent = os.sendfile(self._socket.fileno(), descriptor, offset, length)
                if not sent:
                    raise ConnectionAbortedError("the file became shorter while it was read")
                offset += sent
                length -= sent
        except BlockingIOError:
            raise TimeoutError("the other side takes no more bytes") from None

    # receiving

    def header(self) -> tuple[bytes, int]:
        """The next frame's kind and length; its body must then be read with :meth:`body` or :meth:`pieces`."""
        while len(self._ahead) < HEADER.size:
            self._ahead += self._receive(AHEAD)
        kind, length = HEADER.unpack_from(self._ahead)
        self._ahead = self._ahead[HEADER.size :]
        if length > LIMIT:
            raise ConnectionAbortedError(f"a frame of {length} bytes is none of ours")
        return kind, length

    def body(self, length: int) -> bytes:
        return b"".join(self.pieces(length))

    def pieces(self, length: int, size: int = PIECE) -> Iterator[bytes]:
        """The body of ``length`` bytes in pieces of at most ``size``, as they come."""
        while length:
            if self._ahead:
                piece, self._ahead = self._ahead[: min(size, length)], self._ahead[min(size, length) :]
            else:
                piece = self._receive(min(size, length), socket.MSG_WAITALL)
            length -= len(piece)
            yield piece

    def receive(self) -> tuple[bytes, dict[str, Any]]:
        """The next frame, which must be a JSON one or END (an empty object)."""
        kind, length = self.header()
        body = self.body(length)
        return kind, json.loads(body) if body else {}

    def waiting(self) -> bool:
        """True if a frame has begun to arrive; never waits."""
        if len(self._ahead) < HEADER.size:
            try:
                self._ahead += self._socket.recv(AHEAD, socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
        return len(self._ahead) >= HEADER.size

    def _receive(self, size: int, flags: int = 0) -> bytes:
        try:
            data = self._socket.recv(size, flags)
        except BlockingIOError:
            raise TimeoutError("the other side sends nothing") from None
        if not data:
            raise ConnectionResetError("the other side has closed the connection")
        return data

    # the end

    def gone(self) -> bool:
        """True if the other side has closed, as far as this kernel knows; never waits. Any thread may ask."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def cut(self) -> None:
        """End the connection under whoever uses it, who sees it closed; any thread may do it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        self._socket.close()


def connect(host: str, port: int, unix: str | None, seconds: float) -> socket.socket:
    """A connection to the relay, by ``unix`` (a socket's path) where one is given: it crosses network namespaces.

    :raises OSError: nobody answers within ``seconds``.
    """
    if not unix:
        return socket.create_connection((host, port), timeout=seconds)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        with short_name(unix) as short:
            connection.connect(short)
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def short_name(path: str) -> Iterator[str]:
    """A name of at most 108 bytes for a Unix socket's path (unix(7)), good while the context lasts."""
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)
