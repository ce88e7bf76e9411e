"""Salvage of 2 GB in 2,000 mixed files, checksums and reading them again included, beside ``cp -r`` of the same.

From tmpfs to tmpfs, where there is room: a node's /tmp and a shared file system differ from machine to machine, and
what we add to the copying shows best where copying is quickest. It is 1.8 times the work of ``cp``, done by several
cores: on a machine whose cores are all busy with something else, the bar is missed.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time

from benchmarks.figures import Figure
from benchmarks.measure import command, interleaved, medians
from nodexfer.config import Config, load
from nodexfer.scheduler import Job
from nodexfer.staging import salvage
from nodexfer.staging.client import Client
from nodexfer.staging.location import Remote
from nodexfer.staging.plan import Send

ROUNDS = 5
TOTAL, FILES = 2_000_000_000, 2000
_SITE = "22222222-2222-4222-8222-222222222222"


def figures() -> list[Figure]:
    directory = tempfile.mkdtemp(prefix="bench-", dir=_roomy())
    try:
        source = f"{directory}/source"
        _make(source)

        def cp() -> float:
            taken = command(["cp", "-r", source, f"{directory}/copy"], os.environ)
            shutil.rmtree(f"{directory}/copy")
            return taken

        times = medians(interleaved(ROUNDS, {"cp": cp, "salvage": lambda: _salvage(source, directory)}))
        rates = {name: f"{TOTAL / seconds / 1e6:.0f}" for name, seconds in times.items()}
        note = f"{rates['salvage']} against {rates['cp']} MB/s, {os.cpu_count()} cores"
        return [Figure("salvage of 2 GB in 2,000 files / cp -r", times["salvage"] / times["cp"], "x", 1.1, note=note)]
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _roomy() -> str | None:
    """A tmpfs that has room for the source and two copies; None for where temporary files go."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return None
    return "/dev/shm" if found.f_bavail * found.f_frsize > 4 * TOTAL else None


def _make(top: str) -> None:
    """70 % of the files are small, 20 % of 200 kB, 9 % of 2 MB, and 20 share the rest."""
    sizes = [4096] * 1400 + [200_000] * 400 + [2_000_000] * 180
    sizes += [(TOTAL - sum(sizes)) // (FILES - len(sizes))] * (FILES - len(sizes))
    random.Random(1).shuffle(sizes)
    block = os.urandom(4_000_000)
    for number, size in enumerate(sizes):
        path = f"{top}/{number % 20}/file-{number}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            for start in range(0, size, len(block)):
                file.write(block[: size - start])


def _salvage(source: str, directory: str) -> float:
    config: Config = load({"HOME": directory, "NODEXFER_HOME": f"{directory}/home"}, node_dir=f"{directory}/node")
    send = Send(source, Remote(_SITE, "/results", False, "site:/results"), into=False)
    who = Client(config, Job("local", "bench", "1", 0), time.time() + 600, {})
    began = time.perf_counter()
    found = salvage.save(who, [send], deadline=time.time() + 600)
    taken = time.perf_counter() - began
    if found.unsaved or len(found.files) != FILES:
        raise RuntimeError(f"not all was saved: {found.unsaved[:3]}")
    shutil.rmtree(f"{directory}/home")
    return taken
