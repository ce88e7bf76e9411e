"""The one-per-user address, from the outside: ``-status``, ``-stop`` and the others that talk to what runs.

Whether something runs they find out as the real one does, by binding the address themselves for a moment: a ``-start``
in that very moment fails. They do not look at ``-dir``, so one may be told of another directory's instance.
"""

from __future__ import annotations

import os
import socket
import sys

NOT_RUNNING = "No Globus Connect Personal connected to Globus Online Service"
OTHER_RUNNING = "Another Globus Connect Personal is currently running"
#: gc.py's word for the relay's state -> what -status prints.
_STATES = {"n/a": "disconnected", "connecting": "connecting", "connected": "connected", "paused": "paused"}


def address(prefix: str, word: str) -> str:
    """An abstract address: it is of the network namespace, and free the moment its owner is dead (unix(7))."""
    return f"\0{prefix}{word}/uid={os.getuid()}"


def bind(name: str) -> socket.socket | None:
    """The address, taken; None if somebody has it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(name)
    except OSError:
        listener.close()
        return None
    return listener


def command(verb: str, name: str) -> int:
    connection = _reach(name)
    if connection is None:
        print(NOT_RUNNING)
        return 1
    with connection:
        connection.sendall(verb.lstrip("-").encode() + b"\n")
        if verb == "-status":
            return _status(connection)
        if verb == "-trace":
            return _trace(connection)
    print("Globus Connect Personal is currently running and connected to Globus Online")
    print(f"Sending {verb.lstrip('-')} signal... Done")
    return 0


def _reach(name: str) -> socket.socket | None:
    if (mine := bind(name)) is not None:
        mine.close()
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(name)
    except OSError:
        connection.close()  # another -status held it for a moment, or it ended just now
        return None
    return connection


def _status(connection: socket.socket) -> int:
    """Waits for gc.py's next report. The real one has no test for an end and can spin for ever; this one ends."""
    with connection.makefile("r", encoding="ascii") as answer:
        fields = answer.readline().split()
    if len(fields) != 2:
        print(NOT_RUNNING)
        return 1
    relay, transfers = fields
    print(f"Globus Online:   {_STATES.get(relay, 'disconnected')}")
    print(f"Transfer Status: {'idle' if transfers == '0' else 'active'}")
    return 0


def _trace(connection: socket.socket) -> int:
    while data := connection.recv(65536):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    return 0
