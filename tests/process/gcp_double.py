"""A program that a guard can run instead of GCP: a tree with groups of its own and double forks, and no network.

It behaves as its name says: its behaviour is written into the file, since a guard's child has a clean environment.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nodexfer.config import Config, load
from nodexfer.gcp.install import Program

PREAMBLE = """
import os, signal, socket, sys, time
directory = sys.argv[sys.argv.index("-dir") + 1]
def note(name, text):
    with open(f"{directory}/{name}.tmp", "w") as file:
        file.write(text)
    os.rename(f"{directory}/{name}.tmp", f"{directory}/{name}")
def address():
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind("\\0" + PREFIX + f"forward/uid={os.getuid()}")
    except OSError:
        print("Another Globus Connect Personal is currently running", file=sys.stderr)
        sys.exit(1)
    held.listen()
    return held
def orphan():
    "A process of its own session whose parent is gone."
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    os.wait()
def relay():
    "A child that leads a process group, with a child of its own; both are there on return."
    there, say = os.pipe()
    if os.fork() == 0:
        os.setpgrp()
        if os.fork() == 0:
            os.write(say, b"x")
        os.close(there)
        os.close(say)
        time.sleep(600)
        os._exit(0)
    os.close(say)
    os.read(there, 1)
    os.close(there)
"""

TREE = """
held = address()
orphan()
relay()
note("ready", str(os.getpid()))
time.sleep(600)
"""


class Place(NamedTuple):
    """A place to run the double in; ``prefix`` is the start of its address, of this test only."""

    config: Config
    working: str
    log: str
    lock: str
    prefix: str

    def program(self, body: str = TREE) -> Program:
        path = f"{self.config.node_dir}/gcp"
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!{sys.executable} -IS\nPREFIX = {self.prefix!r}\n{PREAMBLE}\n{body}")
        os.chmod(path, 0o700)
        return Program(path, self.config.node_dir)


def place(directory: Path) -> Place:
    node_dir = directory / "node"
    working = node_dir / "gcp-place"
    working.mkdir(parents=True, mode=0o700)
    prefix = f"/org/globusonline/globusconnect/test-{os.getpid()}-{time.monotonic_ns()}"
    config = load(
        {"HOME": str(directory), "NODEXFER_GCP_ADDRESS": prefix, "NODEXFER_NODE_DIR": str(node_dir)},
    )
    return Place(config, str(working), f"{node_dir}/gcp.log", f"{node_dir}/guard.lock", prefix)


def eventually(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Fail unless ``true()`` becomes so within ``seconds``."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"still not so after {seconds} s"
        time.sleep(0.005)
