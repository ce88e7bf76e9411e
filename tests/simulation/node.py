"""A node of a simulation: its jobs, the leader's term, and what may happen to it. All decisions are the product's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from nodexfer.clock import Deadline
from nodexfer.errors import NodexferError, ServiceRefused
from nodexfer.identity import ProcessId
from nodexfer.node import registry, renewal
from nodexfer.node.work import Waiting
from nodexfer.pool import choose
from nodexfer.pool import lease as leases
from nodexfer.pool.ask import Ask, Inquiry
from nodexfer.pool.lease import Lease, Me
from nodexfer.pool.waiting import Demand
from nodexfer.staging import batches, fence
from tests.simulation.pool import Line
from tests.simulation.service import VirtualTask

if TYPE_CHECKING:
    from tests.simulation.world import World

#: Seconds: a keeper becomes leader; GCP connects; the linger; the desk notices the end of a task; mending is given up.
TAKE_OVER, CONNECT, LINGER, POLL, GIVE_UP = 0.05, 2.0, 300.0, 0.5, 60.0
#: The leader's turn, in which it looks whether somebody waits for its idle endpoint.
TURN = 1.0


class Plan(NamedTuple):
    """What a job does: it stages in, computes, stages out, ends. Seconds; ``patience`` is the walltime."""

    number: int
    arrives: float
    stage_in: float
    compute: float
    stage_out: float
    patience: float


class Request:
    def __init__(self, job: Job, direction: str, seconds: float, created: float, deadline: float) -> None:
        self.job = job
        self.direction = direction
        self.seconds = seconds
        self.waiting = Waiting("", created, None, deadline)
        self.ready_since = created
        self.task: VirtualTask | None = None
        self.outcome: str | None = None


class Job:
    def __init__(self, plan: Plan, hold: registry.Hold) -> None:
        self.plan = plan
        self.hold = hold
        self.key = hold.job
        self.request: Request | None = None
        self.lives = True


class Node:
    """One host with one place. Its timers stand still while it is suspended, and are gone when it dies."""

    def __init__(self, world: World, number: int, cluster: str, host: str) -> None:
        self.world = world
        self.clock = world.clock
        self.number = number
        self.cluster = cluster
        self.host = host
        self.boots = 0
        self.place = f"place-{number}"
        self.jobs: dict[str, Job] = {}
        self.table = registry.Table("", {})
        self.term: Term | None = None
        #: Tasks that a dead leader's desk has left on disk go on under the same lease.
        self.moves: dict[VirtualTask, list[Request]] = {}
        #: The lease of a leader that did not give it back.
        self.left: Lease | None = None
        self.is_dead = False
        self.frozen_until = self.stalled_until = self.cut_until = self.told_until = 0.0
        self.unreachable_since = self.woke = float("-inf")

    def __str__(self) -> str:
        return f"{self.cluster}/{self.host}"

    # -- time --------------------------------------------------------------------------------------------------------

    @property
    def is_frozen(self) -> bool:
        return self.clock.now < self.frozen_until

    @property
    def is_reachable(self) -> bool:
        return not self.is_dead and not self.is_frozen and self.clock.now >= self.cut_until

    def after(self, seconds: float, what: Callable[[], None], late: float = 0.0) -> None:
        """In ``seconds``, in this boot; while we are suspended, ``late`` after we wake."""
        boot = self.boots

        def fire() -> None:
            if self.boots != boot or self.is_dead:
                return
            if self.is_frozen:
                self.clock.at(self.frozen_until + late, fire)
            else:
                what()

        self.clock.after(seconds, fire)

    def on_shared(self, what: Callable[[], None]) -> None:
        """A step on the shared file system: it hangs as long as that does."""
        if self.clock.now < self.stalled_until:
            self.after(self.stalled_until - self.clock.now, lambda: self.on_shared(what))
        else:
            what()

    # -- jobs --------------------------------------------------------------------------------------------------------

    def arrive(self, plan: Plan) -> None:
        """A job starts, if there is a node to start on."""
        if self.is_dead:
            self.world.never(plan)
            return
        key = f"slurm-{self.cluster}-{plan.number}.0"
        # Of another pid namespace: then the keeper says whether it lives, which here is the simulation.
        script = ProcessId(plan.number, plan.number, -1)
        job = self.jobs[key] = Job(plan, registry.new_hold(key, None, script, False))
        self.table.add(job.hold)
        self.ask(job, "in", plan.stage_in)
        self.count()

    def ask(self, job: Job, direction: str, seconds: float) -> None:
        now = self.clock.now
        request = job.request = Request(job, direction, seconds, now, job.plan.arrives + job.plan.patience)
        self.world.asked(request)
        self.after(max(0.0, request.waiting.deadline - now), lambda: self.expire(request))
        if self.term is None:
            self.elect()
        else:
            self.term.pump()

    def expire(self, request: Request) -> None:
        if request.outcome is None and request.waiting.is_out_of_patience(self.clock.now):
            self.leave(request)
            self.answer(request, "DeadlinePassed")

    def leave(self, request: Request) -> None:
        """It is no more part of its task, which ends with its last request."""
        task, request.task = request.task, None
        if task is None:
            return
        self.moves[task].remove(request)
        if not self.moves[task]:
            del self.moves[task]
            self.call_off(task)

    def call_off(self, task: VirtualTask) -> None:
        """As the desk asks for a task's end: whether the service does so or not."""
        try:
            self.world.service.cancel(task.id)
        except ServiceRefused:
            pass

    def answer(self, request: Request, outcome: str) -> None:
        """The request is over, and its job goes on."""
        self.world.ended(request, outcome)
        job = request.job
        job.request = None
        if request.direction == "in" and outcome == "done":
            self.after(job.plan.compute, lambda: self.compute_ended(job))
        else:
            self.end(job)

    def compute_ended(self, job: Job) -> None:
        if job.lives:
            self.ask(job, "out", job.plan.stage_out)

    def end(self, job: Job) -> None:
        """It releases its hold; its keeper ends, and steps down if it leads."""
        self.forget(job)
        if self.term is not None and self.term.job is job:
            self.term.step_down()
        elif not self.jobs:
            self.tidy()

    def kill(self, job: Job) -> None:
        """SIGKILL to all that is the job's. The desk finds its request without an owner."""
        self.forget(job)
        if job.request is not None:
            self.leave(job.request)
            self.world.ended(job.request, "owner dead")
        if self.term is not None and self.term.job is job:
            self.term.die()
            self.after(TAKE_OVER, self.elect)

    def forget(self, job: Job) -> None:
        job.lives = False
        del self.jobs[job.key]
        dead = self.table.prune(self.lives)
        self.world.promises.require([hold.job for hold in dead] == [job.key], f"{self} dropped {dead}")
        self.world.over.add(job.key.rpartition("-")[2])
        self.count()

    def lives(self, hold: registry.Hold) -> bool:
        return registry.lives(hold, lambda key: key in self.jobs and self.jobs[key].lives)

    def count(self) -> None:
        """The reference count is that of the jobs that live."""
        held = sum(map(self.lives, self.table))
        self.world.promises.require(held == len(self.jobs), f"{self} counts {held} holds of {len(self.jobs)} jobs")

    def waiting(self) -> list[Request]:
        found = [job.request for job in self.jobs.values()]
        return [request for request in found if request is not None and request.outcome is None]

    # -- leading -----------------------------------------------------------------------------------------------------

    def elect(self) -> None:
        """The keeper of any job with work gets the lock."""
        wanting = [request.job for request in self.waiting()]
        if self.term is None and wanting:
            self.term = Term(self, self.world.random.choice(wanting))
            self.term.look()

    def succeed(self) -> None:
        """Who waited for a leader's lock has it, with work or without."""
        self.elect()
        if self.term is None:
            self.tidy()

    def tidy(self) -> None:
        """Give back what a leader has left: who leads and has nothing to do, or the last keeper, if it is in time."""
        lease, self.left = self.left, None
        if lease is not None and self.term is None:
            self.on_shared(lambda: self.world.leases.give_back(lease))

    # -- what may happen to it ---------------------------------------------------------------------------------------

    def die(self, reboot_in: float | None) -> None:
        """The power goes. What was on its disk stays, if it comes back."""
        if self.term is not None:
            self.term.die()
        for job in list(self.jobs.values()):
            if job.request is not None:
                job.request.task = None
                self.world.ended(job.request, "owner dead")
                job.request = None
            self.forget(job)
        self.moves.clear()
        self.is_dead = True
        self.boots += 1
        if reboot_in is not None:
            self.clock.after(reboot_in, self.boot)

    def boot(self) -> None:
        """/tmp was cleared, or was not."""
        self.is_dead = False
        if self.world.random.random() < 0.5:
            self.place += "'"

    def freeze(self, seconds: float) -> None:
        """Every process of ours is suspended."""
        self.frozen_until = self.unreachable_since = self.clock.now
        self.frozen_until += seconds
        self.world.service.look()
        self.clock.after(seconds, self.wake)

    def wake(self) -> None:
        if self.is_frozen or self.is_dead:
            return
        self.woke = self.clock.now
        self.world.promises.woke(self)
        self.world.service.look()

    def stall(self, seconds: float) -> None:
        """The shared file system does not answer us."""
        self.stalled_until = max(self.stalled_until, self.clock.now + seconds)

    def cut(self, seconds: float, *, told: bool) -> None:
        """The service does not see our GCP; told: we can ask it, and learn so."""
        if self.is_reachable:
            self.unreachable_since = self.clock.now
        self.cut_until = max(self.cut_until, self.clock.now + seconds)
        self.world.service.look()
        self.clock.at(self.cut_until, self.world.service.look)
        self.told_until = max(self.told_until, self.cut_until if told else 0.0)
        if self.term is not None:
            self.term.watch_the_service()


class Term:
    """One term of a leader (:mod:`nodexfer.node.leader`), whose steps take virtual time."""

    def __init__(self, node: Node, job: Job) -> None:
        self.node = node
        self.world = node.world
        self.clock = node.clock
        self.job = job
        self.over = False
        self.lease: Lease | None = None
        self.until = 0.0
        self.is_live = self.is_ready = False
        self.last_work = self.clock.now
        boot = f"boot-{node.number}-{node.boots}"
        number = job.key.rpartition("-")[2].partition(".")[0]
        self.me = Me("slurm", node.cluster, node.host, boot, node.place, "", number, 0)
        self.line = Line(self.world.stamps, self.clock, self.me)
        self.demand = Demand(["pool"], node.place)
        self.asked = float("-inf")
        ask = Ask(self.world.service.connected, self.world.run_over)
        # What the chooser wants of a configuration is in the world.
        self.passed = choose.PassedOver()
        self.chooser = choose._Chooser(self.world.config, self.me, Inquiry(self.me, ask), self.passed)
        self.pause = choose.FIRST_PAUSE

    def after(self, seconds: float, what: Callable[[], None], late: float = 0.0) -> None:
        self.node.after(seconds, lambda: None if self.over else what(), late)

    def shared(self, what: Callable[[], None]) -> None:
        self.node.on_shared(lambda: None if self.over else what())

    # -- a lease -----------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """As :func:`nodexfer.pool.choose.acquire` does, with the pauses in virtual time."""
        began = self.clock.now
        self.shared(lambda: self._look(began))

    def _look(self, began: float) -> None:
        name = self.line.name
        found = self.chooser.look(self.line)
        if found is not None:
            if found.number != self.world.continued.get(found.directory):
                name = name or f"{self.clock.now * 1000:015.0f}"
                self.world.promises.served(name, self.world.stamps, self.world.leases.free)
            self.world.continued[found.directory] = found.number
            self.line.leave()
            self.begin(found, began)
            return
        if not self.node.waiting():
            self.finish()
            return
        self.line.join()
        self.after(self.pause, self.look)
        self.pause = min(choose.LAST_PAUSE, self.pause * 1.5)

    def begin(self, lease: Lease, began: float) -> None:
        self.lease, self.node.left = lease, None
        self.until = began + leases.allowance(lease)
        for task in [task for task in self.node.moves if (task.endpoint, task.lease) != self._mark]:
            for request in self.node.moves.pop(task):
                request.task, request.ready_since = None, self.clock.now
            self.node.call_off(task)
        if lease.number not in self.world.fenced.get(lease.endpoint_id, ()):
            left = fence.fence(self.world.service, lease.endpoint_id, lease.number, Deadline(60.0))  # type: ignore[arg-type]
            if left is not None:
                self.pass_over(lease, left.error)
                return
            self.world.fenced[lease.endpoint_id] = {lease.number}
        self.after(lease.duration * leases.RENEW, self.renew)
        self.start()

    def pass_over(self, lease: Lease, error: NodexferError) -> None:
        """As :mod:`nodexfer.node.fencing` does, and the leader after it."""
        self.lease = None
        self.passed.add(lease.directory, error)
        self.world.passed += 1
        last = not choose.has_another(self.world.config, lease, self.passed)
        self.shared(lambda: self._passed(lease._replace(trouble=error.message), last))

    def _passed(self, lease: Lease, last: bool) -> None:
        self.world.leases.give_back(lease)
        if last:
            for request in self.node.waiting():
                self.node.leave(request)
                self.node.answer(request, "EndpointFailed")
            self.step_down()
        else:
            self.look()

    @property
    def _mark(self) -> tuple[str, int]:
        assert self.lease is not None
        return self.lease.endpoint_id, self.lease.number

    def renew(self) -> None:
        began = self.clock.now
        self.shared(lambda: self._renewed(began))

    def _renewed(self, began: float) -> None:
        if self.lease is None:  # it hung until we had ended
            return
        if not self.world.leases.renew(self.lease):
            self.stop_gcp()
            self.lease = None
            self.look()
            return
        self.until = began + leases.allowance(self.lease)
        if not self.is_live:
            self.start()
        self.after(self.lease.duration * leases.RENEW, self.renew)

    # -- GCP ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """It is live from now on, and seen by the service in a while. Not without an allowance."""
        if self.is_live or self.clock.now >= self.until:
            return
        assert self.lease is not None
        endpoint, number = self._mark
        strangers = self.world.service.foreign(endpoint, number)
        self.world.promises.require(strangers == 0, f"{endpoint} connects with {strangers} tasks of another lease")
        self.is_live = True
        self.world.promises.goes_live(endpoint, self.node)
        self.guard()
        lease = self.lease
        self.after(CONNECT, lambda: self.connected(lease))

    def guard(self) -> None:
        """The watchdog that touches no shared file: when the allowance is over, GCP is. It may wake late."""
        if not self.is_live:
            return
        if self.clock.now >= self.until:
            self.stop_gcp()
            return
        late = self.world.random.uniform(0.0, 5.0)
        self.after(self.until - self.clock.now, self.guard, late)

    def connected(self, lease: Lease) -> None:
        if not self.is_live or self.is_ready or self.lease is not lease:
            return
        endpoint, _ = self._mark
        self.world.service.connect(endpoint, self.node)
        self.is_ready = True
        self.last_work = self.clock.now
        for task in [task for task in self.node.moves if task.status != "ACTIVE"]:
            settle(self.node, task)
        self.pump()
        self.turn()
        self.watch_the_service()

    def stop_gcp(self) -> None:
        if self.is_live:
            endpoint, _ = self._mark
            self.is_live = self.is_ready = False
            self.world.promises.goes_away(endpoint, self.node)
            self.world.service.disconnect(endpoint, self.node)

    def watch_the_service(self) -> None:
        """Not seen for a minute, mended once: given up, in words."""
        if self.is_live and self.clock.now < self.node.told_until:
            self.after(GIVE_UP, self.give_up)

    def give_up(self) -> None:
        if self.is_live and self.clock.now < self.node.told_until:
            for request in self.node.waiting():
                self.node.leave(request)
                self.node.answer(request, "EndpointFailed")
            self.step_down()

    # -- the desk ----------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Put what is ready into tasks, as :meth:`nodexfer.staging.work.Work._submit` does."""
        if not self.is_ready or self.over:
            return
        ready = [request for request in self.node.waiting() if request.task is None]
        for direction in sorted({request.direction for request in ready}):
            group = sorted(
                (request for request in ready if request.direction == direction),
                key=lambda request: request.waiting.deadline,
            )
            alike = sum(moved[0].direction == direction for moved in self.node.moves.values())
            age = self.clock.now - min(request.ready_since for request in group)
            crowd = len({request.job.key for request in self.node.waiting()}) > 1
            wait = batches.wait_before_submit(age, alike, len(self.node.moves), company=False, crowd=crowd)
            if wait is None:
                continue
            if wait > 0:
                # Rounded up: a timer that fires just before its time would be set for ever.
                self.after(wait + 0.001, self.pump)
            else:
                self.submit(group[: batches.fill([1] * len(group))])

    def submit(self, group: list[Request]) -> None:
        endpoint, number = self._mark
        name = f"{self.world.service.tasks:08d}"
        seconds = sum(request.seconds for request in group) + 1.0
        task = self.world.service.submit(endpoint, number, batches.label(endpoint, number, name), seconds)
        for request in group:
            request.task = task
        self.node.moves[task] = group
        self.world.promises.submits(self.node, len(self.node.moves))
        node = self.node
        task.ended = lambda ended: node.after(POLL, lambda: settle(node, ended))

    # -- the end -----------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Idle for the linger time, or idle while somebody waits: given back."""
        if not self.is_ready:
            return
        if self.node.waiting():
            self.last_work = self.clock.now
        idle = self.clock.now - self.last_work
        if idle >= LINGER or (idle > 0 and self.is_wanted_elsewhere()):
            self.finish()
        else:
            self.after(TURN, self.turn)

    def is_wanted_elsewhere(self) -> bool:
        """As the thread that renews asks (:mod:`nodexfer.node.renewal`)."""
        if self.clock.now - self.asked < renewal.LOOK_SECONDS:
            return False
        self.asked = self.clock.now
        return self.demand.look()

    def step_down(self) -> None:
        """The leader's job ends: the lease stays where others have work."""
        if self.node.waiting():
            self.die()
            self.node.after(TAKE_OVER, self.node.succeed)
        else:
            self.finish()

    def die(self) -> None:
        """Gone from one moment to the next, and GCP with it."""
        self.stop_gcp()
        self.over = True
        self.node.term, self.node.left = None, self.lease

    def finish(self) -> None:
        """GCP stopped, lease given back: on a file system that may hang."""
        self.stop_gcp()
        self.line.leave()
        lease, self.lease = self.lease, None
        node = self.node

        def back() -> None:
            if lease is not None:
                self.world.leases.give_back(lease)
            if node.term is self:
                self.over = True
                node.term = None
                node.elect()

        node.on_shared(back)


def settle(node: Node, task: VirtualTask) -> None:
    """The desk learns that a task is over; where there is none, the next one does."""
    if node.term is None or not node.term.is_ready:
        return
    for request in node.moves.pop(task, []):
        request.task = None
        if task.status == "SUCCEEDED":
            node.answer(request, "done")
        else:
            request.ready_since = node.clock.now
    if node.term is not None:
        node.term.pump()
