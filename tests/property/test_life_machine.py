"""Holds, leases and requests of three places beside a model: who lives has what it had, who is dead has nothing.

Two of the places are on one host. Records, locks, renames and clean-up are real; processes, boots, the clocks, the
scheduler and the service are the model's. What is written to the pool is stamped by a file server of the model's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nodexfer import identity
from nodexfer.config import load
from nodexfer.errors import LeaseLost, RecordBroken
from nodexfer.identity import ProcessId
from nodexfer.node import claim, clean, locks, registry
from nodexfer.paths import private_directory
from nodexfer.pool import ask, choose, leasefile
from nodexfer.pool import lease as leases
from nodexfer.pool.ask import Ask, Inquiry
from nodexfer.pool.lease import Lease
from nodexfer.pool.waiting import Queue
from nodexfer.scheduler import Job
from nodexfer.staging import spool
from nodexfer.staging.request import Owner, Request, Result
from tests.unit.pool.support import add_entry

NAMESPACE = 1000
DURATION = 300.0
HOSTS = ("one", "one", "two")
NODES = st.sampled_from(range(len(HOSTS)))
JOBS = st.sampled_from(("a", "b[1]"))
ENTRIES = ("p-1", "p-2")
#: How many lives and steps there were, of all machines of this process.
LIVED: Counter[str] = Counter()


class Place:
    """What the model knows of one place."""

    def __init__(self, top: Path, number: int) -> None:
        self.number = number
        (top / str(number)).mkdir()
        self.config = load(
            {"HOME": str(top), "NODEXFER_HOME": f"{top}/home", "NODEXFER_NODE_DIR": f"{top}/{number}/nodexfer"},
            lease=DURATION,
        )
        self.paths = self.config.node_paths
        self.paths.make()
        self.boot = 0
        self.holds: dict[str, registry.Hold] = {}
        #: request -> its job, and how far it is: asked, begun, over.
        self.requests: dict[str, tuple[str, str]] = {}
        self.chooser: Any = None
        self.lease: Lease | None = None
        #: The locks of a leader, while one lives here.
        self.locks: list[int] = []
        #: When the last renewal began that succeeded.
        self.renewed = 0.0
        #: Its keeper, desk and GCP hang, with all locks in hand.
        self.wedged = False
        self.scripts: dict[str, ProcessId] = {}

    @property
    def leads(self) -> bool:
        return bool(self.locks)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        LIVED["lives"] += 1
        self.top = Path(tempfile.mkdtemp())
        self.now = 1000.0
        self.offset = 0.0
        self.start = 0
        self.here: Place
        self.living: dict[ProcessId, int] = {}
        self.over: set[str] = set()
        self.connected = False
        self.numbers: dict[str, int] = {}
        self.patches = self._patches()
        for patch in self.patches:
            patch.start()
        self.places = [Place(self.top, number) for number in range(len(HOSTS))]

    @initialize(entries=st.integers(1, len(ENTRIES)))
    def make_the_pool(self, entries: int) -> None:
        for number in range(1, entries + 1):
            add_entry(self.top / "home", f"p-{number}", number)
            self.numbers[f"p-{number}"] = 0

    def _patches(self) -> list[Any]:
        def boot() -> str:
            return f"boot {HOSTS[self.here.number]} {self._boot(self.here)}"

        import time as real

        clock = SimpleNamespace(monotonic=lambda: self.now, time=lambda: real.time() + self.offset)
        return [
            mock.patch.object(registry, "boot_id", side_effect=boot),
            mock.patch.object(clean, "boot_id", side_effect=boot),
            mock.patch.object(identity, "boot_id", side_effect=boot),
            mock.patch.object(identity, "host", side_effect=lambda: HOSTS[self.here.number]),
            mock.patch.object(registry, "pid_namespace", return_value=NAMESPACE),
            mock.patch.object(ProcessId, "alive", property(lambda process: process in self.living)),
            mock.patch.object(leases, "time", clock),
            mock.patch.object(ask, "time", clock),
            mock.patch.object(leases, "write_beside", lambda lease: self.stamp(leasefile.write_beside(lease))),
        ]

    def _boot(self, place: Place) -> int:
        """A host boots with all its places."""
        return sum(other.boot for other in self.places if HOSTS[other.number] == HOSTS[place.number])

    def stamp(self, path: str) -> str:
        """By the file server's clock."""
        os.utime(path, (1e9 + self.now, 1e9 + self.now))
        return path

    def teardown(self) -> None:
        for patch in self.patches:
            patch.stop()
        for place in self.places:
            self._close(place)
        shutil.rmtree(self.top)

    @contextmanager
    def at(self, number: int) -> Any:
        self.here = self.places[number]
        yield self.here

    # -- the model's reckoning ---------------------------------------------------------------------------------------

    def new_process(self, number: int) -> ProcessId:
        self.start += 1
        process = ProcessId(100 + self.start % 3, self.start, NAMESPACE)
        self.living[process] = number
        return process

    def alive(self, place: Place) -> set[str]:
        return {name for name, hold in place.holds.items() if hold.process in self.living}

    def live_jobs(self, place: Place) -> set[str]:
        return {place.holds[name].job for name in self.alive(place)}

    def runs_gcp(self, place: Place) -> bool:
        """The guard lets it run for two thirds of the duration after a renewal."""
        return place.leads and place.lease is not None and self.now - place.renewed < DURATION * 2 / 3

    # -- holds -------------------------------------------------------------------------------------------------------

    @rule(number=NODES, job=JOBS, owned=st.booleans(), endpoint=st.booleans())
    def acquire(self, number: int, job: str, owned: bool, endpoint: bool) -> None:
        with self.at(number) as place:
            script = place.scripts.get(job)
            if script not in self.living:
                script = place.scripts[job] = self.new_process(number)
            hold = registry.new_hold(job, self.new_process(number) if owned else None, script, endpoint)
            with registry.Transaction(place.paths, create=True) as table:
                table.add(hold)
            private_directory(place.paths.scratch(job))
            place.holds[hold.id] = hold

    @rule(number=NODES, data=st.data())
    def release(self, number: int, data: st.DataObject) -> None:
        with self.at(number) as place:
            if place.holds:
                hold = data.draw(st.sampled_from(sorted(place.holds)))
                with registry.Transaction(place.paths) as table:
                    table.drop(hold)
                del place.holds[hold]

    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        if self.living:
            del self.living[data.draw(st.sampled_from(sorted(self.living)))]

    @rule(number=NODES)
    def reboot(self, number: int) -> None:
        """What was on the disk is there again; nothing that lived is."""
        self.places[number].boot += 1
        for place in self.places:
            if HOSTS[place.number] == HOSTS[number]:
                self._close(place)
                place.holds.clear()
                self.living = {process: home for process, home in self.living.items() if home != place.number}

    @rule(number=NODES, keep=st.floats(0, 1))
    def tear_the_registry(self, number: int, keep: float) -> None:
        with self.at(number) as place:
            path = Path(place.paths.registry)
            if not path.exists():
                return
            text = path.read_bytes()
            path.write_bytes(text[: int(keep * (len(text) - 1))])
            try:
                with registry.Transaction(place.paths):
                    raise AssertionError("a torn record was believed")
            except RecordBroken:
                place.holds.clear()

    # -- requests ----------------------------------------------------------------------------------------------------

    @rule(number=NODES, data=st.data())
    def ask_for(self, number: int, data: st.DataObject) -> None:
        with self.at(number) as place:
            if not self.alive(place):
                return
            hold = place.holds[data.draw(st.sampled_from(sorted(self.alive(place))))]
            request = Request(
                id=spool.new_id(),
                job=hold.job,
                owner=Owner(*hold.process),
                direction="in",
                deadline=2e9,
                created=1e9,
            )
            place.requests[spool.ask(place.paths, request)] = hold.job, "asked"

    @rule(number=NODES, data=st.data())
    def go_on(self, number: int, data: st.DataObject) -> None:
        """The desk submits it, and then gives its answer."""
        with self.at(number) as place:
            if not place.requests or place.wedged:
                return
            directory = data.draw(st.sampled_from(sorted(place.requests)))
            job, stage = place.requests[directory]
            name = {"asked": spool.BATCH, "begun": spool.RESULT}.get(stage)
            if name is not None:
                spool.write(directory, name, Result())
                place.requests[directory] = job, {"asked": "begun", "begun": "over"}[stage]

    @rule(number=NODES)
    def clear_up(self, number: int) -> None:
        """As a keeper does when it starts: the dead lose everything but what Globus works on, the living nothing."""
        with self.at(number) as place:
            with registry.Transaction(place.paths, create=True) as table:
                gone = clean.dead_jobs(place.config, table)
            gone.remove()
            jobs = self.live_jobs(place)
            place.holds = {name: hold for name, hold in place.holds.items() if name in self.alive(place)}
            place.requests = {
                directory: (job, stage)
                for directory, (job, stage) in place.requests.items()
                if job in jobs or stage == "begun"
            }
            assert set(os.listdir(place.paths.jobs)) == {os.path.basename(place.paths.scratch(job)) for job in jobs}

    # -- leases ------------------------------------------------------------------------------------------------------

    @rule(number=NODES)
    @precondition(lambda self: not all(place.leads for place in self.places))
    def lead(self, number: int) -> None:
        """One look at the pool, by a keeper that has the leader's lock."""
        with self.at(number) as place:
            if place.wedged or (place.leads and place.lease is not None):
                return
            if not place.leads:
                place.locks = [
                    os.open(place.paths.node_dir, os.O_RDONLY),
                    locks.open_file(place.paths.guard_lock),
                ]
                assert all(map(locks.try_lock, place.locks))
            if place.chooser is None:
                self.start += 1
                me = claim.who(place.config, Job("slurm", "alpha", f"j{self.start}", 0))
                answers = Ask(lambda endpoint: self.connected, lambda lease: lease.job in self.over)
                place.chooser = choose._Chooser(place.config, me, Inquiry(me, answers)), me
            self._look(place)

    def _look(self, place: Place) -> None:
        chooser, me = place.chooser
        before = {name: leases.top(self._directory(name)) for name in self.numbers}
        found = chooser.look(Queue(place.config.home_paths.pool("default"), me))
        note(f"{place.number} looked and found {found}")
        if found is None:
            assert not any(top is None or top.released for top in before.values())
            return
        top = before[found.entry]
        others = [other for other in self.places if other is not place and other.lease is not None]
        for other in others:
            assert other.lease is not None
            if other.lease.entry == found.entry:
                assert not self.runs_gcp(other), "two would have it"
                assert not self._is_owed(other), "it hangs, and its GCP is connected: nobody may have it"
        assert top is None or found.number == top.number + 1 or self._may_go_on(place, top)
        self.numbers[found.entry] = max(self.numbers[found.entry], found.number)
        place.lease, place.renewed = found, self.now

    def _is_owed(self, place: Place) -> bool:
        """Silence alone frees nothing: its GCP is seen, no scheduler says that its run is over, its number stands."""
        assert place.lease is not None
        is_top = self.numbers[place.lease.entry] == place.lease.number
        return place.wedged and self.connected and is_top and place.chooser[1].job not in self.over

    def _may_go_on(self, place: Place, top: Lease) -> bool:
        return top.place == place.chooser[1].place and not top.released

    @rule(number=NODES, looks=st.integers(3, 40), renewing=st.booleans(), connected=st.booleans())
    def wait(self, number: int, looks: int, renewing: bool, connected: bool) -> None:
        """Look again and again, while the others renew or are cut off."""
        self.connected = connected
        for _ in range(looks):
            self.lead(number)
            self.let_pass(12.0)
            if renewing:
                for other in self.places:
                    self.renew(other.number)

    @rule(number=NODES)
    def renew(self, number: int) -> None:
        with self.at(number) as place:
            if not place.leads or place.lease is None or place.wedged:
                return
            is_ours = self.numbers[place.lease.entry] == place.lease.number
            try:
                leases.renew(place.lease)
                assert is_ours
                self.stamp(place.lease.path)
                place.renewed = self.now
            except LeaseLost:
                assert not is_ours
                place.lease = None

    @rule(number=NODES)
    def give_back(self, number: int) -> None:
        with self.at(number) as place:
            if place.leads and place.lease is not None and not place.wedged:
                leases.give_back(place.lease)
                self._close(place)

    @rule(number=NODES, told=st.booleans())
    def kill_the_leader(self, number: int, told: bool) -> None:
        """With its job; the scheduler knows, or does not."""
        place = self.places[number]
        if place.leads and told and place.chooser is not None:
            self.over.add(place.chooser[1].job)
        self._close(place)

    @rule(number=NODES, looks=st.integers(0, 40), connected=st.booleans())
    def wedge(self, number: int, looks: int, connected: bool) -> None:
        """The leader hangs, as when it is stopped: nothing is renewed, and no lock is let go. All others want it."""
        if self.places[number].leads:
            self.places[number].wedged = True
            for other in self.places:
                self.wait(other.number, looks, True, connected)

    @rule(number=NODES)
    def wake(self, number: int) -> None:
        """It goes on where it was: the first that it does is to see whether the lease is still its own."""
        self.places[number].wedged = False
        self.renew(number)

    def _close(self, place: Place) -> None:
        place.wedged = False
        while place.locks:
            os.close(place.locks.pop())
        place.lease = place.chooser = None

    @rule(entry=st.sampled_from(ENTRIES), keep=st.floats(0, 1))
    def tear_a_lease(self, entry: str, keep: float) -> None:
        """It is respected as somebody's, until it has been silent for long."""
        top = leases.top(self._directory(entry)) if entry in self.numbers else None
        if top is not None:
            path, stamp = Path(top.path), os.stat(top.path)
            path.write_bytes(path.read_bytes()[: int(keep * (stamp.st_size - 1))])
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    @rule(seconds=st.sampled_from((1.0, 20.0, 60.0, 190.0, 400.0)))
    def let_pass(self, seconds: float) -> None:
        self.now += seconds

    @rule(hours=st.floats(-9, 9))
    def set_the_clock(self, hours: float) -> None:
        self.offset = hours * 3600.0

    def _directory(self, entry: str) -> str:
        return f"{self.top}/home/pool/default/{entry}"

    # -- what is always true -----------------------------------------------------------------------------------------

    @invariant()
    def a_step_is_counted(self) -> None:
        LIVED["steps"] += 1

    @invariant()
    def the_count_is_that_of_the_holds_that_live(self) -> None:
        for place in self.places:
            with self.at(place.number), registry.Transaction(place.paths, create=True) as table:
                lives = registry.lives_at(place.paths)
                assert {hold.id for hold in table if lives(hold)} == self.alive(place)

    @invariant()
    def an_endpoint_runs_at_one_place(self) -> None:
        for name in self.numbers:
            running = [
                place.number
                for place in self.places
                if place.lease is not None and place.lease.entry == name and self.runs_gcp(place)
            ]
            assert len(running) <= 1, f"{name} runs at {running}"

    @invariant()
    def numbers_only_grow(self) -> None:
        for name in self.numbers:
            found = leases.numbers(self._directory(name))
            assert (found[-1] if found else 0) == self.numbers[name]

    @invariant()
    def no_request_is_lost(self) -> None:
        for place in self.places:
            assert set(spool.directories(place.paths.spool)) == set(place.requests)


TestLife = Machine.TestCase
TestLife.settings = hypothesis.settings(
    max_examples=int(os.environ.get("NODEXFER_EVERY_POINT") or 0) * 400 or 25, stateful_step_count=40, deadline=None
)
