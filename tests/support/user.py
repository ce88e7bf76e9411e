"""A user of the sandbox: a configuration that names its sites, a pool of endpoints, and jobs that stage.

A pytest plugin (see tests/conftest.py), for the fixture ``user``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nodexfer.config import Config, load
from tests.support.holding import Script, nodexfer
from tests.support.sandbox import Box


class User:
    """At home in this test's home; the node's root is ``home/node``. ``endpoints`` are created at once."""

    def __init__(self, box: Box, endpoints: int = 1) -> None:
        self.box = box
        self.site, self.other = box.site, box.other
        self.home = Path(os.environ["HOME"]) / ".nodexfer"
        self.home.mkdir(mode=0o700, exist_ok=True)
        #: The only root of this node.
        self.root = Path(os.environ["NODEXFER_NODE_DIR"]).parent
        self.environ = {**box.sandbox.environment, "NODEXFER_LINGER": "0.2", "NODEXFER_SERVICE_TIMEOUT": "5"}
        self.configure(f'[collections.site]\nid = "{box.site_id}"\n[collections.other]\nid = "{box.other_id}"\n')
        if endpoints:
            done = nodexfer("pool", "create", "--count", str(endpoints), "--prefix", "p", environ=self.environ)
            assert done.code == 0, done

    def configure(self, text: str) -> None:
        (self.home / "config.toml").write_text(text)

    @property
    def config(self) -> Config:
        return load({**os.environ, **self.environ})

    @property
    def receipts(self) -> list[dict[str, Any]]:
        """All that were written, oldest first."""
        found = [json.loads(path.read_text()) for path in (self.home / "receipts").rglob("*.json")]
        return sorted(found, key=lambda receipt: float(receipt["created"]))

    def job(self, number: str = "1", **environ: str) -> Script:
        return Script(number, {**self.environ, **environ})

    def archive(self, name: str, members: Mapping[str, bytes]) -> str:
        """Make a .tar.gz at the site; its checksum."""
        with tarfile.open(self.site / name, "w:gz") as packed:
            for member, data in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                packed.addfile(info, io.BytesIO(data))
        return "sha256:" + hashlib.sha256((self.site / name).read_bytes()).hexdigest()

    def tasks(self) -> dict[str, int]:
        """How many tasks there are of each status."""
        found: dict[str, int] = self.box.sandbox.status()["tasks"]
        return found

    def leftovers(self) -> list[str]:
        """What is left of requests, at the node and at the sites."""
        tops = (self.root, self.site, self.other)
        names = [
            path for top in tops for path in top.rglob("*") if path.name.startswith((".nodexfer", ".gone", ".new"))
        ]
        base = Path(os.environ["NODEXFER_NODE_DIR"])
        names += [path for where in ("spool", "exchange", "outgoing") for path in (base / where).rglob("r*")]
        return sorted(str(path) for path in names)


@pytest.fixture
def user(box: Box) -> User:
    return User(box)
