"""The relay: where stand-ins connect to from outside, and where the Transfer service reaches their files.

A stand-in (GCP's role) opens one control connection and proves with its secret which endpoint it is. For the service's
operations the relay asks it, over that connection, to open data connections, each with a one-time number. Nothing ever
connects inwards, so a stand-in behind another mount or network namespace serves what *it* sees.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable

from nodexfer.clock import Deadline
from nodexfer.sandbox import wire as wires
from nodexfer.sandbox.census import Census, Visit
from nodexfer.sandbox.peer import Hello, Peer
from nodexfer.sandbox.remote import RemoteStorage
from nodexfer.sandbox.wire import Wire

#: How long one may take to say who it is, in seconds.
_HELLO_SECONDS = 10.0
#: A data connection that nobody used for so many seconds is closed.
_IDLE_SECONDS = 10.0


class Relay:
    """A server in threads of the calling process; it listens from the constructor on until :meth:`close`.

    :param authenticate: the endpoint id for a relay secret, or None; called in the relay's threads.
    :param unix: a path for a Unix socket to listen on as well, for stand-ins in another network namespace.
    :raises OSError: the address is taken.
    """

    def __init__(
        self, authenticate: Callable[[str], str | None], host: str = "127.0.0.1", port: int = 0, unix: str | None = None
    ) -> None:
        self._authenticate = authenticate
        self._lock = threading.Lock()
        self._peers: dict[str, Peer] = {}
        self._refused: dict[str, float] = {}
        self._census = Census()
        self._closing = False
        self._accepted = 0
        self._threads: set[threading.Thread] = set()
        self._strangers: set[Wire] = set()
        self._unix = unix
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._listeners = [socket.create_server((host, port), backlog=128)]
        if unix:
            self._listeners.append(_listen_unix(unix))
        for listener in self._listeners:
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ)
        self.address: tuple[str, int] = self._listeners[0].getsockname()[:2]
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._thread.start()

    # what the service asks

    def connected(self, endpoint: str) -> bool:
        """True while the endpoint's stand-in holds its control connection."""
        return self._peer(endpoint) is not None

    def paused(self, endpoint: str) -> bool:
        peer = self._peer(endpoint)
        return peer is not None and peer.hello.paused

    def connected_since(self, endpoint: str) -> float | None:
        """When the present connection began, by ``time.monotonic()``; None if there is none."""
        peer = self._peer(endpoint)
        return None if peer is None else peer.since

    def process(self, endpoint: str) -> str | None:
        """What tells the connected process from any other, for as long as it lives; None if there is none."""
        peer = self._peer(endpoint)
        return None if peer is None else peer.hello.process

    def storage(self, endpoint: str, timeout: float = 60.0) -> RemoteStorage:
        """The endpoint's files, through whichever connection it has when they are asked for."""
        return RemoteStorage(lambda: self._peer(endpoint), timeout)

    def disconnect(self, endpoint: str, seconds: float = 0.0) -> None:
        """Cut the endpoint off, and refuse it for ``seconds``. It tries again by itself, every few seconds."""
        with self._lock:
            self._refused[endpoint] = time.monotonic() + seconds
            peer = self._peers.get(endpoint)
        if peer:
            peer.close()

    # who was here

    def live_count(self, endpoint: str | None = None) -> int:
        """Distinct processes that are connected now, of one endpoint or of all."""
        with self._lock:
            alive = self._census.alive()
        return len({hello.process for hello in alive if endpoint in (None, hello.endpoint)})

    def live_max(self) -> dict[str, int]:
        """By endpoint: the most distinct processes that were ever connected as it at one time."""
        with self._lock:
            return dict(self._census.endpoint_max)

    def user_live_max(self) -> dict[str, int]:
        """By user (uid, host, network namespace): the most distinct processes at one time, whatever endpoint."""
        with self._lock:
            return dict(self._census.user_max)

    def started(self) -> int:
        """How many distinct processes have ever connected."""
        with self._lock:
            return len(self._census.processes)

    def history(self) -> list[Visit]:
        with self._lock:
            return self._census.history()

    def close(self) -> None:
        """Cut everybody off and stop listening; the stand-ins go on trying. Worst case 10 s."""
        deadline = Deadline(10.0)
        self._wake.close()
        self._thread.join(deadline.left)
        with self._lock:
            self._closing = True
            for stranger in self._strangers:
                stranger.cut()
            peers, threads = list(self._peers.values()), list(self._threads)
        for peer in peers:
            peer.close()
        for thread in threads:
            thread.join(deadline.left)

    # inside

    def _peer(self, endpoint: str) -> Peer | None:
        with self._lock:
            peer = self._peers.get(endpoint)
        return peer if peer and peer.alive else None

    def _accept(self) -> None:
        """The relay's own thread: new connections, and those that have been idle for long."""
        try:
            while True:
                for key, _ in self._selector.select(1.0):
                    if key.fileobj is self._woken:
                        return
                    self._welcome(key.fileobj)  # type: ignore[arg-type]  # only sockets were registered
                with self._lock:
                    peers = list(self._peers.values())
                for peer in peers:
                    peer.trim(_IDLE_SECONDS)
        finally:
            self._stop_listening()

    def _stop_listening(self) -> None:
        self._selector.close()
        self._woken.close()
        for listener in self._listeners:
            listener.close()
        if self._unix:
            with contextlib.suppress(OSError):
                os.unlink(self._unix)

    def _welcome(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # it went away again, or we have no descriptor left: the next round tries again
        wire = Wire(connection, _HELLO_SECONDS)
        self._accepted += 1
        arguments = (wire, self._accepted)
        thread = threading.Thread(target=self._serve, args=arguments, name="relay-connection", daemon=True)
        with self._lock:
            self._strangers.add(wire)
            self._threads.add(thread)
        thread.start()

    def _serve(self, wire: Wire, number: int) -> None:
        taken = False
        try:
            _, hello = wire.receive()
            if "session" in hello:
                taken = self._take_session(str(hello["session"]), wire)
            elif (peer := self._take_control(hello, wire, number)) is not None:
                self._watch(peer, wire)
        except (OSError, ValueError, KeyError):
            pass  # whoever it was does not speak as a stand-in does, or has gone away
        finally:
            with self._lock:
                self._strangers.discard(wire)
                self._threads.discard(threading.current_thread())
            if not taken:
                wire.close()

    def _take_session(self, number: str, wire: Wire) -> bool:
        with self._lock:
            peers = list(self._peers.values())
        return any(peer.accept(number, wire) for peer in peers)

    def _take_control(self, fields: dict[str, object], wire: Wire, number: int) -> Peer | None:
        """The newest connection of an endpoint wins; that there were two is remembered."""
        endpoint = self._authenticate(str(fields["secret"]))
        if endpoint is None or endpoint != fields["endpoint"]:
            wire.send(wires.message(wires.ERROR, reason="the endpoint is not known here"))
            return None
        if time.monotonic() < self._refused.get(endpoint, 0.0):
            wire.send(wires.message(wires.ERROR, reason="the endpoint is refused for now"))
            return None
        hello = Hello(
            endpoint, str(fields["process"]), str(fields["user"]), int(str(fields["pid"])), bool(fields["paused"])
        )
        peer = Peer(hello, wire, number)
        wire.send(wires.message(wires.RESULT, welcome=endpoint))
        with self._lock:
            if self._closing:
                return None
            self._strangers.discard(wire)
            self._census.joined(peer)
            old = self._peers.get(endpoint)
            if old and old.number > number:
                old, peer = peer, old  # this thread was slow: the other one has come later
            self._peers[endpoint] = peer
            if old:
                self._census.left(old, "replaced")
        if old:
            old.close()
        return peer if peer.number == number else None

    def _watch(self, peer: Peer, wire: Wire) -> None:
        """Until the control connection ends. The stand-in sends nothing more over it."""
        try:
            wire.listen_for_ever()
            wire.receive()
        except (OSError, ValueError):
            pass
        peer.close()
        with self._lock:
            self._census.left(peer, "ended")
            if self._peers.get(peer.hello.endpoint) is peer:
                del self._peers[peer.hello.endpoint]


def _listen_unix(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with wires.short_name(path) as short:
            listener.bind(short)
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener
