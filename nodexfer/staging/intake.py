"""The desk's eye on the spool: which requests there are, which are wanted no more, and how each ends."""

from __future__ import annotations

import os
import time
from urllib.parse import urlsplit

import msgspec

from nodexfer.clock import utc
from nodexfer.config import Config
from nodexfer.errors import DeadlinePassed, EndpointNotOurs, NodexferError, RecordNewer
from nodexfer.identity import ProcessId
from nodexfer.node import bell, clean, endpoint, rubbish, work
from nodexfer.staging import exchange, spool
from nodexfer.staging.cases import Case
from nodexfer.staging.request import Owner, Progress, Request, Result

#: Seconds between two progress records of a request.
_PROGRESS_SECONDS = 0.25
#: A job that asked so recently (s) may not be alone in doing so.
_CROWD_SECONDS = 1.0


class Intake:
    """Finds cases and closes them. No call to the service is made here."""

    def __init__(self, config: Config, service: str, client: str) -> None:
        self._config = config
        self._service = urlsplit(service).netloc
        self._client = client
        self.cases: dict[str, Case] = {}
        self._ignored: set[str] = set()
        self._told: dict[str, tuple[float, Progress]] = {}
        #: When each job had a request here last (monotonic).
        self._jobs: dict[str, float] = {}

    def scan(self) -> list[Case]:
        """The new ones. One that can not be read gets that as its answer; one of a newer format is left alone."""
        self._say_again()
        present = spool.directories(self._config.node_paths.spool)
        self._see_jobs()
        self._ignored.intersection_update(present)
        new = []
        for directory in present:
            if directory not in self.cases and directory not in self._ignored and not _will_be_read(directory):
                try:
                    case = self._open(directory)
                except OSError:  # it went while we looked; or it can not be read now, and is looked at again
                    continue
                if case is None:
                    self._ignored.add(directory)
                else:
                    self.cases[directory] = case
                    new.append(case)
        return new

    def _see_jobs(self) -> None:
        now = time.monotonic()
        self._jobs.update((case.request.job, now) for case in self.cases.values())
        self._jobs = {job: seen for job, seen in self._jobs.items() if now - seen < _CROWD_SECONDS}

    def is_crowded(self, job: str) -> bool:
        """Whether other jobs than ``job`` have requests here, or had a moment ago."""
        self._see_jobs()
        return any(other != job for other in self._jobs)

    def _open(self, directory: str) -> Case | None:
        """None where it is not ours to serve, or has been answered. :raises OSError: it can not be read now."""
        if os.path.exists(f"{directory}/{spool.RESULT}") and not spool.is_unfinished(directory):
            return None
        try:
            request = spool.request(directory)
            if request is None:
                return None
            if not self._serves(request):
                self._refuse_stranger(directory, request)
                return None
            return Case(directory, request, spool.batch(directory))
        except RecordNewer:
            return None
        except NodexferError as error:
            _answer(directory, Result(error=error.as_record()))
            return None

    def _serves(self, request: Request) -> bool:
        service_fits = not request.service or urlsplit(request.service).netloc == self._service
        return service_fits and request.client in ("", self._client)

    def _refuse_stranger(self, directory: str, request: Request) -> None:
        """One that another desk serves waits for its own keeper to lead; where that is our leader, it waits in vain."""
        leader = endpoint.read(self._config.node_paths)
        if leader is None or leader.keeper != request.job:
            return
        wanted = urlsplit(request.service).netloc or self._service
        asked = f"{wanted}{' as ' if request.client else ''}{request.client}"
        error = EndpointNotOurs(
            f"This job's endpoint is run at {self._service} as {self._client}, and was asked for at {asked}.",
            "nodexfer status",
        )
        work.refuse(directory, error)

    def leaving(self) -> None:
        """Mark those that are wanted no more, have lost their owner, or are out of time."""
        now = time.time()
        for case in self.cases.values():
            if not case.leaving:
                case_ends, error = _reason(case, now)
                if case_ends:
                    case.leave(error)

    def tell(self, case: Case, progress: Progress) -> None:
        """Write how it goes, if that is new, a few times a second at most."""
        if case.need is not None:
            progress = msgspec.structs.replace(progress, need=case.need)
        at, last = self._told.get(case.id, (0.0, None))
        now = time.monotonic()
        same = last is not None and (progress.state, progress.need) == (last.state, last.need)
        if progress == last or (now - at < _PROGRESS_SECONDS and same):
            return
        self._told[case.id] = (now, progress)
        try:
            spool.write(case.directory, spool.PROGRESS, progress)
        except (NodexferError, OSError):  # no room, or gone: what matters is the result
            pass

    def close(self, case: Case, result: Result | None) -> None:
        """Its last word; a request that nobody asks for any more is removed with all that exists for its sake.

        What is met while a dead owner's request is wound up is nobody's to read. A word that finds no room on the disk
        is kept, and said again at each scan as long as somebody waits for it.
        """
        self._see_jobs()
        case.unsaid = None
        if result is not None and _owner_lives(case):
            if not _answer(case.directory, result):
                case.phase, case.unsaid = "closing", result
                return
            self._ignored.add(case.directory)
        elif not _answered(case):  # else the leader has answered, and its command may call it off: then it comes again
            self._ignored.add(case.directory)
            hidden = rubbish.hide(case.directory, self._config.node_dir)
            outgoing = [base.outgoing(case.id) for base in clean.bases(self._config)]
            rubbish.bury(hidden or case.directory, outgoing)
        self.cases.pop(case.directory, None)
        self._told.pop(case.id, None)

    def _say_again(self) -> None:
        for case in [case for case in self.cases.values() if case.unsaid is not None]:
            if _owner_lives(case) and not spool.is_cancelled(case.directory):
                self.close(case, case.unsaid)
            else:
                exchange.clear({os.path.dirname(item.local) for item in case.items if item.local})
                self.close(case, None)

    def is_unwanted(self, case: Case) -> bool:
        """Its owner is dead, or has called it off, or has an answer."""
        return case.leaving or _reason(case, time.time()) == (True, None)

    def known(self) -> set[str]:
        """The ids of all requests that are in the spool, over or not."""
        return {os.path.basename(directory) for directory in spool.directories(self._config.node_paths.spool)}


def _reason(case: Case, now: float) -> tuple[bool, NodexferError | None]:
    """Whether it ends, and the error to say so with: None where nobody would read it."""
    request = case.request
    if _answered(case) or spool.is_cancelled(case.directory) or not _owner_lives(case):
        return True, None
    if now < request.deadline:
        return False, None
    published = "outputs may have their names already" if case.publishing else "nothing was published"
    return True, DeadlinePassed(
        f"The request {request.id} was not done by its deadline, {utc(request.deadline)}; {published}.",
        "nodexfer status",
    )


def _answered(case: Case) -> bool:
    """The leader has said that it can not be served; whoever asked reads that, and removes it."""
    return os.path.exists(f"{case.directory}/{spool.RESULT}") and _owner_lives(case)


def _will_be_read(directory: str) -> bool:
    """The answer of a leader that gave up while Globus is at work: its command calls the request off; if it lives."""
    if not spool.is_unfinished(directory):
        return False
    try:
        request = spool.request(directory)
    except (NodexferError, OSError):
        return False
    return request is not None and _lives(request.owner)


def _owner_lives(case: Case) -> bool:
    return os.path.isdir(case.directory) and _lives(case.request.owner)


def _lives(owner: Owner) -> bool:
    return ProcessId(owner.pid, owner.start, owner.namespace).alive


def _answer(directory: str, result: Result) -> bool:
    try:
        spool.write(directory, spool.RESULT, result)
    except (NodexferError, OSError):  # no room; or gone, and nobody asks
        return False
    bell.ring(f"{directory}/{spool.BELL}")
    return True
