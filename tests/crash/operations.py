"""What the children do: each is one step of nodexfer's own, called as its programs call it. What it returns is JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import nodexfer.globus.sdk
from nodexfer import procs, records
from nodexfer.config import Config, load
from nodexfer.errors import EndpointFailed, HoldUnknown, Interrupted, NodexferError, OutputMissing, PoolMissing
from nodexfer.gcp import install
from nodexfer.identity import ProcessId
from nodexfer.node import claim, hold, jobend, questions, registry, sweep, work
from nodexfer.node.keeper import Keeper
from nodexfer.paths import private_directory
from nodexfer.pool import lease as leases
from nodexfer.pool import manage
from nodexfer.pool.choose import PassedOver
from nodexfer.pool.create import create as make
from nodexfer.scheduler import Job
from nodexfer.staging import client, desk, intents, salvage
from nodexfer.staging import resume as resuming
from nodexfer.staging.bring import bring as bring_in
from nodexfer.staging.client import Client
from nodexfer.staging.send import send as send_out
from tests.crash.forked import spawning
from tests.crash.link import RemoteGlobus
from tests.crash.points import Points
from tests.support.local_globus import LocalGlobus

#: Of ``scontrol``, in a year that no test will see.
END = "   StartTime=2099-11-20T22:00:00 EndTime=2099-11-20T23:00:00 Deadline=N/A\n"


def job(number: str) -> Job:
    return Job("local", "host", number, 0)


# -- records -------------------------------------------------------------------------------------------------------


def write_record(points: Points, path: str, record: dict[str, Any], how: str) -> None:
    points.install()
    if how == "locked":
        records.write_locked(path, record)
    else:
        records.write(path, record, shared=how == "shared")


# -- the node ------------------------------------------------------------------------------------------------------


def acquire(points: Points, number: str, owned: bool) -> str:
    """As a command does; its script is this very process, or the zygote where a program takes the hold for itself."""
    if not owned:
        os.setsid()
    points.install()
    return hold.take(load(), job(number), procs.this() if owned else None).id


def acquire_for_the_zygote(points: Points, number: str) -> str:
    """A hold that outlives this child."""
    return hold.take(load(), job(number)).id


def release(points: Points, hold_id: str) -> bool:
    points.install()
    try:
        return hold.release(load(), hold_id)
    except HoldUnknown:
        return False


def come_and_go(points: Points, number: str) -> None:
    """The next run: a job that holds, finds its scratch, and releases."""
    os.setsid()
    taken = hold.take(load(), job(number))
    with open(f"{taken.scratch}/file", "x", encoding="ascii"):
        pass
    assert hold.release(load(), taken.id)
    assert not os.path.exists(taken.scratch)


def add_hold(points: Points, number: str, pid: int) -> str:
    """A hold without a keeper, that lives by the process ``pid``; its scratch has a file."""
    paths = load().node_paths
    key = job(number).key
    found = registry.new_hold(key, None, ProcessId.of(pid), False)
    with registry.Transaction(paths, create=True) as table:
        table.add(found)
    with open(f"{private_directory(paths.scratch(key))}/file", "w", encoding="ascii") as file:
        file.write(key)
    return found.id


def drop_hold(points: Points, hold_id: str) -> None:
    with registry.Transaction(load().node_paths) as table:
        table.drop(hold_id)


def keep(points: Points, number: str) -> None:
    """A keeper's whole life: it begins, clears up after the dead, loses its last hold, and ends."""
    config = load()
    add_hold(points, number, os.getpid())
    points.install()
    keeper = Keeper(config, job(number), procs.this())
    assert keeper.begin() == hold.HOLDS
    with registry.Transaction(config.node_paths) as table:
        for found in table.of(job(number).key):
            table.drop(found.id)
    keeper.run()


def ask_end(points: Points, asked: str) -> bool:
    """A command of a job on one of its nodes asks when the job ends: whether it knows. Who died is not waited for long.

    ``asked`` has a line for each process of the scheduler that was started.
    """
    config = load()
    config.node_paths.make()

    def run(argv: Sequence[str], *, timeout: float) -> procs.Completed:
        points.hit("the scheduler is called")
        with open(asked, "a", encoding="ascii") as file:
            file.write(f"{argv[0]}\n")
        points.hit("the scheduler answers")
        return procs.Completed(0, "" if argv[0] == "squeue" else END, "")

    procs.run = run  # type: ignore[assignment]
    questions.WAIT_SECONDS = 0.05
    points.install()
    return jobend.find(config, Job("slurm", "test", "12", 0), {}).known


# -- the pool ------------------------------------------------------------------------------------------------------


def lead(points: Points, credentials: str) -> list[Any]:
    """What a leader does with a lease, without GCP: taken, prepared, renewed, GCP's own change brought back, given."""
    config = load()
    config.node_paths.make()
    points.install()

    def wait(_: object) -> None:
        raise AssertionError("there is an endpoint, and it was not taken")

    lease = claim.take(config, job("1"), wait, wait).lease
    prepared = claim.prepare(config, lease)
    leases.renew(lease)
    with open(f"{prepared.working}/lta/key", "w", encoding="ascii") as file:
        file.write(credentials)
    claim.give_back(config, lease)
    return [lease.entry, lease.number]


def lead_and_be_gone(points: Points, credentials: str) -> None:
    """What a leader has that is killed: a lease, GCP's working directory with a change of its own, exchanges."""
    config = load()
    config.node_paths.make()

    def wait(_: object) -> None:
        raise AssertionError("there is an endpoint, and it was not taken")

    prepared = claim.prepare(config, claim.take(config, job("1"), wait, wait).lease)
    with open(f"{prepared.working}/lta/key", "w", encoding="ascii") as file:
        file.write(credentials)


def pass_over(points: Points) -> list[str]:
    """What a leader does where a task of its endpoint can not be ended: it gives it back, and takes another one."""
    config = load()
    config.node_paths.make()
    passed = PassedOver()
    points.install()

    def wait(_: object) -> None:
        raise AssertionError("there is an endpoint, and it was not taken")

    had = []
    for trouble in ("Task t does not end.", ""):
        lease = claim.take(config, job("1"), wait, wait, passed).lease
        claim.prepare(config, lease)
        passed.add(lease.directory, EndpointFailed(trouble))
        claim.give_back(config, lease._replace(trouble=trouble))
        had.append(lease.entry)
    return had


def clean(points: Points) -> list[str]:
    """``nodexfer clean``: what it keeps."""
    config = load()
    points.install()
    return [one.path for one in sweep.sweep(config) if one.kept]


# -- requests ------------------------------------------------------------------------------------------------------


def serve(points: Points, socket: str, endpoint: str, lease: int, exchanges: Mapping[str, str], over: str) -> None:
    """The desk, whole: ready at once, until the file ``over`` is there. ``socket``: of a Globus in memory, or ''."""
    orders, ours = os.pipe2(os.O_CLOEXEC)
    sys.stdin = os.fdopen(orders, encoding="utf-8")
    if socket:
        globus = RemoteGlobus(socket, points)
        nodexfer.globus.sdk.connect = lambda config, environ: globus  # type: ignore[assignment, return-value]
    serving = {"do": "serve", "endpoint": endpoint, "lease": lease, "exchanges": exchanges, "seconds": 10}
    os.write(ours, json.dumps(serving).encode() + b"\n")

    def watch() -> None:
        while not os.path.exists(over):
            time.sleep(0.005)
        os.write(ours, b'{"do": "stop"}\n')

    threading.Thread(target=watch, daemon=True).start()
    points.install()
    assert desk.main() == 0


def marks(flags: Mapping[str, bool]) -> dict[str, Any]:
    """The flags of a stage that has flags of other kinds as well."""
    return dict(flags)


def _client(config: Config, service: str, seconds: float) -> Client:
    environ = {"GLOBUS_SDK_SERVICE_URL_TRANSFER": f"{service}/v0.10/"}
    return Client(config, job("1"), time.time() + seconds, environ)


def bring(points: Points, service: str, base: str, pairs: Mapping[str, str], flags: Mapping[str, bool]) -> Any:
    """A stage-in by its command."""
    config = load()
    fetches = intents.fetches(dict(pairs), None, config, base=base)
    points.install()
    return bring_in(_client(config, service, 20.0), fetches, **marks(flags)).as_record()


def send(points: Points, service: str, base: str, pairs: Mapping[str, str], flags: Mapping[str, bool]) -> Any:
    """A stage-out by its command."""
    config = load()
    sends = intents.sends(dict(pairs), None, config, base=base)
    points.install()
    return send_out(_client(config, service, 20.0), sends, **marks(flags)).as_record()


def by_via(
    points: Points,
    socket: str,
    direction: str,
    base: str,
    pairs: Mapping[str, str],
    flags: Mapping[str, bool],
    whose: str,
    child_dies_at: int,
) -> dict[str, Any]:
    """A stage by the route via: its receipt, or the error that it ended with; and what its child died at, or ''.

    ``whose`` death it is: the "command" (by ``die_at``), the "child" (by ``child_dies_at``), or "both", when the child
    takes its command with it, as the end of a cgroup does.
    """
    config = load()
    report, its = os.pipe2(os.O_CLOEXEC)
    command = os.getpid()

    def prepare() -> None:
        if whose == "both":
            points.begin_anew(child_dies_at, last_deed=lambda: os.kill(command, signal.SIGKILL))
        else:
            points.begin_anew(child_dies_at, its)

    procs.spawn = spawning(prepare)  # type: ignore[assignment]
    nodexfer.globus.sdk.connect = lambda config, environ: RemoteGlobus(socket, points)  # type: ignore[assignment, return-value]
    who = _client(config, LocalGlobus.service, 20.0)
    who = who._replace(route="via", environ={**os.environ, **who.environ})
    intend: Any = intents.fetches if direction == "in" else intents.sends
    wanted = intend(dict(pairs), None, config, base=base)
    points.install()
    stage: Any = bring_in if direction == "in" else send_out
    said: dict[str, Any] = {}
    try:
        said["receipt"] = stage(who, wanted, **marks(flags)).as_record()
    except NodexferError as error:
        said["error"] = error.as_record()
    os.close(its)
    said["died"] = os.read(report, 4096).decode(errors="surrogateescape")
    return said


def refuse(points: Points, directory: str) -> None:
    """What a leader does to a request when it gives up."""
    points.install()
    work.refuse(directory, EndpointFailed("Lost, mended, and lost again."))


def call_off(points: Points, service: str, base: str, pairs: Mapping[str, str], enough: str) -> str:
    """A stage-in that is given up, by its leader or where the file ``enough`` is there; it dies from then on."""
    config = load()
    fetches = intents.fetches(dict(pairs), None, config, base=base)
    real = client.call_off

    def seen(who: Client, directories: Sequence[str]) -> None:
        points.install()
        real(who, directories)

    def tell(_: object) -> None:
        if os.path.exists(enough):
            raise Interrupted("It was told to end.")

    client.call_off = seen  # type: ignore[assignment]
    try:
        bring_in(_client(config, service, 60.0)._replace(on_progress=tell), fetches)
    except NodexferError as error:
        return type(error).__name__
    return ""


def end_job(points: Points, number: str) -> None:
    """The end of a job whose command died: the next keeper here takes its things away."""
    keep(points, number)


# -- endpoints -----------------------------------------------------------------------------------------------------


def create(points: Points) -> list[str]:
    """``nodexfer pool create --count 1 --prefix p``."""
    config = load()
    with closing(nodexfer.globus.sdk.connect(config, os.environ)) as globus:
        points.install()
        return [entry.name for entry in make(config, globus, install.find(config), os.environ, 1, "p")]


def remove(points: Points, name: str) -> bool:
    """``nodexfer pool remove NAME``; False where there is none."""
    config = load()
    with closing(nodexfer.globus.sdk.connect(config, os.environ)) as globus:
        points.install()
        try:
            manage.remove(config, globus, name)
        except PoolMissing:
            return False
    return True


# -- salvage -------------------------------------------------------------------------------------------------------


def save(points: Points, base: str, pairs: Mapping[str, str]) -> list[str]:
    """What ``nodexfer run`` does with outputs at the end of the walltime; which files were saved."""
    config = load()
    sends = intents.sends(dict(pairs), None, config, base=base)
    points.install()
    found = salvage.save(_client(config, "", 20.0), sends, deadline=time.time() + 20.0)
    return [file.source for file in found.files]


def resume(points: Points, socket: str) -> list[str]:
    """``nodexfer resume --partial``; how each salvage ended."""
    config = load()
    globus: Any = RemoteGlobus(socket, points)
    points.install()
    return [_resume(config, globus, directory) for directory in resuming.find(config, [])]


def _resume(config: Config, globus: Any, directory: str) -> str:
    try:
        return resuming.resume(config, directory, globus, resuming.Options(time.time() + 20.0, partial=True)).state
    except OutputMissing:
        return "nothing"
