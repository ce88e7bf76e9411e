"""The sandbox's process: ``python -m nodexfer.sandbox.server``, started by :mod:`nodexfer.sandbox.launch`.

When it serves it says so with one line of JSON on stdout, and is silent from then on. SIGTERM and a POST to
``/sandbox/stop`` end it in good order; killed, it forgets nothing but the last quarter of a second of progress. SIGUSR2
has it write into its log where each of its threads stands.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import fcntl
import json
import logging
import os
import secrets
import signal
import sys
import threading
import time
import uuid
from typing import Any

import waitress
import waitress.server

from nodexfer import records
from nodexfer.clock import Deadline
from nodexfer.errors import NodexferError
from nodexfer.sandbox.layout import FORMAT, Layout
from nodexfer.sandbox.service.app import make
from nodexfer.sandbox.standin.installation import install
from nodexfer.sandbox.world import World

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
#: An operation on a GCP that is frozen holds one for a minute.
THREADS = 32
#: Exit code when another server holds the directory.
TAKEN = 3
LOCK_SECONDS = 0.2


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    layout = Layout(os.path.realpath(options.directory)).make()
    lock = os.open(layout.lock, os.O_RDWR | os.O_CLOEXEC)
    if not _take(lock, Deadline(LOCK_SECONDS)):
        return TAKEN
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.running)  # of a server that was killed: its pid may be anybody's by now
    logging.basicConfig(
        filename=layout.log, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(threadName)s: %(message)s"
    )
    faulthandler.register(signal.SIGUSR2)  # where each thread stands, into the log
    logging.getLogger("pika").setLevel(logging.WARNING)
    try:
        server = _Server(layout, options)
    except NodexferError as error:
        sys.stderr.write(f"{error} Next: {error.next}\n")  # the log's last line is what the launcher tells
        return 1
    server.serve()
    return 0


def _take(lock: int, deadline: Deadline) -> bool:
    """Lock it. Tried for a moment: whoever looks whether a server runs holds it for an instant."""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if deadline.passed:
                return False
        time.sleep(0.02)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nodexfer.sandbox.server")
    parser.add_argument("--directory", required=True)
    parser.add_argument("--site", action="append", default=[], metavar="NAME=DIRECTORY")
    parser.add_argument("--allow-root", action="store_true")
    parser.add_argument("--relay-unix")
    parser.add_argument("--switches", default="{}", help="JSON")
    parser.add_argument("--compute", action="store_true")
    parser.add_argument("--compute-port", type=int)
    return parser.parse_args(arguments)


class _Server:
    """Everything that has an end, in the order of its beginning."""

    def __init__(self, layout: Layout, options: argparse.Namespace) -> None:
        self._layout = layout
        self._options = options
        self._known = _known(layout)
        self._world = self._make_world()
        sites = dict(text.split("=", 1) for text in options.site)
        self._known["sites"] = {**self._known["sites"], **sites}
        self._world.serve_sites(self._known["sites"])
        if options.compute:
            self._start_compute()
        self._http = self._make_http()
        self._installed: tuple[object, ...] = ()
        self._gcp = self._install()

    def serve(self) -> None:
        """Until it is told to stop."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: self._world.stop_requested.set())
        thread = threading.Thread(target=self._http.run, name="http", daemon=True)
        thread.start()
        self._world.after_change = self._install
        running = self._write_running()
        os.write(1, f"{json.dumps(running)}\n".encode())
        # Whoever started us may be gone at any time, and its pipe with it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        log.info("serving %s at %s", self._layout.directory, running["url"])
        self._world.stop_requested.wait()
        self._stop(thread)

    def _stop(self, thread: threading.Thread) -> None:
        log.info("stopping")
        os.unlink(self._layout.running)
        # The answer to /sandbox/stop is sent by the loop that is closed here: let it out first.
        self._http.pull_trigger()
        self._http.task_dispatcher.shutdown(cancel_pending=True, timeout=2)
        if self._world.compute is not None:
            self._world.compute.close()
        self._world.close()
        self._http.close()
        thread.join(0.05)  # it sleeps for up to a second; it ends with the process

    def _make_world(self) -> World:
        """On the ports of last time, if nobody else has them by now: stand-ins know the relay by its port."""
        client = (self._known["client_id"], self._known["client_secret"])
        for port in (self._known["relay_port"], 0):
            try:
                world = World(
                    self._known["id"],
                    self._layout.state,
                    client,
                    self._layout.read_admin_token(),
                    json.loads(self._options.switches),
                    relay_port=port,
                    relay_unix=self._options.relay_unix,
                )
            except OSError:
                if port == 0:
                    raise
                continue
            self._known["relay_port"] = world.relay.address[1]
            return world
        raise AssertionError("unreachable")

    def _make_http(self) -> Any:
        """waitress gives no types. The port of last time, as for the relay."""
        app = make(self._world)
        keywords = {"host": HOST, "threads": THREADS, "connection_limit": 1000, "max_request_body_size": 1 << 30}
        try:
            server = waitress.server.create_server(app, port=self._known["port"], **keywords)
        except OSError:
            server = waitress.server.create_server(app, port=0, **keywords)
        self._known["port"] = int(server.effective_port)
        records.write(self._layout.description, self._known)
        return server

    def _start_compute(self) -> None:
        """Only where it is wanted: it needs a broker, and pika."""
        from nodexfer.sandbox.compute.start import Compute

        wanted = self._options.compute_port
        self._world.compute = Compute(self._world, self._layout.compute, self._known.get("compute", {}), wanted)
        self._known["compute"] = self._world.compute.known

    def _install(self) -> str:
        """The stand-in's installation, anew when a switch that it knows has changed."""
        switches = self._world.faults.switches
        wanted = (switches.connect_seconds, switches.report_seconds, switches.reconnect_seconds)
        if wanted != self._installed:
            self._gcp = install(
                self._layout.gcp,
                url=self._url,
                relay_host=HOST,
                relay_port=self._known["relay_port"],
                relay_unix=self._options.relay_unix,
                sandbox_id=self._known["id"],
                allow_root=self._options.allow_root,
                connect_seconds=wanted[0],
                report_seconds=wanted[1],
                reconnect_seconds=wanted[2],
            )
            self._installed = wanted
        return self._gcp

    @property
    def _url(self) -> str:
        return f"http://{HOST}:{self._known['port']}/"

    def _write_running(self) -> dict[str, Any]:
        running = {"format": FORMAT, "pid": os.getpid(), "url": self._url, "gcp": self._gcp}
        if self._world.compute is not None:
            running["compute"] = self._world.compute.url
        records.write(self._layout.running, running)
        return running


def _known(layout: Layout) -> dict[str, Any]:
    """What the sandbox was on its first start, or is from now on."""
    fresh = {
        "format": FORMAT,
        "id": secrets.token_hex(4),
        "port": 0,
        "relay_port": 0,
        "sites": {},
        "client_id": str(uuid.uuid4()),
        "client_secret": secrets.token_urlsafe(32),
    }
    return {**fresh, **layout.describe()}


if __name__ == "__main__":
    sys.exit(main())
