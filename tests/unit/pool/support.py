"""Pools and places made by hand."""

from __future__ import annotations

import json
from pathlib import Path

from nodexfer.config import Config, load
from nodexfer.pool.lease import Me

ID = "1f3a5b7c-0000-4000-8000-00000000000"
ME = Me("slurm", "alpha", "node1", "boot-1", "place-1", "/tmp/n", "17", 0)


def config(home: Path, **environ: str) -> Config:
    return load({"HOME": str(home), "NODEXFER_HOME": str(home), **environ})


def add_entry(home: Path, name: str, number: int = 1) -> Path:
    """A whole entry of the pool "default"."""
    directory = home / "pool/default" / name
    (directory / "config/lta").mkdir(parents=True)
    (directory / "config/lta/client-id.txt").write_text(f"{ID}{number}\n")
    record = {"format": 1, "name": name, "endpoint_id": f"{ID}{number}", "owner": "me", "complete": True}
    (directory / "record.json").write_text(json.dumps(record))
    return directory
