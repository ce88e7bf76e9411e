"""The places: each has a disk, a node_dir and a GCP of its own, as if it were a node. Home and site are shared."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nodexfer.paths import NodePaths
from nodexfer.sandbox.chaos import evidence
from nodexfer.sandbox.demo.offline import Offline
from nodexfer.sandbox.demo.stage import Stage
from nodexfer.sandbox.demo.watch import Watch

#: Quick enough that something can happen in minutes: a silent leader is ended, a lease is lost.
_QUICK = {"NODEXFER_LINGER": "1", "NODEXFER_SILENCE": "6", "NODEXFER_LEASE": "20", "NODEXFER_TIME": "1200"}


class Place(NamedTuple):
    """``environment`` is what its jobs get, their ids aside."""

    number: int
    stage: Stage
    environment: dict[str, str]
    watch: Watch

    @property
    def disk(self) -> str:
        """What the node has for itself."""
        return os.path.dirname(self.stage.node_dir)

    @property
    def paths(self) -> NodePaths:
        return NodePaths(self.stage.node_dir)


def make(user: Offline, nodes: Sequence[int], ledger: str) -> list[Place]:
    """Make a place for each of ``nodes`` (some may be one), and the command that their jobs have in their PATH."""
    directory = user.stage.directory
    watched = f"{directory}/watched"
    os.mkdir(watched, 0o700)
    with open(f"{watched}/nodexfer", "w", encoding="utf-8") as file:
        file.write(
            "#!/bin/sh\ncase $1 in stage-in | stage-out | run) "
            'exec "$NODEXFER_DEMO_PYTHON" -m nodexfer.sandbox.chaos.command "$@" ;; esac\n'
            f'exec {user.stage.bin}/nodexfer "$@"\n'
        )
    os.chmod(f"{watched}/nodexfer", 0o700)
    shared = {
        **_QUICK,
        "PATH": f"{watched}:{user.environment['PATH']}",
        "CHAOS_LEDGER": ledger,
        "CHAOS_SITE": user.stage.site,
    }
    shared = evidence.trace(f"{directory}/traced", {**user.environment, **shared})
    return [_make(user, number, node, shared) for number, node in enumerate(nodes)]


def _make(user: Offline, number: int, node: int, shared: Mapping[str, str]) -> Place:
    top = f"{user.stage.directory}/place-{number}"
    stage = user.stage._replace(node_dir=f"{top}/local/nodexfer")
    os.makedirs(os.path.dirname(stage.node_dir), mode=0o700)
    address = f"{user.environment['NODEXFER_GCP_ADDRESS']}/{node}"
    own = {
        "TMPDIR": os.path.dirname(stage.node_dir),
        "NODEXFER_NODE_DIR": stage.node_dir,
        "NODEXFER_ROOTS": os.path.dirname(stage.node_dir),
        "NODEXFER_GCP": _install(user.box.gcp, f"{top}/gcp", address),
        "NODEXFER_GCP_ADDRESS": address,
    }
    return Place(number, stage, {**shared, **own}, Watch(stage.node_dir, period=0.02))


def _install(program: str, directory: str, address: str) -> str:
    """A copy of the stand-in whose one-per-user address is of this node alone; the path of its program."""
    shutil.copytree(os.path.dirname(program), directory)
    settings = f"{directory}/etc/sandbox.json"
    with open(settings, encoding="utf-8") as file:
        known = json.load(file)
    with open(settings, "w", encoding="utf-8") as file:
        json.dump({**known, "address": address}, file)
    return f"{directory}/{os.path.basename(program)}"
