"""The command's end of a request: put into the spool, followed to its result, or called off.

Whatever ends the command, the request does not outlive it: it is cancelled in good order where Python still runs, and
by the desk, which sees that its owner is dead, where it does not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.config import Config
from nodexfer.errors import DeadlinePassed, Interrupted, NodeDirRemoved, NodexferError, from_record
from nodexfer.node import bell, hold, jobend, silence
from nodexfer.scheduler import Job
from nodexfer.staging import bells, spool
from nodexfer.staging.request import Need, Owner, Progress, Request, Result

#: Seconds before the job's end by which everything is over: a file system may be slow, and the script goes on.
RESERVE_SECONDS = 30.0
#: Seconds between two looks at what has no bell, progress say: a fiftieth of the age, within these bounds.
_LOOK = (0.05, 0.5)
#: Seconds between two looks whether our keeper lives.
_KEEPER_SECONDS = 1.0
#: Seconds that somebody who removes the node_dir may need from a request in it to the directory of all requests.
_REMOVAL_SECONDS = 1.0
#: Seconds that a request which was called off gets to go in good order.
_CANCEL_SECONDS = 5.0

_WAITING = Progress(state="waiting for an endpoint")

OnProgress = Callable[[Progress], None]
#: See :mod:`nodexfer.staging.via_route`.
Route: TypeAlias = "Literal['auto', 'direct', 'via']"


class Client(NamedTuple):
    """On whose behalf: a job that holds this place."""

    config: Config
    job: Job
    #: Seconds since the epoch.
    deadline: float
    environ: Mapping[str, str]
    on_progress: OnProgress = lambda _: None
    wait_endpoint: float | None = None
    #: Seconds after the deadline that the desk gets to say so itself, and to take back what it can.
    grace: float = 20.0
    route: Route = "auto"
    #: Whether it wants to know how much comes before it moves.
    measure: bool = False

    @property
    def service(self) -> str:
        """The service that the job's environment names (globus-sdk, configuration); '' leaves it to the desk."""
        if self.environ.get("GLOBUS_SDK_ENVIRONMENT", "production") != "production":
            return self.environ.get("GLOBUS_SDK_SERVICE_URL_TRANSFER", "")
        return self.environ.get("GLOBUS_SDK_SERVICE_URL_TRANSFER") or "https://transfer.api.globus.org/"

    @property
    def identity(self) -> str:
        """The service account of the environment; '' for what a file says. Without a secret, the id is but an app's."""
        return self.environ.get("NODEXFER_CLIENT_ID", "") if self.environ.get("NODEXFER_CLIENT_SECRET") else ""


def owner() -> Owner:
    this = procs.this()
    return Owner(this.pid, this.start, this.namespace)


def deadline_of(config: Config, job: Job, environ: Mapping[str, str]) -> float:
    """When a request of this job must be over: seconds since the epoch. See :mod:`nodexfer.node.jobend`.

    :raises DeadlinePassed: it is too late to move anything.
    """
    end = jobend.find(config, job, environ)
    deadline = end.at - RESERVE_SECONDS if end.known else end.at
    if deadline <= time.time():
        raise DeadlinePassed(f"The job ends within {RESERVE_SECONDS:g} s; nothing was moved.", "nodexfer status")
    return deadline


def ask(client: Client, request: Request) -> str:
    """Put it into the spool and ring; its directory. :raises DiskFull, NodeDirRemoved: it is not there."""
    directory = spool.ask(client.config.node_paths, request)
    _ring(client)
    return directory


def _ring(client: Client) -> None:
    paths = client.config.node_paths
    bell.ring(paths.desk_bell)
    bell.ring(paths.keeper_bell(client.job.key))


def results(client: Client, directories: Sequence[str]) -> list[Result]:
    """Wait for all of them; in the order given.

    :raises NodexferError: the first that one of them ends with. The others are the caller's to call off.
    :raises DeadlinePassed: nobody said anything in time.
    """
    with bells.hung(directories) as hung:
        return _results(client, directories, hung)


def _results(client: Client, directories: Sequence[str], hung: bells.Bells) -> list[Result]:
    found: dict[str, Result] = {}
    begun = time.monotonic()
    deadline = Deadline.from_epoch(client.deadline + client.grace)
    next_keeper = begun + _KEEPER_SECONDS
    news = _News(client.on_progress)
    while len(found) < len(directories):
        for directory in directories:
            if directory not in found and (result := _result(client, directory)) is not None:
                found[directory] = _good(client, result, list(found.values()))
        news.look([directory for directory in directories if directory not in found])
        now = time.monotonic()
        if now >= next_keeper:
            next_keeper = now + _KEEPER_SECONDS
            if hold.ensure_keeper(client.config, client.job):
                _ring(client)
            news.blocked = silence.blocked(client.config.node_paths)
        if deadline.passed:
            raise DeadlinePassed("The request was not done by its deadline, and was called off.", "nodexfer status")
        if len(found) < len(directories):
            hung.wait(min(max((now - begun) / 50, _LOOK[0]), _LOOK[1]))
    return [found[directory] for directory in directories]


def _result(client: Client, directory: str) -> Result | None:
    result = spool.result(directory)
    if result is None and not os.path.isdir(directory):
        node_dir = client.config.node_dir
        if _goes(client.config.node_paths.spool):
            raise NodeDirRemoved(f"{node_dir} was removed while it was in use; nothing was published.")
        raise Interrupted(
            f"The request {os.path.basename(directory)} was removed; nothing was published.", "nodexfer status"
        )
    return result


def _goes(path: str) -> bool:
    """Whether it is gone, or within a second: what is removed as a tree loses its leaves first."""
    deadline = Deadline(_REMOVAL_SECONDS)
    while os.path.isdir(path):
        if deadline.passed:
            return False
        time.sleep(0.02)
    return True


def _good(client: Client, result: Result, before: Sequence[Result]) -> Result:
    if result.error is None:
        return result
    from nodexfer.node.surroundings import explained

    error = explained(client.config, client.job.key, from_record(dict(result.error)))
    sent = [item.remote for other in before for item in other.items]
    if sent:
        raise type(error)(f"{error.message} Moved before: {', '.join(sent)}.", error.next)
    raise error


class _News:
    """Progress records of all requests as one. Only a file that has changed is read."""

    def __init__(self, tell: OnProgress) -> None:
        self._tell = tell
        self._stamps: dict[str, int] = {}
        self._last: dict[str, Progress] = {}
        #: Why nobody can lead, as long as that is so.
        self.blocked: NodexferError | None = None
        tell(_WAITING)

    def look(self, directories: Sequence[str]) -> None:
        for directory in directories:
            try:
                stamp = os.stat(f"{directory}/{spool.PROGRESS}").st_mtime_ns
                if self._stamps.get(directory) == stamp:
                    continue
                found = spool.progress(directory)
            except Interrupted:
                raise  # by a signal, which comes once
            except (OSError, NodexferError):
                continue
            if found is not None:
                self._stamps[directory], self._last[directory] = stamp, found
        if self.blocked is not None:
            self._tell(Progress(state=f"waiting: {self.blocked.message}"))
        else:  # also where there is nothing new: who is told may lose patience
            self._tell(_sum(list(self._last.values())) if self._last else _WAITING)


def _sum(parts: Sequence[Progress]) -> Progress:
    if len(parts) == 1:
        return parts[0]
    totals = [part.bytes_total for part in parts]
    needs = [part.need for part in parts if part.need is not None]
    return Progress(
        state=parts[-1].state,
        bytes_done=sum(part.bytes_done for part in parts),
        bytes_total=None if None in totals else sum(total or 0 for total in totals),
        files_done=sum(part.files_done for part in parts),
        need=_all(needs) if len(needs) == len(parts) else None,
    )


def _all(needs: Sequence[Need]) -> Need:
    return Need(
        bytes=sum(need.bytes for need in needs),
        files=sum(need.files for need in needs),
        least=any(need.least for need in needs),
    )


def call_off(client: Client, directories: Sequence[str]) -> None:
    """Cancel what is not over, and see it gone, 5 s at most. Then the desk goes on with it alone, or the next one."""
    waiting = []
    unfinished = [directory for directory in directories if spool.is_unfinished(directory)]
    for directory in unfinished:
        spool.leave_to_the_next(directory)
    directories = [directory for directory in directories if directory not in unfinished]
    for directory in directories:
        # Before the look: a desk writes that it begins, and looks for this before it does.
        spool.cancel(directory)
        if os.path.exists(f"{directory}/{spool.BATCH}") and not os.path.exists(f"{directory}/{spool.RESULT}"):
            waiting.append(directory)
        else:
            spool.forget(directory)
    if waiting:
        _ring(client)
    deadline = Deadline(_CANCEL_SECONDS)
    while waiting and not deadline.passed:
        time.sleep(0.02)
        waiting = [path for path in waiting if os.path.isdir(path) and not os.path.exists(f"{path}/{spool.RESULT}")]
    for directory in directories:
        if directory not in waiting:
            spool.forget(directory)
