"""Taking and releasing a hold, from a command or from Python; starting the job's keeper.

A hold is there when its record is, and its keeper lives. The record comes first: a keeper ends only under the
registry's lock and only when no hold of its job is left, so whoever sees its lock taken after adding a hold knows that
it stays, and whoever sees it free starts one. Two who start one at a time get one: the loser of the lock ends.

A keeper that was SIGKILLed while its job lives is started again by the next command of the job; the holds stay.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from nodexfer import pidfds, procs
from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import HoldUnknown, KeeperFailed, NodeDirRemoved, NodeDirUnsafe, NodexferError
from nodexfer.identity import ProcessId, pid_namespace
from nodexfer.node import bell, registry
from nodexfer.paths import NodePaths, private_directory, safe_name
from nodexfer.scheduler.protocol import Job

if TYPE_CHECKING:
    from nodexfer.node.clean import Gone

#: Seconds for a keeper to start. It takes 50 ms, and a parallel file system may be slow.
START_SECONDS = 10.0
#: Seconds for a keeper to end: a leader has to stop GCP (5 s until it is killed) and to give the lease back.
END_SECONDS = 30.0
LOOK_SECONDS = 0.5

HOLDS = b"holds\n"
#: Another keeper of this job was quicker.
HELD = b"held\n"
#: The hold has been released meanwhile.
NOTHING = b"nothing\n"


class Taken(NamedTuple):
    """A hold as its taker needs it. ``since`` (seconds since the epoch) is when it was added."""

    id: str
    job: str
    scratch: str
    since: float

    @property
    def variables(self) -> dict[str, str]:
        """What the job's programs find it by."""
        return {"NODEXFER_HOLD": self.id, "NODEXFER_JOB": self.job, "NODEXFER_SCRATCH": self.scratch}


def take(config: Config, job: Job, owner: ProcessId | None = None, *, endpoint: bool = False) -> Taken:
    """Add a hold, see that its keeper lives, make the job's scratch. Takes 0.3 ms, or 60 ms with a keeper to start.

    :param owner: the process that it lives by; None means the job's script.
    :param endpoint: the endpoint is to be up as long as the hold lives.
    :raises KeeperFailed: no keeper within 10 s; the hold is gone again.
    :raises NodeError: see :class:`nodexfer.node.registry.Transaction`; nothing was changed.
    """
    paths = config.node_paths
    hold = registry.new_hold(job.key, owner, procs.session_leader(), endpoint)
    begun = False
    # An interrupt may come at any line, and who gets no hold back can not release it: all of it is in the one block.
    try:
        with registry.Transaction(paths, create=True) as table:
            begun = True
            lives = registry.keeper_lives(paths, job.key)
            gone = None if lives else _earlier_run(config, job.key, table)
            table.add(hold)
        if gone is not None:
            gone.remove()
        scratch = private_directory(paths.scratch(job.key))
        if not lives:
            start_keeper(config, job, hold.script)
        _tell(paths, hold, lives=lives, fresh=table.fresh)
        return Taken(hold.id, job.key, scratch, hold.since)
    except BaseException as error:
        if begun:
            _take_back(paths, hold)
        elif isinstance(error, (NodeDirUnsafe, NodeDirRemoved)):
            raise _with_source(config, error) from error
        raise


def _earlier_run(config: Config, job: str, table: registry.Table) -> Gone | None:
    """What a dead run of the same key left, out of sight: PBS does not tell a job that was queued again that it was.

    Files in its scratch would be in the way, and what the scheduler said of its end is not about this run.
    """
    paths = config.node_paths
    if not (os.path.lexists(paths.keeper(job)) or os.path.lexists(paths.scratch(job))):
        return None
    from nodexfer.node import clean

    if safe_name(job) not in clean.dead_names(paths, table):
        return None
    gone = clean.job(config, job)
    clean.keeper_files(paths.keeper(job))
    return gone


def _take_back(paths: NodePaths, hold: registry.Hold) -> None:
    """A hold that was perhaps added. Where that fails too, what was raised first tells more."""
    try:
        with registry.Transaction(paths) as table:
            table.drop(hold.id)
    except NodexferError:
        pass


def _tell(paths: NodePaths, hold: registry.Hold, *, lives: bool, fresh: bool) -> None:
    """A keeper that was there before us hears of the hold. Where the registry was new, so do all the others."""
    if lives:
        bell.ring(paths.keeper_bell(hold.job), bell.WORK if hold.endpoint else bell.HOLD)
    if fresh:
        _tell_all(paths)


def _with_source(config: Config, error: NodexferError) -> NodexferError:
    """Whoever set the node_dir can set another one: it is said that it is this, and where it was set."""
    source = config.source("node_dir")
    where = "by default" if source == "default" else f"from {source}"
    return type(error)(f"{error.message.rstrip('.')} (node_dir is {config.node_dir}, {where}).", error.next)


def _tell_all(paths: NodePaths) -> None:
    """The registry was new: keepers whose holds were in the one before bring them in again."""
    for name in os.listdir(paths.keepers):
        if name.endswith(".bell"):
            bell.ring(f"{paths.keepers}/{name}")


def ensure_keeper(config: Config, job: Job) -> bool:
    """Start the job's keeper if it was killed; True when it was. For those who wait for work to be done.

    :raises KeeperFailed, NodeError: as :func:`take`.
    """
    paths = config.node_paths
    with registry.Transaction(paths) as table:
        holds = table.of(job.key)
        lives = registry.keeper_lives(paths, job.key)
    if lives or not holds:
        return False
    start_keeper(config, job, holds[0].script)
    return True


def release(config: Config, hold_id: str, *, wait: float = END_SECONDS) -> bool:
    """Drop a hold. With the last of a job, its scratch goes and its keeper ends, which is waited for.

    Waited for, since what ends the job next would kill the keeper half way. False when it has not ended within
    ``wait`` seconds: the hold is gone all the same. A keeper that was killed is started again for this: what it had,
    a lease perhaps, is to be given back; not where nobody waits for that (``wait`` is 0).

    :raises HoldUnknown: there is no such hold at this place.
    :raises NodeError: see :class:`nodexfer.node.registry.Transaction`.
    """
    paths = config.node_paths
    with registry.Transaction(paths) as table:
        hold = table.get(hold_id)
        if hold is None:
            raise HoldUnknown(f"There is no hold {hold_id} at {paths.node_dir}: it was released, or its job has ended.")
        lives = registry.lives_at(paths)
        last = not any(lives(other) for other in table.of(hold.job) if other.id != hold_id)
        keeper = registry.keeper_lives(paths, hold.job)
        if not last:
            table.drop(hold_id)
            return True
    if not keeper and not (wait > 0 and _start_again(config, hold)):
        return _clear_up(config, hold.job, hold.id)
    return _release_last(config, hold, Deadline(wait))


def _release_last(config: Config, hold: registry.Hold, deadline: Deadline, again: bool = True) -> bool:
    """Drop it, and see the keeper end. Known before it is told: it takes its file away before it has ended."""
    paths = config.node_paths
    card = registry.read_keeper(paths.keeper(hold.job))
    keeper = None if card is None or card.process.namespace != pid_namespace() else card.process
    with registry.Transaction(paths) as table:
        table.drop(hold.id)
    bell.ring(paths.keeper_bell(hold.job), bell.RELEASE)
    while keeper is not None and not pidfds.wait_end(keeper, min(deadline.left, LOOK_SECONDS)):
        with registry.Transaction(paths) as table:
            if table.of(hold.job):
                return True  # somebody has taken a hold of the job again
        if deadline.passed:
            return False
    killed = os.path.lexists(paths.keeper(hold.job))  # on the way: it has left its file
    # Where it led, another one is to give back what it had.
    if killed and again and not deadline.passed and os.path.lexists(paths.endpoint) and _start_again(config, hold):
        return _release_last(config, hold, deadline, again=False)
    return not killed or _clear_up(config, hold.job, hold.id)


def _start_again(config: Config, hold: registry.Hold) -> bool:
    """Start the killed keeper of the hold's job; False where that can not be done."""
    card = registry.read_keeper(config.node_paths.keeper(hold.job))
    if card is None:
        return False
    try:
        with registry.Transaction(config.node_paths) as table:
            table.add(hold)
        start_keeper(config, card.job, hold.script)
    except KeeperFailed:
        return False
    return True


def _clear_up(config: Config, job: str, hold_id: str = "") -> bool:
    """In the keeper's stead, where there is none. What a leader had is left to the next one."""
    from nodexfer.node import clean

    paths = config.node_paths
    with registry.Transaction(paths) as table:
        table.drop(hold_id)
        table.prune(registry.lives_at(paths), job)
        if table.of(job) or registry.keeper_lives(paths, job):
            return True  # somebody has taken a hold again
        gone = clean.job(config, job)
        clean.keeper_files(paths.keeper(job))
    gone.remove()
    return True


def start_keeper(config: Config, job: Job, script: ProcessId) -> None:
    """Start the job's keeper and wait until it holds its lock, or another one does.

    It stays in our session and process group, so that the scheduler finds it, and inherits no descriptor but its log.
    One that dies at its start, killed by anybody, is started once more.

    :raises KeeperFailed: neither within 10 s, or it died both times; the message has the end of its log.
    """
    log_path = f"{config.node_paths.logs}/keeper-{safe_name(job.key)}.log"
    said = _start(config, job, script, log_path) or _start(config, job, script, log_path)
    if said not in (HOLDS, HELD):
        why = _tail(log_path) or said.decode() or "it was killed"
        raise KeeperFailed(f"The keeper of job {job.key} did not start{'' if said else ', tried twice'}: {why}")


def _start(config: Config, job: Job, script: ProcessId, log_path: str) -> bytes:
    """What the new keeper said; b"" where it died instead."""
    ready, answer = os.pipe2(os.O_CLOEXEC)
    argv = procs.python("-m", "nodexfer.node.keeper", str(answer), *map(str, (*script, *job)))
    try:
        try:
            log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                child = procs.spawn(
                    argv, environ=environment(config), stdout=log, stderr=log, pass_fds=(answer,), cwd="/"
                )
            finally:
                os.close(log)
        finally:
            os.close(answer)
        said = os.read(ready, 64) if pidfds.readable(ready, START_SECONDS) else b"(nothing in time)"
    finally:
        os.close(ready)
    if child.wait(1.0) is None:
        child.kill()
        child.wait(1.0)
    return said


def environment(config: Config) -> dict[str, str]:
    """What a keeper is started with: the command's own, with what was given by argument, and with whole paths."""
    environ = {**os.environ, **config.environment()}
    environ["NODEXFER_NODE_DIR"], environ["NODEXFER_HOME"] = config.node_dir, config.home
    if environ.get("NODEXFER_CONFIG"):
        environ["NODEXFER_CONFIG"] = os.path.abspath(environ["NODEXFER_CONFIG"])
    return environ


def _tail(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file.readlines()[-3:]]
    return " / ".join(line for line in lines if line)
