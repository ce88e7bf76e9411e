"""Globus Compute in the sandbox's server: broker, service and HTTP, put together. Imported only where it is wanted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

import waitress.server

from nodexfer.errors import ServiceUnreachable
from nodexfer.paths import private_directory
from nodexfer.sandbox.compute import turned
from nodexfer.sandbox.compute.app import make
from nodexfer.sandbox.compute.broker import Account, Broker, Ports
from nodexfer.sandbox.compute.link import Link
from nodexfer.sandbox.compute.work import Service
from nodexfer.sandbox.store import Store
from nodexfer.sandbox.world import World

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
THREADS = 16


class Compute:
    """Made in the main thread of the server: with it the broker goes.

    :param known: what :attr:`known` was last time, so that clients and endpoints find everything where it was.
    :param port: of the service; None: that of last time, or any.
    :raises ServiceUnreachable: the broker is not installed or did not start, or the port is taken.
    """

    def __init__(self, world: World, directory: str, known: Mapping[str, Any], port: int | None) -> None:
        private_directory(directory)
        account = Account(*known["account"]) if "account" in known else Account.make()
        ports = Ports(*known["ports"]) if "ports" in known else None
        self._store = Store(f"{directory}/state.db")
        self._broker = Broker(f"{directory}/broker", account, ports)
        self._broker.start()
        try:
            self._link = Link(self._broker.url)
            self.service = Service(self._store, self._link)
            self._link.open(self.service.hear)
            self._http = _serve(make(world, self.service), int(known.get("port", 0)), port)
        except BaseException:
            self._broker.stop(0.0)
            raise
        self._port = int(self._http.effective_port)
        self.known = {"account": list(account), "ports": list(self._broker.ports), "port": self._port}
        turned.write(f"{directory}/python")
        self._thread = threading.Thread(target=self._http.run, name="compute http", daemon=True)
        self._thread.start()
        log.info("Globus Compute at %s", self.url)

    @property
    def url(self) -> str:
        """With the name that the SDK has for this machine."""
        return f"http://localhost:{self._port}"

    def status(self) -> dict[str, Any]:
        with self.service.lock:
            endpoints = [
                {
                    "id": found.id,
                    "name": found.name,
                    "owner": found.owner,
                    "online": self.service.registry.online(found),
                    "user_endpoints": sum(
                        self.service.registry.online(child) for child in self.service.registry.children(found.id)
                    ),
                }
                for found in self.service.registry.all()
            ]
        return {
            "url": self.url,
            "broker": "running" if self._broker.alive else "ended",
            "broker_port": self._broker.ports.amqp,
            "endpoints": endpoints,
            "tasks": self.service.counts(),
        }

    def reset(self) -> None:
        self.service.clear()

    def close(self) -> None:
        """Worst case 20 s: the broker writes down what it has."""
        self._http.task_dispatcher.shutdown(cancel_pending=True, timeout=2)
        self._http.close()
        self._link.close()
        self._broker.stop()
        self._store.close()


def _serve(app: Any, before: int, wanted: int | None) -> Any:
    """waitress gives no types. The port that is asked for, or no service at all; else that of last time, or any."""
    keywords = {"host": HOST, "threads": THREADS, "connection_limit": 1000, "max_request_body_size": 1 << 30}
    if wanted is not None:
        try:
            return waitress.server.create_server(app, port=wanted, **keywords)
        except OSError as error:
            who = f"ss -ltnp 'sport = :{wanted}'"
            raise ServiceUnreachable(
                f"Globus Compute can not listen at port {wanted}: {error.strerror}.", who
            ) from error
    try:
        return waitress.server.create_server(app, port=before, **keywords)
    except OSError:
        return waitress.server.create_server(app, port=0, **keywords)
