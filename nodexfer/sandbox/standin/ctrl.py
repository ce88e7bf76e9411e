"""gc-ctrl.py: holds the one-per-user address, runs gc.py in the foreground, answers ``-status`` and ``-stop``."""

from __future__ import annotations

import os
import selectors
import socket
import sys
import time

from nodexfer.sandbox.standin import children, control, settings
from nodexfer.sandbox.standin.children import Child

#: What gc.py said last, for the words at its unexpected end.
_TAIL = 64 * 1024
#: How long gc.py may take to end after its lifeline was cut, in seconds; the real one waits about as long.
_END_SECONDS = 5.0


def main(here: str, argv: list[str]) -> int:
    """-start|-debug RESTRICT SHARED CONFIGDIR WORD, or another verb, CONFIGDIR and WORD."""
    known = settings.read(here)
    verb, word = argv[0], argv[-1]
    name = control.address(known.address, word)
    if verb not in ("-start", "-debug"):
        return control.command(verb, name)
    if settings.refuses_root(known):
        return 1
    listener = control.bind(name)
    if listener is None:
        print(control.OTHER_RUNNING, file=sys.stderr)
        return 1
    listener.listen(64)
    restrict, shared, config_dir = argv[1:4]
    os.environ["GCP_INSTANCE"] = os.urandom(8).hex()
    try:
        return _Daemon(f"{here}/gc.py", [config_dir, restrict, shared], listener, debug=verb == "-debug").run(word)
    except KeyboardInterrupt:
        return 1


class _Daemon:
    def __init__(self, program: str, arguments: list[str], listener: socket.socket, *, debug: bool) -> None:
        self._program = program
        self._arguments = arguments
        self._listener = listener
        self._debug = debug
        self._selector = selectors.DefaultSelector()
        self._clients: dict[int, socket.socket] = {}
        self._asking: list[socket.socket] = []
        self._tracing: list[socket.socket] = []
        self._next: str | None = None
        self._stopping = False
        self._line = b""
        self._errors = b""
        self._gridftp = b"0"

    def run(self, mode: str) -> int:
        """Until stopped (0), or until gc.py ends by itself (its own code)."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        while True:
            code = self._one(children.start(self._program, [*self._arguments, mode], err=True))
            if self._stopping:
                return 0
            if self._next is None:
                return code
            mode, self._next = self._next, None

    def _one(self, child: Child) -> int:
        """One life of gc.py."""
        self._line = self._errors = b""
        self._selector.register(child.out, selectors.EVENT_READ)
        self._selector.register(child.err, selectors.EVENT_READ)
        lifeline: int | None = child.lifeline
        end: float | None = None
        while self._turn(child, end):
            if lifeline is not None and (self._stopping or self._next):
                os.close(lifeline)
                lifeline, end = None, time.monotonic() + _END_SECONDS
        if self._stopping and end is not None and time.monotonic() >= end:
            return 0  # a frozen gc.py ends as soon as it wakes
        self._read_errors(child)
        _, status = os.waitpid(child.pid, 0)
        self._selector.unregister(child.out)
        if child.err in self._selector.get_map():
            self._selector.unregister(child.err)
        children.cut(child._replace(lifeline=-1 if lifeline is None else lifeline))
        code = os.waitstatus_to_exitcode(status)
        if lifeline is not None:
            text = self._errors.decode(errors="replace").strip()
            print(f"{text}\nSubprocess pid {child.pid} exited, rc={code}", file=sys.stderr)
        return code if code >= 0 else 1

    def _turn(self, child: Child, end: float | None) -> bool:
        """Handle what has happened; False when gc.py has closed its output, which it does by ending, or at ``end``."""
        ready = self._selector.select(None if end is None else max(0.0, end - time.monotonic()))
        if not ready and end is not None:
            return False
        for key, _ in ready:
            if key.fd == self._listener.fileno():
                client, _ = self._listener.accept()
                self._clients[client.fileno()] = client
                self._selector.register(client, selectors.EVENT_READ)
            elif key.fd == child.out:
                data = os.read(child.out, 65536)
                if not data:
                    return False
                self._heard(data)
            elif key.fd == child.err:
                if not self._read_errors(child):
                    self._selector.unregister(child.err)
            elif self._clients.get(key.fd) is key.fileobj:  # else it was answered in this turn, and is forgotten
                self._command(key.fd)
        return True

    def _read_errors(self, child: Child) -> bool:
        os.set_blocking(child.err, False)
        try:
            data = os.read(child.err, 65536)
        except BlockingIOError:
            return True
        self._errors = (self._errors + data)[-_TAIL:]
        self._echo(data)
        return bool(data)

    def _command(self, descriptor: int) -> None:
        client = self._clients[descriptor]
        try:
            word = client.recv(64).strip()
        except OSError:
            word = b""
        if word == b"status":
            self._asking.append(client)
        elif word == b"trace":
            self._tracing.append(client)
        elif word == b"stop":
            self._stopping = True
        elif word in (b"pause", b"unpause"):
            self._next = "pause" if word == b"pause" else "forward"
        if word not in (b"status", b"trace"):
            self._forget(client)

    def _heard(self, data: bytes) -> None:
        self._echo(data)
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if line.startswith(b"#gridftp "):
                self._gridftp = line[9:]
            elif line.startswith(b"#relaytool "):
                asking, self._asking = self._asking, []
                for client in asking:
                    self._tell(client, line[11:] + b" " + self._gridftp + b"\n")
                    self._forget(client)

    def _echo(self, data: bytes) -> None:
        if self._debug and data:
            try:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            except OSError:
                self._debug = False  # nobody reads it any more; that is no reason to end
        for client in list(self._tracing):
            self._tell(client, data)

    def _tell(self, client: socket.socket, data: bytes) -> None:
        try:
            client.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            self._forget(client)

    def _forget(self, client: socket.socket) -> None:
        if self._clients.pop(client.fileno(), None) is None:
            return
        self._selector.unregister(client)
        for waiting in (self._asking, self._tracing):
            if client in waiting:
                waiting.remove(client)
        client.close()
