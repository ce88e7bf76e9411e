"""Parsl apps that stage their own data: two workers on one node, one endpoint between them.

    python examples/parsl_hold.py site:/results/ site:/texts/1.txt site:/texts/2.txt ...

Each SOURCE becomes one app on a real HighThroughputExecutor. It runs where a worker happens to be, so it takes a hold
there, brings its input into that node's scratch, counts the words, and sends the counts to RESULTS. What comes back
through Parsl is small: a dictionary.

Offline: ``nodexfer sandbox start --site site=DIRECTORY``, ``eval "$(nodexfer sandbox env)"``, ``nodexfer pool create
--count 1 --prefix parsl``; then as above, with ``globus://<id of the site>/...`` for ``site:/...``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

import parsl
from parsl.app.app import python_app
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider


@python_app
def count_words(source: str, results: str) -> dict[str, Any]:
    """Runs on a worker: everything that it needs is imported here."""
    import collections
    import json
    import os
    import tempfile

    import nodexfer

    name = source.rsplit("/", 1)[1]
    with nodexfer.hold() as node:
        # The scratch belongs to the job, and the apps of one block share it: each takes a directory of its own.
        own = tempfile.mkdtemp(dir=node.scratch)
        node.stage_in([source], f"{own}/{name}")
        with open(f"{own}/{name}", encoding="utf-8") as text:
            counts = collections.Counter(text.read().split())
        with open(f"{own}/{name}.json", "w", encoding="utf-8") as file:
            json.dump(counts, file)
        receipt = node.stage_out([f"{own}/{name}.json"], f"{results}{name}.json")
    return {
        "name": name,
        "words": counts.total(),
        "worker": os.environ["PARSL_WORKER_RANK"],
        "endpoint": receipt.endpoint,
    }


def configuration(run_dir: str) -> Config:
    """Two workers in one block on this machine; on a cluster, put its provider for LocalProvider."""
    provider: Any = LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1)  # type: ignore[no-untyped-call]
    executor = HighThroughputExecutor(
        label="node", address="127.0.0.1", max_workers_per_node=2, cores_per_worker=0.1, provider=provider
    )
    return Config(executors=[executor], run_dir=run_dir, strategy="none", usage_tracking=0)


def main() -> None:
    results, *sources = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="parsl-") as run_dir, parsl.load(configuration(run_dir)):
        for future in [count_words(source, results) for source in sources]:
            done = future.result(timeout=300)
            print(f"{done['name']}: {done['words']} words, worker {done['worker']}, endpoint {done['endpoint']}")


if __name__ == "__main__":
    # Parsl looks its own programs up in PATH.
    os.environ["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    main()
