"""A relay, the registration that ``-setup`` needs, and installed stand-ins: the sandbox without its service."""

from __future__ import annotations

import http.server
import json
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from nodexfer import procs
from nodexfer.identity import ProcessId
from nodexfer.procs import Completed, Process
from nodexfer.sandbox import standin
from nodexfer.sandbox.relay import Relay
from nodexfer.sandbox.remote import RemoteStorage
from tests.support.waiting import eventually

OWNER = "6fd1a8a0-3a53-4a5c-9d4a-7e0ef7a7d9c1"


class SetUp(NamedTuple):
    """An endpoint with its config directory."""

    endpoint: str
    config_dir: str


class Lab:
    """Made by :func:`lab`. Its stand-ins have an address of their own, so that labs run side by side."""

    def __init__(
        self, directory: Path, relay: Relay, url: str, keys: dict[str, dict[str, Any]], **options: Any
    ) -> None:
        self.directory = directory
        self.relay = relay
        self._keys = keys
        self._url = url
        self.id = uuid.uuid4().hex
        self._running: list[Process] = []
        self.program = self.install(**options)

    def install(self, **options: Any) -> str:
        host, port = self.relay.address
        known = {"relay_host": host, "relay_port": port, "sandbox_id": self.id, "allow_root": True}
        quick = {"report_seconds": 0.05, "reconnect_seconds": 0.05}
        return standin.install(str(self.directory / "gcp"), url=self._url, **{**known, **quick, **options})

    def new_key(self) -> str:
        """As ``POST /v0.10/endpoint`` does: an endpoint, and the key that sets it up once."""
        key = str(uuid.uuid4())
        host, port = self.relay.address
        answer = {"endpoint_id": str(uuid.uuid4()), "owner": OWNER, "owner_name": "somebody@clients.auth.globus.org"}
        self._keys[key] = {**answer, "relay_host": host, "relay_port": port, "relay_secret": f"secret of {key}"}
        return key

    def run(self, *words: str, **environ: str) -> Completed:
        return procs.run([self.program, *words], timeout=30.0, environ=self._environ(**environ))

    def set_up(self, name: str = "config") -> SetUp:
        config_dir = str(self.directory / name)
        done = self.run("-setup", "--setup-key", self.new_key(), "-dir", config_dir)
        assert done.code == 0, done
        return SetUp(Path(config_dir, "lta/client-id.txt").read_text(), config_dir)

    def spawn(self, *words: str, **options: Any) -> Process:
        return self.spawn_argv([self.program, *words], **options)

    def spawn_argv(self, argv: list[str], **options: Any) -> Process:
        process = procs.spawn(argv, environ=self._environ(), **options)
        self._running.append(process)
        return process

    def start(self, done: SetUp, *words: str) -> Process:
        """Until the relay sees it."""
        process = self.spawn("-start", "-dir", done.config_dir, *words)
        eventually(lambda: self.relay.connected(done.endpoint))
        return process

    def serve(self, shared: Path, name: str = "config") -> RemoteStorage:
        """The files of a stand-in that may see ``shared`` and nothing else."""
        shared.mkdir(exist_ok=True)
        done = self.set_up(name)
        self.start(done, "-restrict-paths", f"rw{shared}", "-shared-paths", "")
        return self.relay.storage(done.endpoint, timeout=30.0)

    def process(self, *words: str) -> ProcessId:
        """The one process of this lab with all of these words among its arguments."""
        (found,) = self.processes(*words)
        return found

    def processes(self, *words: str) -> list[ProcessId]:
        mine = f"{self.directory}/"
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                arguments = Path("/proc", name, "cmdline").read_text().split("\0")
                if any(mine in argument for argument in arguments) and all(_in(word, arguments) for word in words):
                    found.append(ProcessId.of(int(name)))
            except (OSError, ValueError):
                continue  # it has ended meanwhile
        return found

    def close(self) -> None:
        for process in self._running:
            process.terminate()
        for found in self.processes("gc-ctrl.py"):
            procs.signal(found, 9)
        for process in self._running:
            process.wait(5.0)
            process.close()
        eventually(lambda: not self.processes())

    def _environ(self, **more: str) -> dict[str, str]:
        # GCP needs a name, and a container's user may have none.
        return {"HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin", "USER": "tester", **more}


@contextmanager
def lab(directory: Path, **options: Any) -> Iterator[Lab]:
    """:param options: of :func:`nodexfer.sandbox.standin.install`."""
    keys: dict[str, dict[str, Any]] = {}
    secrets: dict[str, str] = {}
    relay = Relay(secrets.get, unix=options.get("relay_unix"))
    with _registration(keys, secrets) as url:
        found = Lab(directory, relay, url, keys, **options)
        try:
            yield found
        finally:
            found.close()
            relay.close()


@contextmanager
def _registration(keys: dict[str, dict[str, Any]], secrets: dict[str, str]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = keys.pop(body["setup_key"], None)
            if answer:
                secrets[answer["relay_secret"]] = answer["endpoint_id"]
            text = json.dumps(answer or {"code": "NotFound"}).encode()
            self.send_response(200 if answer else 404)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(5.0)
        server.server_close()


def _in(word: str, arguments: list[str]) -> bool:
    return any(argument == word or argument.endswith("/" + word) for argument in arguments)
