"""A cluster in virtual time: nodes, jobs, a pool, the service, and faults by a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

from nodexfer.pool import ask, choose, waiting
from nodexfer.pool import lease as leases
from nodexfer.pool.entries import PoolEntry
from nodexfer.pool.lease import Lease
from nodexfer.staging import fence
from tests.simulation.clock import Clock
from tests.simulation.node import Node, Plan, Request
from tests.simulation.pool import Leases
from tests.simulation.promises import Promises
from tests.simulation.service import Service

#: Seconds that jobs arrive for each 1,000 of them, and that a lease lasts.
SPAN, DURATION = 700.0, 300.0
#: A walltime that nothing but a fault comes near to (s); a short one.
LONG, SHORT = 6 * 3600.0, 400.0


class Scenario(NamedTuple):
    nodes: int = 1000
    jobs: int = 10_000
    pool: int = 50
    #: Faults for each node, and which.
    faults: float = 0.3
    kinds: tuple[str, ...] = ("kill", "kill", "die", "freeze", "stall", "cut", "cut off")


class Summary(NamedTuple):
    requests: int
    outcomes: dict[str, int]
    tasks: int
    #: Things that happened, one after the other.
    steps: int
    checks: int
    #: Virtual seconds: all of it, and the longest that a request that was done took.
    seconds: float
    slowest: float
    overtaken: int
    overlaps: int

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        return (
            f"{self.requests} requests in {self.tasks} tasks ({ends}) in {self.seconds:.0f} s, "
            f"the slowest in {self.slowest:.0f} s; {self.overlaps} woke beside another; "
            f"at most {self.overtaken} came before one that waited; {self.checks} promises looked at"
        )


class Nobody:
    """No place can look at another one's locks here: (:class:`nodexfer.pool.neighbour.Neighbour`)."""

    dead = None

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> Nobody:
        return self

    def __exit__(self, *_: object) -> None: ...


class World:
    """Use once. Equal seeds are equal runs."""

    def __init__(self, seed: int, scenario: Scenario) -> None:
        self.random = random.Random(seed)
        self.scenario = scenario
        self.clock = Clock()
        self.promises = Promises(self.clock)
        self.service = Service(self.clock, self.promises)
        self.leases = Leases(self.clock, self.promises, scenario.pool)
        self.config: Any = SimpleNamespace(home_paths=None, pool="default", lease=DURATION)
        self.stamps: dict[str, float] = {}
        #: The number under which each entry was last had, and that each endpoint was last fenced for.
        self.continued: dict[str, int] = {}
        self.fenced: dict[str, set[int]] = {}
        #: The runs that are over, as their schedulers know it.
        self.over: set[str] = set()
        #: How often an endpoint was passed over.
        self.passed = 0
        self.requests = 0
        self.open: set[Request] = set()
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0
        half = (scenario.nodes + 1) // 2
        # Two clusters on one home, with the same names of hosts.
        self.nodes = [
            Node(self, number, "alpha" if number < half else "beta", f"node{number % half}")
            for number in range(scenario.nodes)
        ]

    # -- what the nodes tell -----------------------------------------------------------------------------------------

    def asked(self, request: Request) -> None:
        self.requests += 1
        self.open.add(request)

    def ended(self, request: Request, outcome: str) -> None:
        self.promises.require(request.outcome is None, "a request ends twice")
        request.outcome = outcome
        self.open.remove(request)
        self.outcomes[outcome] += 1
        if outcome == "done":
            self.slowest = max(self.slowest, self.clock.now - request.waiting.since)

    def never(self, plan: Plan) -> None:
        """Its node was down."""

    def run_over(self, lease: Lease) -> bool | None:
        """What the scheduler says: nothing at times, and the truth else."""
        return None if self.random.random() < 0.2 else f"{lease.job}.0" in self.over

    # -- the course of things ----------------------------------------------------------------------------------------

    def run(self) -> Summary:
        """:raises BrokenPromise: one was."""
        self._plan_jobs()
        self._plan_faults()
        began = self.clock.now
        with self._virtual():
            last, steps = began, 0
            while self.clock.step():
                last, steps = self.clock.now, steps + 1
        self.promises.require(not self.open, f"{len(self.open)} requests never ended")
        return Summary(
            self.requests,
            dict(self.outcomes),
            self.service.tasks,
            steps,
            self.promises.checks,
            last - began,
            self.slowest,
            self.promises.overtaken,
            self.promises.overlaps,
        )

    @contextmanager
    def _virtual(self) -> Iterator[None]:
        with ExitStack() as stack:
            for module in (ask, leases, fence, choose):
                stack.enter_context(mock.patch.object(module, "time", self.clock))
            stack.enter_context(mock.patch.object(choose, "leases", self.leases))
            # Plain functions: they are called a hundred thousand times, and a mock would remember each.
            stack.enter_context(mock.patch.object(choose, "read_pool", self._entries))
            stack.enter_context(mock.patch.object(choose, "Neighbour", Nobody))
            stack.enter_context(mock.patch.object(waiting, "_stamps", self._stamps))
            yield

    def _entries(self, *_: object) -> list[PoolEntry]:
        return self.leases.entries

    def _stamps(self, _: str) -> dict[str, float]:
        return dict(self.stamps)

    def _plan_jobs(self) -> None:
        """Arrays: the jobs of a node come together. A quarter of the nodes begins at once."""
        chance = self.random
        span = SPAN * self.scenario.jobs / 1000
        starts = [0.0 if chance.random() < 0.25 else chance.uniform(0.0, span) for _ in self.nodes]
        for number in range(self.scenario.jobs):
            node = self.nodes[number % len(self.nodes)]
            arrives = self.clock.now + starts[node.number] + chance.uniform(0.0, 3.0)
            patience = SHORT if self.scenario.faults and chance.random() < 0.02 else LONG
            sizes = chance.uniform(0.1, 1.0), chance.uniform(30.0, 300.0), chance.uniform(0.1, 1.0)
            plan = Plan(number, arrives, *sizes, patience)
            self.clock.at(arrives, lambda node=node, plan=plan: node.arrive(plan))  # type: ignore[misc]

    def _plan_faults(self) -> None:
        span = SPAN * self.scenario.jobs / 1000 + 300.0
        for _ in range(int(self.scenario.nodes * self.scenario.faults)):
            self.clock.after(self.random.uniform(0.0, span), self._fault)

    def _fault(self) -> None:
        """To one that has an endpoint, more often than not."""
        chance = self.random
        leaders = [node for node in self.nodes if node.term is not None and node.term.lease is not None]
        node = chance.choice(leaders) if leaders and chance.random() < 0.8 else chance.choice(self.nodes)
        seconds = chance.choice((5.0, 40.0, 150.0, 250.0, 400.0, 900.0)) * chance.uniform(0.5, 1.5)
        kind = chance.choice(self.scenario.kinds)
        if node.is_dead or node.is_frozen:
            return
        if kind == "kill":
            self._kill(node)
        elif kind == "stuck":
            self._leave_stuck(node, seconds)
        elif kind == "die":
            node.die(chance.choice((None, seconds)))
        elif kind == "freeze":
            node.freeze(seconds)
        if kind in ("stall", "cut off"):
            node.stall(seconds)
        if kind in ("cut", "cut off"):
            node.cut(seconds, told=kind == "cut")

    def _leave_stuck(self, node: Node, seconds: float) -> None:
        """It dies, and for a while the service does not cancel what it has left."""
        if node.term is not None and node.term.lease is not None:
            self.service.refuse(node.term.lease.endpoint_id, seconds)
        node.die(seconds)

    def _kill(self, node: Node) -> None:
        if node.term is not None and self.random.random() < 0.7 and node.term.job.lives:
            node.kill(node.term.job)
        elif node.jobs:
            node.kill(self.random.choice(list(node.jobs.values())))
