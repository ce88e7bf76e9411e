"""The Globus in memory of a test, for the desks of its children: each call goes over a socket, and may be the last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from nodexfer.errors import NodexferError, from_record
from tests.crash.points import Points
from tests.support.local_globus import LocalGlobus

#: Calls after which the service is another one: their answer can be lost, too.
CHANGING = frozenset({"submission_id", "submit", "mkdir", "rename", "delete", "cancel"})
#: Their answers are read while they come.
_LAZY = frozenset({"moved"})


class RemoteGlobus:
    """In a child. Dies before a call, or with the answer of a call that changed something."""

    service = LocalGlobus.service

    def __init__(self, socket: str, points: Points) -> None:
        self._socket = socket
        self._points = points
        self._local = threading.local()

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._points.hit(f"call {method}")
            answer = self._ask(method, arguments)
            if method in CHANGING:
                self._points.hit(f"answer of {method}")
            if isinstance(answer, dict) and "this is an error" in answer:
                raise from_record(answer["this is an error"])
            return answer

        return call

    def _ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = Client(self._socket, family="AF_UNIX")
        connection.send((method, arguments))
        return connection.recv()


@contextmanager
def linked(globus: LocalGlobus, socket: str) -> Iterator[None]:
    """Serve it to children at ``socket``."""
    listener = Listener(socket, family="AF_UNIX", backlog=16)
    thread = threading.Thread(target=_accept, args=(listener, globus), daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Closing does not wake a thread in accept(2).
        Client(socket, family="AF_UNIX").close()
        thread.join(5.0)
        listener.close()


def _accept(listener: Listener, globus: LocalGlobus) -> None:
    while True:
        connection: Connection = listener.accept()
        try:
            first = connection.recv()
        except EOFError:
            return
        threading.Thread(target=_serve, args=(connection, globus, first), daemon=True).start()


def _serve(connection: Connection, globus: LocalGlobus, order: Any) -> None:
    with connection:
        while True:
            try:
                connection.send(_answer(globus, *order))
                order = connection.recv()
            except (EOFError, ConnectionError):
                return


def _answer(globus: LocalGlobus, method: str, arguments: tuple[Any, ...]) -> Any:
    try:
        answer = getattr(globus, method)(*arguments)
        return list(answer) if method in _LAZY else answer
    except NodexferError as error:
        return {"this is an error": error.as_record()}
