"""The keeper: one small process per job and place, which holds for its job, and leads when it gets the lock.

    python -m nodexfer.node.keeper READY PID START NAMESPACE SCHEDULER CLUSTER ID RUN

It sleeps until its bell rings, a process that a hold lives by ends (a pidfd), or 5 s have passed; then it looks. It
looks at the node's own disk only. It ends under the registry's lock, and only when no hold of its job lives:

    a process of a hold ends    the hold is dropped
    the registry is new         one was set aside as broken: the holds that live are brought in again
    work waits                  wait for the leader's lock, in a thread; lead (:mod:`nodexfer.node.leader`)
    the leader is silent        end it, so that the lock comes to who waits (:mod:`nodexfer.node.silence`)
    no hold is left             step down if leading; take the job's things away; end
    SIGTERM, SIGINT, SIGHUP     step down if leading (the job is about to be killed), and stay: the job may still hold
    the node_dir was removed    stop GCP, end: a new directory at the path is a new place with keepers of its own

It stays in the session and the process group of the command that started it: the scheduler finds it there, and ends it
with its job. SIGKILL leaves its files; any command of the job starts another, and when the job is dead too, the next
keeper that looks takes them away.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.config import Config, load
from nodexfer.errors import NodeDirRemoved, NodexferError, RecordBroken
from nodexfer.identity import ProcessId, boot_id
from nodexfer.node import clean, locks, registry, silence, work
from nodexfer.node.alarm import Alarm
from nodexfer.node.endpoint import left_behind
from nodexfer.node.hold import HELD, HOLDS, NOTHING
from nodexfer.node.leadership import Leadership
from nodexfer.node.log import say
from nodexfer.scheduler import Job

#: Between two looks at most; a leader's heart beats then. Six beats must be missing before it is called silent.
TICK_SECONDS = 5.0
BEATS = 6
#: The last one of a place takes at most this long to give back what a killed leader had, and to end dead jobs' tasks.
TIDY_SECONDS = 25.0


class Keeper:
    """One job's keeper at one place. The main thread; another one leads."""

    def __init__(self, config: Config, job: Job, script: ProcessId) -> None:
        self.config = config
        self.job = job
        self.script = script
        self.paths = config.node_paths
        self.holds: list[registry.Hold] = []
        self._generation = ""
        self._stamp = (0, 0)
        self._lock = -1
        self._told_to_go = False
        self._tidy: Deadline | None = None
        self.alarm = Alarm()
        self.leadership = Leadership(config, job, self.alarm.wake)
        self._tick = min(TICK_SECONDS, config.silence / BEATS)
        self._leader = silence.Watch(self.paths, config.silence, self._tick)

    def begin(self) -> bytes:
        """Become the job's keeper, exactly one of those that try; what to tell the command that waits.

        :raises NodexferError: the place can not be used.
        """
        with registry.Transaction(self.paths) as table:
            lives = registry.lives_at(self.paths)
            self.holds = [hold for hold in table.of(self.job.key) if lives(hold)]
            if not self.holds:
                return NOTHING
            lock = locks.open_file(self.paths.keeper(self.job.key))
            if not locks.try_lock(lock):
                os.close(lock)
                return HELD
            registry.write_keeper(lock, self._card())
            self.alarm.hang(self.paths.keeper_bell(self.job.key))
            self._lock, self._generation = lock, table.generation
        self.alarm.watch(hold.process for hold in self.holds)
        return HOLDS

    def _card(self) -> registry.Keeper:
        return registry.Keeper(boot_id(), procs.this(), self.script, self.job, time.time())

    def run(self) -> None:
        """Keep until no hold is left."""
        self._clear_up()
        while not self._look():
            self.alarm.sleep(self._tick)

    def told_to_go(self) -> None:
        self._told_to_go = True
        self.alarm.wake()

    # -- looking -----------------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Look once, and do what is to be done; True when it is over."""
        self.leadership.beat()
        try:
            self._check_place()
            self._refresh()
            if self._told_to_go:
                self._told_to_go = False
                self.leadership.step_down()
            if not self.holds:
                return self._end()
            self._tidy = None
            self.leadership.resume()
            self.leadership.want(self.holds)
            self._watch_leader()
        except NodeDirRemoved as error:
            say(f"ending: {error}")
            self.leadership.give_up(10.0)
            return True
        except (NodexferError, OSError) as error:  # a full disk, a newer registry: later it may be better
            say(f"can not look: {error}")
            self.alarm.news = True
        return False

    def _check_place(self) -> None:
        if not locks.same(self._lock, self.paths.keeper(self.job.key)):
            raise NodeDirRemoved(f"{self.paths.keeper(self.job.key)} is not the file that this keeper has locked.")

    def _watch_leader(self) -> None:
        """We wait for the lock: see that who has it lives, and can do something for those who wait."""
        if not self.leadership.waits:
            self._leader.forget()
            return
        heart = self._leader.look()
        if heart is None:
            return
        silence.end(self.paths, heart)
        error = silence.blocked(self.paths)
        if error is not None:
            work.refuse_impatient(self.paths, self.job.key, error, begun=False)

    def _refresh(self) -> None:
        """Learn of new holds, drop dead ones. Only where the registry has changed or a process has ended."""
        try:
            found = os.stat(self.paths.registry)
            stamp = (found.st_mtime_ns, found.st_ino)
        except FileNotFoundError:
            stamp = (0, 0)
        if stamp == self._stamp != (0, 0) and not self.alarm.news:
            return
        # Noted before it is read: a change between the two is seen by the next look, not missed for ever.
        self._stamp, self.alarm.news = stamp, False
        try:
            self._synchronise()
        except RecordBroken as error:  # set aside now: what we know goes into a new one
            say(str(error))
            self._synchronise()
        self.alarm.watch(hold.process for hold in self.holds)

    def _synchronise(self) -> None:
        lives = registry.lives_at(self.paths)
        with registry.Transaction(self.paths) as table:
            if table.generation != self._generation:
                self._check_place()  # a place that was removed, and made anew by others, is theirs
                say("the registry is new: bringing in the holds of this job again")
                for hold in self.holds:
                    if hold.id not in table and lives(hold):
                        table.add(hold)
                self._generation = table.generation
            dropped = table.prune(lives, self.job.key)
            self.holds = table.of(self.job.key)
        for hold in dropped:
            say(f"hold {hold.id} is over: process {hold.process.pid} has ended")

    # -- ending ------------------------------------------------------------------------------------------------------

    def _clear_up(self) -> None:
        try:
            with registry.Transaction(self.paths) as table:
                gone = clean.dead_jobs(self.config, table)
            gone.remove()
        except NodexferError as error:
            say(f"can not clean: {error}")

    def _end(self) -> bool:
        """End, unless a hold has come: then False. A leader steps down first, which wakes us when it is done."""
        if self._tidy is not None and not self._tidy.passed and self.leadership.running:
            return False
        if not self.leadership.retire():
            return False
        if self._must_tidy():
            self.leadership.tidy()
            return False
        lives = registry.lives_at(self.paths)
        with registry.Transaction(self.paths) as table:
            table.prune(lives, self.job.key)
            self.holds = table.of(self.job.key)
            if self.holds:
                return False
            gone = clean.job(self.config, self.job.key)
            self.alarm.take_down()
            clean.keeper_files(self.paths.keeper(self.job.key))
            if not any(lives(hold) for hold in table) and not clean.keepers(self.paths):
                rest = clean.everything(self.config, table)
                gone.paths.extend(rest.paths)
                gone.requests.extend(rest.requests)
        # Not before: where the registry can not be written now, we look once more, and know our file by it.
        os.close(self._lock)
        gone.remove()
        clean.roots(self.config)
        return True

    def _must_tidy(self) -> bool:
        """The last one gives back what a killed leader had, and ends what Globus has of anybody's requests: once."""
        if self.leadership.in_vain or not (left_behind(self.paths) or work.submitted(self.paths)):
            return False
        with registry.Transaction(self.paths) as table:
            lives = registry.lives_at(self.paths)
            if any(lives(hold) for hold in table):
                return False
        if self._tidy is None:
            self._tidy = Deadline(TIDY_SECONDS)
        return not self._tidy.passed


def main(arguments: list[str]) -> int:
    """Become a child of nobody (a Python program that holds has no child to wait for), then keep."""
    answer = int(arguments[0])
    script = ProcessId(*map(int, arguments[1:4]))
    scheduler, cluster, number, run = arguments[4:]
    job = Job(scheduler, cluster, number, int(run))
    if os.fork():
        os._exit(0)
    keeper = Keeper(load(), job, script)
    for order in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(order, lambda *_: keeper.told_to_go())
    said = keeper.begin()
    os.write(answer, said)
    os.close(answer)
    if said == HOLDS:
        keeper.run()
    sys.stderr.flush()
    # Not by way of sys.exit: a thread may wait in flock(2) for a lock that nobody wants any more.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
