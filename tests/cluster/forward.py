"""Lets machines reach ports of this one by their own loopback: ``python -m tests.cluster.forward PORT... -- PID...``

For each process PID a listener is opened in its network namespace (a socket stays in the namespace that it was made
in), at 127.0.0.1:PORT, and what connects there is connected with 127.0.0.1:PORT here. Nothing leaves the machine.
Prints one line when it listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import socket
import sys

_CLONE_NEWNET = 0x40000000
_BLOCK = 256 * 1024


def listeners(pids: list[int], ports: list[int]) -> list[socket.socket]:
    """In order of pids, then ports. :raises OSError: a namespace can not be entered."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    found = []
    for pid in pids:
        other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        for port in ports:
            _enter(libc, other)
            try:
                found.append(socket.create_server(("127.0.0.1", port), backlog=128))
            finally:
                _enter(libc, own)
        os.close(other)
    os.close(own)
    return found


def _enter(libc: ctypes.CDLL, descriptor: int) -> None:
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns(2)")


async def _connect(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
    for end in (writer, there_writer):
        end.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end of one, or its loss: then the other is told the same."""
    try:
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        with contextlib.suppress(Exception):
            writer.transport.abort()


async def serve(sockets: list[socket.socket]) -> None:
    for listener in sockets:
        await asyncio.start_server(functools.partial(_connect, listener.getsockname()[1]), sock=listener)
    print("listening", flush=True)
    await asyncio.Event().wait()


def main(arguments: list[str]) -> None:
    at = arguments.index("--")
    ports, pids = arguments[:at], arguments[at + 1 :]
    asyncio.run(serve(listeners([int(pid) for pid in pids], [int(port) for port in ports])))


if __name__ == "__main__":
    main(sys.argv[1:])
