"""A place with a desk in this very process, and a Globus in memory behind it: requests without waiting for anything."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nodexfer.config import Config, load
from nodexfer.paths import RootPaths
from nodexfer.scheduler import Job
from nodexfer.staging.client import Client
from nodexfer.staging.desk import Desk
from tests.support.local_globus import IDENTITY, LocalGlobus
from tests.support.waiting import eventually

SITE = "22222222-2222-4222-8222-222222222222"
OTHER = "33333333-3333-4333-8333-333333333333"
ENDPOINT = "44444444-4444-4444-8444-444444444444"


class Place:
    """``top/node`` is the root with the node_dir, ``top/site`` and ``top/other`` are collections' directories."""

    def __init__(self, top: Path) -> None:
        self.top = top
        for name in ("node", "home", "site", "other"):
            (top / name).mkdir()
        self.site, self.node = top / "site", top / "node"
        (top / "home/config.toml").write_text(
            f'[collections.site]\nid = "{SITE}"\n[collections.other]\nid = "{OTHER}"\nroot_path = "/deep"\n'
        )
        self.config: Config = load({"HOME": str(top / "home"), **self.environ})
        self.config.node_paths.make()
        self.globus = LocalGlobus({SITE: str(self.site), OTHER: str(top / "other"), ENDPOINT: "/"})
        self.job = Job("local", "host", "1", 0)
        self.said: list[dict[str, Any]] = []

    @property
    def environ(self) -> Mapping[str, str]:
        return {
            "NODEXFER_HOME": str(self.top / "home"),
            "NODEXFER_NODE_DIR": str(self.node / "nodexfer"),
            "NODEXFER_SERVICE_TIMEOUT": "0.2",
        }

    def client(self, seconds: float = 20.0, **fields: Any) -> Client:
        environ = {"GLOBUS_SDK_SERVICE_URL_TRANSFER": f"{self.globus.service}/v0.10/"}
        return Client(self.config, self.job, time.time() + seconds, environ, **fields)

    def exchanges(self, lease: int) -> dict[str, str]:
        root = self.config.roots[0]
        return {root: RootPaths.of(root, self.config.node_dir).make(lease).exchange(lease)}

    @contextmanager
    def desk(self, *, lease: int = 1, serve: bool = True) -> Iterator[queue.SimpleQueue[dict[str, Any] | None]]:
        """A desk that serves; what is put into the queue is an order."""
        inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        desk = Desk(self.globus, IDENTITY, self.config, inbox, self.said.append)
        thread = threading.Thread(target=desk.run, daemon=True)
        thread.start()
        try:
            if serve:
                self.serve(inbox, lease)
            yield inbox
        finally:
            inbox.put({"do": "stop"})
            thread.join(10)
            assert not thread.is_alive()

    def serve(self, inbox: queue.SimpleQueue[dict[str, Any] | None], lease: int = 1) -> None:
        self.said.clear()
        inbox.put({"do": "serve", "endpoint": ENDPOINT, "lease": lease, "exchanges": self.exchanges(lease)})
        eventually(lambda: {"ready": True} in self.said)

    def leftovers(self) -> list[str]:
        """Everything below the node_dir that belongs to a request, and temporary names at the collections."""
        found = []
        for top in (self.config.node_dir, str(self.site), str(self.top / "other")):
            for where, directories, names in os.walk(top):
                below = os.path.relpath(where, top)
                for name in (*directories, *names):
                    inside = below.startswith(("spool/", "exchange/", "outgoing")) and name != "1"
                    if (inside and not name.startswith(".end")) or name.startswith((".nodexfer", ".gone", ".new")):
                        found.append(f"{where}/{name}")
        return found
