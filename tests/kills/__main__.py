"""Kill workers, managers and whole blocks of a Parsl workflow at random, and see that nothing is lost and nothing left.

    python -m tests.kills --rounds 50 --seed 1

Every round submits apps that share an input and send an output each, kills something while they run, and waits for all
of them: each ends in its result, with its output whole at the site, or in an error that has a name. At the end nothing
is left on the node: no hold, no scratch, no request, no lease, no process but those of Parsl's own.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import parsl
from parsl.config import Config
from parsl.data_provider.files import File
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.errors import NodexferError
from nodexfer.identity import ProcessId, parents_now
from nodexfer.integrations.parsl import LAUNCH_CMD, storage_access
from nodexfer.sandbox.demo.leftovers import files, processes
from nodexfer.sandbox.demo.offline import Offline, offline
from tests.support import apps
from tests.support.parsl import local
from tests.support.waiting import eventually

APPS = 8
SIZE = 200_000
#: Seconds for a round's futures, and for a node to be clean.
LONG = 300.0
NAMED = (WorkerLost, ManagerLost, NodexferError)


class Round(NamedTuple):
    number: int
    victim: str
    executor: str
    outcomes: collections.Counter[str]


def executor(label: str, launch_cmd: str | None) -> Any:
    """One block of two workers at a time. That a block ends in failure is what we do: it is no reason to give up."""
    return HighThroughputExecutor(
        label=label,
        address="127.0.0.1",
        max_workers_per_node=2,
        cores_per_worker=0.01,
        heartbeat_period=1,
        heartbeat_threshold=8,
        poll_period=100,
        block_error_handler=False,
        launch_cmd=launch_cmd,
        storage_access=storage_access(overwrite=True),
        provider=local(),
    )


class Killing:
    def __init__(self, user: Offline, kernel: Any, seed: int) -> None:
        self.user = user
        self.kernel = kernel
        self.random = random.Random(seed)

    def round(self, number: int) -> Round:
        label = self.random.choice(["plain", "wrapped"])
        victim = self.random.choice(["worker", "worker", "manager", "block", "block at once"])
        futures = [self._submit(label, number, one) for one in range(APPS)]
        manager = eventually(lambda: self._managers(label), LONG)[0]
        time.sleep(self.random.uniform(0.0, 2.0))
        self._kill(victim, manager)
        if victim != "worker":
            self._replace(label)
        outcomes = [self._outcome(future, number, one) for one, future in enumerate(futures)]
        return Round(number, victim, label, collections.Counter(outcomes))

    def _submit(self, label: str, number: int, one: int) -> Future[Any]:
        upper: Any = apps.upper
        submitted: Future[Any] = parsl.python_app(upper.func, executors=[label])(
            inputs=[File("nodexfer://site/shared"), File(f"nodexfer://site/in/{number % 3}")],
            outputs=[File(f"nodexfer://site/out/{number}-{one}")],
        )
        return submitted

    def _managers(self, label: str) -> list[ProcessId]:
        """Of this executor's blocks, by its port in their arguments; the latest first: one before it may be ending."""
        port = f"--port={self.kernel.executors[label].worker_port}"
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
                if port.encode() in words and words[1].endswith(b"process_worker_pool.py"):
                    found.append(ProcessId.of(int(name)))
            except (OSError, IndexError):
                pass
        return sorted(found, key=lambda process: process.start, reverse=True)

    def _kill(self, victim: str, manager: ProcessId) -> None:
        if victim == "worker":
            self._kill_worker(manager)
        elif victim == "manager":
            procs.signal(manager, signal.SIGKILL)
        else:
            try:
                os.killpg(os.getpgid(manager.pid), signal.SIGTERM if victim == "block" else signal.SIGKILL)
            except ProcessLookupError:  # it has ended by itself
                pass

    def _kill_worker(self, manager: ProcessId) -> None:
        """One that is at work for us; none where they are done already.

        Not an idle one: it may have the lock of its manager's queue (multiprocessing's), which then nobody gets again.
        """
        deadline = Deadline(5.0)
        while not deadline.passed:
            workers = [ProcessId.of(pid) for pid, parent in parents_now().items() if parent == manager.pid]
            self.random.shuffle(workers)
            for worker in workers:
                procs.signal(worker, signal.SIGSTOP)
                if self._works(worker):
                    procs.signal(worker, signal.SIGKILL)
                    return
                procs.signal(worker, signal.SIGCONT)

    def _works(self, worker: ProcessId) -> bool:
        """While its app has inputs it has their locks open."""
        try:
            names = [os.readlink(f"/proc/{worker.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{worker.pid}/fd")]
        except OSError:
            return False
        return any(name.startswith(self.user.stage.node_dir) and name.endswith(".lock") for name in names)

    def _replace(self, label: str) -> None:
        found = self.kernel.executors[label]
        found.scale_in_facade(len(found.blocks_to_job_id))
        found.scale_out_facade(1)

    def _outcome(self, future: Future[Any], number: int, one: int) -> str:
        """:raises AssertionError: it never ends, ends in an error without a name, or its output is not whole."""
        error = future.exception(LONG)
        sent = Path(self.user.stage.site, f"out/{number}-{one}")
        if error is None:
            assert sent.read_bytes() == b"S" * SIZE, f"the output {sent.name} is not whole"
            return "done"
        assert isinstance(error, NAMED), f"app {number}-{one} ended in {error!r}"
        assert not sent.exists() or sent.read_bytes() == b"S" * SIZE, f"half of {sent.name} is at the site"
        return type(error).__name__


def holders_live(user: Offline) -> bool:
    try:
        record = json.loads(Path(user.stage.node_dir, "registry.json").read_text())
    except FileNotFoundError:
        return True
    return all(ProcessId(*hold["owner"]).alive for hold in record["holds"].values())


def left(user: Offline) -> list[str]:
    """What is of ours on the node and at the site; Parsl's own helpers are ended."""
    ours = []
    for found in processes(f"NODEXFER_NODE_DIR={user.stage.node_dir}", []):
        if "multiprocessing" in found.words:  # a manager that is killed leaves them
            procs.kill_tree([ProcessId.of(found.pid)])
        else:
            ours.append(str(found))
    return [*ours, *map(str, files(user.stage.node_dir, user.stage.site))]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args(arguments)
    directory = tempfile.mkdtemp(prefix="kills-")
    total: collections.Counter[str] = collections.Counter()
    try:
        with offline(directory, endpoints=1, prefix="kills") as user:
            os.environ.update(user.environment)
            os.environ.update(
                NODEXFER_LINGER="1",
                NODEXFER_TIME="3600",
                PATH=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
                PYTHONPATH=str(Path(__file__).parents[2]),
            )
            site = Path(user.stage.site)
            (site / "in").mkdir()
            (site / "shared").write_bytes(b"s" * SIZE)
            for number in range(3):
                (site / f"in/{number}").write_bytes(b"x" * SIZE)
            executors = [executor("plain", None), executor("wrapped", LAUNCH_CMD)]
            config = Config(executors, run_dir=f"{directory}/run", strategy="none", usage_tracking=0)
            with parsl.load(config) as kernel:
                killing = Killing(user, kernel, wanted.seed)
                for number in range(wanted.rounds):
                    done = killing.round(number)
                    total.update(done.outcomes)
                    print(f"{done.number:3} {done.executor:8} {done.victim:14} {dict(done.outcomes)}", flush=True)
                    eventually(lambda: holders_live(user), LONG)
            try:
                eventually(lambda: not left(user), LONG, every=0.2)
            except AssertionError:
                print(f"LEFT: {left(user)}")
                return 1
        print(f"{wanted.rounds} kills, {sum(total.values())} apps: {dict(total)}; nothing is left")
        return 0
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
