"""How long the sandbox's GCP takes by itself to be connected."""

from __future__ import annotations

import glob
import os
import time

from benchmarks.measure import wait_for
from nodexfer import config, procs
from nodexfer.globus.sdk import connect
from nodexfer.sandbox.demo.offline import Offline


def connect_seconds(user: Offline) -> float:
    """From the start of the program to the service's word that it is connected. No endpoint of the pool may be up."""
    entry = user.pool()[0]
    globus = connect(config.load(user.environment), user.environment)
    directory = glob.glob(f"{user.stage.home}/.nodexfer/pool/*/{entry['name']}/config")[0]
    program = user.environment["NODEXFER_GCP"]
    exchange = os.path.dirname(user.stage.node_dir)
    began = time.monotonic()
    child = procs.spawn(
        [program, "-start", "-dir", directory, "-restrict-paths", f"rw{exchange}", "-shared-paths", ""],
        environ=user.environment,
        new_session=True,
    )
    try:
        wait_for(lambda: bool(globus.collection(entry["endpoint_id"]).connected), 30, "the stand-in's connection")
        return time.monotonic() - began
    finally:
        child.kill_group()
        child.wait(10)
        wait_for(lambda: not globus.collection(entry["endpoint_id"]).connected, 30, "the stand-in's end")
