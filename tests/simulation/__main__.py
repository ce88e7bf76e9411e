"""``python -m tests.simulation [--seeds N | --seed N] [--nodes N] [--jobs N] [--pool N] [--faults X]``."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.promises import BrokenPromise
from tests.simulation.world import Scenario, World


def main() -> int:
    """0: every promise held; 1: the seeds that broke one have been named."""
    parser = argparse.ArgumentParser(description="The product's decisions on a virtual clock, with faults by a seed.")
    parser.add_argument("--seed", type=int, default=None, help="this one alone: a failure is shown again")
    parser.add_argument("--seeds", type=int, default=20, help="so many, from 1 on")
    for name in ("nodes", "jobs", "pool", "faults"):
        value = getattr(Scenario(), name)
        parser.add_argument(f"--{name}", type=type(value), default=value)
    given = parser.parse_args()
    scenario = Scenario(given.nodes, given.jobs, given.pool, given.faults)
    seeds = [given.seed] if given.seed is not None else range(1, given.seeds + 1)
    print(f"{scenario.jobs} jobs on {scenario.nodes} nodes with {scenario.pool} endpoints", flush=True)
    broken = [seed for seed in seeds if not show(seed, scenario)]
    if broken:
        again = f"SEED={broken[0]} NODES={scenario.nodes} JOBS_OF={scenario.jobs} POOL={scenario.pool}"
        print(f"promises were broken; again with: make simulate {again}")
    return 1 if broken else 0


def show(seed: int, scenario: Scenario) -> bool:
    """Run one and say how it went."""
    began = time.monotonic()
    print(f"seed {seed}: ", end="", flush=True)
    try:
        words, good = str(World(seed, scenario).run()), True
    except BrokenPromise as error:
        words, good = f"BROKEN {error}", False
    print(f"{words} [{time.monotonic() - began:.1f} s]", flush=True)
    return good


if __name__ == "__main__":
    # A place chooses among endpoints by hash(): the same seed is to be the same run in every process.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
