"""``python -m tests.simulation [--seeds N | --seed N] [--nodes N] [--jobs N] [--pool N] [--workers N]``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

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
    parser.add_argument("--workers", type=int, default=1, help="seeds at a time, each in a process of its own")
    given = parser.parse_args()
    scenario = Scenario(given.nodes, given.jobs, given.pool, given.faults)
    seeds = [given.seed] if given.seed is not None else range(1, given.seeds + 1)
    print(f"{scenario.jobs} jobs on {scenario.nodes} nodes with {scenario.pool} endpoints", flush=True)
    began = time.monotonic()
    ends: list[End] = []
    for end in run(scenario, seeds, given.workers):
        print(end, flush=True)
        ends.append(end)
    broken = [end.seed for end in ends if not end.good]
    requests, steps, checks = (sum(getattr(end, name) for end in ends) for name in ("requests", "steps", "checks"))
    print(
        f"{len(ends)} seeds, {steps} steps, {requests} requests, {checks} promises looked at, "
        f"{len(broken)} seeds broke one [{time.monotonic() - began:.0f} s]"
    )
    if broken:
        again = f"SEED={broken[0]} NODES={scenario.nodes} JOBS_OF={scenario.jobs} POOL={scenario.pool}"
        print(f"promises were broken; again with: make simulate {again}")
    return 1 if broken else 0


class End(NamedTuple):
    """How a seed went, in words and in figures."""

    seed: int
    words: str
    good: bool
    seconds: float
    requests: int = 0
    steps: int = 0
    checks: int = 0

    def __str__(self) -> str:
        return f"seed {self.seed}: {'' if self.good else 'BROKEN '}{self.words} [{self.seconds:.1f} s]"


def run(scenario: Scenario, seeds: Iterable[int], workers: int) -> Iterator[End]:
    """Every seed, in the order given."""
    given = [(seed, scenario) for seed in seeds]
    if min(workers, len(given)) <= 1:
        yield from map(one, given)
        return
    with multiprocessing.Pool(min(workers, len(given))) as pool:
        yield from pool.imap(one, given)


def one(given: tuple[int, Scenario]) -> End:
    """One of them, to its end or to the first promise that was broken."""
    began = time.monotonic()
    try:
        found = World(*given).run()
    except BrokenPromise as error:
        return End(given[0], str(error), False, time.monotonic() - began)
    seconds = time.monotonic() - began
    return End(given[0], str(found), True, seconds, found.requests, found.steps, found.checks)


if __name__ == "__main__":
    # A place chooses among endpoints by hash(): the same seed is to be the same run in every process.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
