"""The whole of it: machines, Slurm, an offline Globus that all machines reach, and a user with a configuration."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from nodexfer import procs
from nodexfer.sandbox.launch import Sandbox
from tests.cluster import packages, slurm
from tests.cluster.machine import PROJECT, UID, USER, Machine

#: The shared file system: one cluster at a time on this machine. What a killed run left is removed by the next.
SHARED = "/var/lib/nodexfer-cluster"
_PATH = f"{SHARED}/bin:/usr/local/bin:/usr/bin:/bin"
_START_SECONDS = 60.0


class Kind(NamedTuple):
    """What differs between clusters, as sites have them."""

    proctrack: str
    private_tmp: bool = False


KINDS = {
    "cgroup": Kind("cgroup"),
    "linuxproc": Kind("linuxproc"),
    "tmpfs": Kind("cgroup", private_tmp=True),
}


class Cluster:
    """Up. ``box`` is attached from here; ``site`` is the directory of its one site collection."""

    def __init__(self, kind: str, head: Machine, nodes: list[Machine], globus: Machine, box: Sandbox) -> None:
        self.kind = kind
        self.head = head
        self.nodes = {node.name: node for node in nodes}
        self._globus = globus
        self.box = box
        self.home = Path(SHARED, "home")
        self.site = Path(SHARED, "site")
        self._environ = {
            "HOME": str(self.home),
            "USER": USER,
            "LOGNAME": USER,
            "LANG": "C.UTF-8",
            "PATH": _PATH,
            "SLURM_CONF": f"{SHARED}/etc/slurm/slurm.conf",
            **box.environment,
        }

    def environ(self, **more: str) -> dict[str, str]:
        """The user's."""
        return {**self._environ, **more}

    def nodexfer(self, *arguments: str, **more: str) -> Any:
        """``nodexfer <arguments> --json`` on the login node, as the user; what it says.

        :raises AssertionError: it failed.
        """
        done = self._globus.run(
            f"{SHARED}/bin/nodexfer", *arguments, "--json", user=USER, environ=self.environ(**more), timeout=120.0
        )
        assert done.code == 0, done
        return json.loads(done.out)

    def on(self, node: str, *argv: str, **more: str) -> procs.Completed:
        """Run a command of the user's on a node, outside of any job."""
        return self.nodes[node].run(*argv, user=USER, environ=self.environ(**more))

    def slurm(self, *argv: str, user: str = USER, environ: Mapping[str, str] | None = None) -> str:
        """What a command of Slurm's says. :raises AssertionError: it failed."""
        done = self.head.run(*argv, user=user, environ=self._environ if environ is None else environ)
        assert done.code == 0, (argv, done)
        return done.out.strip()

    def node_dir(self, node: str) -> str:
        """The user's node_dir on a node, seen from here."""
        return f"{self.nodes[node].root}/tmp/nodexfer-{UID}"


@contextmanager
def cluster(kind: str, nodes: int = 3) -> Iterator[Cluster]:
    """Up in about three seconds once the packages are there; gone without a trace at the end.

    :raises packages.CanNotTest: this machine does not let us.
    """
    packages.need()
    with ExitStack() as stack:
        _make_shared(stack, kind, nodes)
        stack.callback(slurm.remove_cgroups)
        head = _started(stack, "head")
        names = [f"n{number}" for number in range(1, nodes + 1)]
        machines = [_started(stack, name, one_cpu=KINDS[kind].private_tmp) for name in names]
        slurm.wire(head, machines)
        slurm.start(head, machines, SHARED)
        # On this machine's network, so that the tests reach it; the nodes do by a forwarder.
        globus = _started(stack, "globus", network=False)
        box = _start_globus(globus)
        _forward(stack, box, machines)
        yield Cluster(kind, head, machines, globus, box)


def _started(stack: ExitStack, name: str, *, network: bool = True, one_cpu: bool = False) -> Machine:
    machine = Machine(name, SHARED, network=network, one_cpu=one_cpu)
    stack.callback(machine.stop)
    return machine


def _make_shared(stack: ExitStack, kind: str, nodes: int) -> None:
    """:raises packages.CanNotTest: another cluster is up."""
    os.makedirs(SHARED, mode=0o755, exist_ok=True)
    lock = os.open(SHARED, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise packages.CanNotTest(f"Another cluster is up in {SHARED}.") from None
    for name in os.listdir(SHARED):  # of a run that was killed
        shutil.rmtree(f"{SHARED}/{name}")
    slurm.remove_cgroups()
    stack.callback(shutil.rmtree, SHARED, ignore_errors=True)
    for name in ("run", "log", "state", "munge", "etc/slurm", "bin", "home", "site"):
        os.makedirs(f"{SHARED}/{name}")
    for number in range(1, nodes + 1):
        os.makedirs(f"{SHARED}/spool/n{number}")
    for name in ("home", "site"):
        os.chown(f"{SHARED}/{name}", UID, UID)
    _write_etc(kind, nodes)
    command = Path(SHARED, "bin/nodexfer")
    command.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(PROJECT))} exec {shlex.quote(sys.executable)} -m nodexfer "$@"\n'
    )
    command.chmod(0o755)


def _write_etc(kind: str, nodes: int) -> None:
    etc = Path(SHARED, "etc")
    (etc / "hosts").write_text(slurm.hosts(nodes))
    (etc / "passwd").write_text(Path("/etc/passwd").read_text() + f"{USER}:x:{UID}:{UID}::{SHARED}/home:/bin/bash\n")
    (etc / "group").write_text(Path("/etc/group").read_text() + f"{USER}:x:{UID}:\n")
    wanted = KINDS[kind]
    text = slurm.configuration(SHARED, nodes, proctrack=wanted.proctrack, private_tmp=wanted.private_tmp)
    (etc / "slurm/slurm.conf").write_text(text)
    (etc / "slurm/cgroup.conf").write_text(slurm.CGROUP)
    if wanted.private_tmp:
        (etc / "slurm/job_container.conf").write_text(slurm.CONTAINER)


def _start_globus(globus: Machine) -> Sandbox:
    """As the user, whose stand-in it is. It limits no requests: eight jobs would wait for each other, not for us."""
    environ = {"HOME": f"{SHARED}/home", "USER": USER, "LOGNAME": USER, "PATH": _PATH, "LANG": "C.UTF-8"}
    directory = f"{SHARED}/home/sandbox"
    argv = ["sandbox", "start", "--dir", directory, "--site", f"site={SHARED}/site", "--refuse-root"]
    done = globus.run(f"{SHARED}/bin/nodexfer", *argv, user=USER, environ=environ, timeout=_START_SECONDS)
    assert done.code == 0, done
    box = Sandbox.attach(directory)
    config = Path(SHARED, "home/.nodexfer/config.toml")
    config.parent.mkdir(mode=0o700, exist_ok=True)
    os.chown(config.parent, UID, UID)
    config.write_text(f'[collections.site]\nid = "{box.site_id("site")}"\n')
    return box


def _forward(stack: ExitStack, box: Sandbox, nodes: list[Machine]) -> None:
    with open(f"{box.directory}/sandbox.json", encoding="utf-8") as file:
        known = json.load(file)
    ports, pids = [str(known["port"]), str(known["relay_port"])], [str(node.pid) for node in nodes]
    started = procs.spawn(
        procs.python("-m", "tests.cluster.forward", *ports, "--", *pids),
        environ={"HOME": SHARED, "PATH": _PATH},
        stdout=procs.PIPE,
        death_signal=signal.SIGKILL,
        cwd=str(PROJECT),
    )
    stack.callback(started.close)
    stack.callback(started.wait, 10.0)
    stack.callback(started.kill)
    assert started.stdout is not None
    assert started.stdout.readline() == b"listening\n"
