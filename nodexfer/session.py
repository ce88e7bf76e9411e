"""The Python side: hold this node, stage in, compute, stage out.

Works in threads (each ``with`` has a hold of its own) and in worker processes of Parsl and Globus Compute: nothing is
started at import, nothing is kept in module state, and a process that is killed loses its holds with its life.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from nodexfer import procs, scheduler
from nodexfer.clock import Deadline
from nodexfer.config import Config, load
from nodexfer.errors import DestinationExists, EndpointFailed, UrlMalformed, from_record
from nodexfer.node import endpoint as endpoints
from nodexfer.node import failure, quiet
from nodexfer.node import hold as holds
from nodexfer.scheduler import Job

if TYPE_CHECKING:
    from pathlib import Path

    from nodexfer.node.jobend import JobEnd
    from nodexfer.staging.checksum import Verify
    from nodexfer.staging.client import Client, OnProgress, Route
    from nodexfer.staging.receipt import Receipt

#: The variable that says by which error the set-up of our block failed (:func:`refuse_broken`).
BROKEN = "NODEXFER_BROKEN"
#: Before the end of the job, for a process to end with its exit code.
LAST_SECONDS = 5.0

#: One source or several to one destination; or sources with a destination each, none of which is "into".
Sources: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]]"


class Node:
    """This node, held: made by :func:`hold`. Any thread may use it until its ``with`` ends.

    Relative paths on this node are below :attr:`scratch`, as in ``nodexfer run``.
    """

    def __init__(self, config: Config, job: Job, scratch: str, environ: Mapping[str, str]) -> None:
        self._config = config
        self._job = job
        self._environ = dict(environ)
        self._scratch = scratch
        #: Seconds since the epoch, where the job is known to end then: the release waits no longer for the keeper.
        self.ends_at: float | None = None

    @property
    def scratch(self) -> Path:
        """The job's directory on this node's disk, removed with the job's last hold."""
        from pathlib import Path

        return Path(self._scratch)

    @property
    def job(self) -> str:
        """The key of the job that holds."""
        return self._job.key

    def stage_in(
        self,
        sources: Sources,
        dest: str | os.PathLike[str] | None = None,
        *,
        overwrite: bool = False,
        merge: bool = False,
        verify: Verify = "size",
        stall: float = 120.0,
        extract: bool = False,
        expect: str | None = None,
        wait_endpoint: float | None = None,
        route: Route = "auto",
        on_progress: OnProgress | None = None,
    ) -> Receipt:
        """Bring sources to this node; the proof. By the rules of ``cp -r``; without ``dest``, into the scratch.

        Waits at most until the end of the job, less 30 s (24 h where nobody knows it).

        :param sources: ``name:/path`` or ``globus://<uuid>/path``: one, several, or a mapping to destinations.
        :param overwrite: an existing destination is replaced.
        :param merge: an existing directory is added to, files of the same name are replaced.
        :param verify: "checksum" reads the files here once more, beside what Globus compares; the receipt has the sums.
        :param stall: seconds without a byte after which a task is tried again through a restarted endpoint, once.
        :param extract: sources are archives (tar, zip); a destination becomes a directory of what is in its archive.
        :param expect: "sha256:HEX" or "md5:HEX" of the only source: another one is refused, and nothing is published.
        :param wait_endpoint: seconds to wait for a free endpoint of the pool; None as long as for everything else, or
            for ``via_after`` of the configuration where it can go "via".
        :param route: "via" goes by the site's own collection, "auto" where no endpoint can be had; "direct" never.
        :raises NodexferError: see :mod:`nodexfer.errors`; nothing was published, or the message names what was.
        """
        from nodexfer.staging.bring import bring
        from nodexfer.staging.intents import fetches

        wanted = fetches(sources, dest, self._config, base=str(self.scratch))
        who = self.client(wait_endpoint=wait_endpoint, route=route, on_progress=on_progress)
        with _in_python():
            return bring(
                who,
                wanted,
                overwrite=overwrite,
                merge=merge,
                verify=verify,
                stall=stall,
                extract=extract,
                expect=expect,
            )

    def stage_out(
        self,
        sources: Sources,
        dest: str | None = None,
        *,
        overwrite: bool = False,
        merge: bool = False,
        verify: Verify = "size",
        stall: float = 120.0,
        wait_endpoint: float | None = None,
        route: Route = "auto",
        on_progress: OnProgress | None = None,
    ) -> Receipt:
        """Send outputs to a collection; the proof. By the rules of ``cp -r``; see :meth:`stage_in` for the rest.

        Every output is looked at before the first is sent. Directories above the destination are made.

        :param sources: paths on this node; or a mapping of each to its destination, and no ``dest``.
        """
        from nodexfer.staging.intents import sends
        from nodexfer.staging.send import send

        wanted = sends(sources, dest, self._config, base=str(self.scratch))
        who = self.client(wait_endpoint=wait_endpoint, route=route, on_progress=on_progress)
        with _in_python():
            return send(who, wanted, overwrite=overwrite, merge=merge, verify=verify, stall=stall)

    def endpoint(self, timeout: float = 300.0) -> str:
        """Have the endpoint brought up, and give its id: for transfers by other means. It may go when nothing moves.

        :raises EndpointFailed: not ready within ``timeout`` seconds; or the error that the leader met.
        """
        taken = holds.take(self._config, self._job, procs.this(), endpoint=True)
        deadline = Deadline(timeout)
        try:
            while not deadline.passed:
                found = endpoints.read(self._config.node_paths)
                if found is not None and found.ready and found.endpoint_id:
                    return found.endpoint_id
                failure.raise_since(self._config.node_paths, self._job.key, taken.since)
                time.sleep(0.05)
        finally:
            holds.release(self._config, taken.id)
        raise EndpointFailed(f"The endpoint of this node was not ready within {timeout:g} s.")

    def end(self, *, again: bool = False) -> JobEnd:
        """When the job ends; see :func:`nodexfer.node.jobend.find`."""
        from nodexfer.node import jobend

        return jobend.find(self._config, self._job, self._environ, again=again)

    def client(
        self,
        *,
        wait_endpoint: float | None = None,
        route: Route = "auto",
        on_progress: OnProgress | None = None,
        deadline: float | None = None,
    ) -> Client:
        """On whose behalf the commands ask.

        :param deadline: seconds since the epoch; None: 30 s before the job ends.
        :raises DeadlinePassed: it ends within 30 s.
        """
        from nodexfer.staging.client import Client, deadline_of

        return Client(
            config=self._config,
            job=self._job,
            deadline=deadline_of(self._config, self._job, self._environ) if deadline is None else deadline,
            environ=self._environ,
            on_progress=on_progress or (lambda _: None),
            wait_endpoint=wait_endpoint,
            route=route,
        )


@contextmanager
def _in_python() -> Iterator[None]:
    """What the commands call --overwrite is an argument here."""
    try:
        yield
    except DestinationExists as error:
        error.say(error.message.replace("--merge", "merge=True").replace("--overwrite", "overwrite=True"))
        raise


@contextmanager
def hold(
    *, endpoint: bool = False, config: Config | None = None, environ: Mapping[str, str] | None = None, **settings: Any
) -> Iterator[Node]:
    """Hold this node for the job that we run in, as long as the block, and no longer than this process lives.

    0.3 ms where the job holds already; else its keeper is started (60 ms), and ended with the last hold.

    :param endpoint: have the endpoint up all the while, whether anything moves or not.
    :param settings: keys of the configuration, which take precedence over environment and file.
    :raises KeeperFailed, NodeError, ConfigInvalid: nothing is held; also whatever the block's set-up failed by.
    """
    environ = os.environ if environ is None else environ
    refuse_broken(environ)
    config = load(environ, **settings) if config is None else config
    job = scheduler.detect(environ)
    taken = holds.take(config, job, procs.this(), endpoint=endpoint)
    node = Node(config, job, taken.scratch, environ)
    try:
        yield node
    finally:
        _release(config, taken.id, node.ends_at)


def refuse_broken(environ: Mapping[str, str]) -> None:
    """Raise at once what the set-up of our block was told by (``nodexfer worker-init``), where it failed.

    A block whose set-up fails goes on all the same: one that ended would be submitted again, and again.
    """
    said = environ.get(BROKEN)
    if not said:
        return
    import json

    try:
        record = json.loads(said)
    except ValueError:
        record = None
    raise from_record(record if isinstance(record, dict) else {"message": f"${BROKEN} is set: {said}"})


def _release(config: Config, name: str, ends_at: float | None) -> None:
    """A keeper that has to give much back is not waited for past the end of the job: our exit code would be lost."""
    wait = holds.END_SECONDS if ends_at is None else min(holds.END_SECONDS, ends_at - LAST_SECONDS - time.time())
    quiet.release(config, name, wait=max(0.0, wait))


def stage_in(
    sources: Sources, dest: str | os.PathLike[str] | None = None, *, config: Config | None = None, **options: Any
) -> Receipt:
    """Bring sources to this node, and hold it only for that: see :meth:`Node.stage_in`, whose ``options`` it takes.

    Relative destinations are below the working directory; only a mapping has them itself.
    """
    from nodexfer.staging.intents import absolute, absolute_path

    if dest is None and not isinstance(sources, Mapping):
        raise UrlMalformed("A destination is wanted: a path on this node.", "nodexfer stage-in --help")
    with hold(config=config) as node:
        where = None if dest is None else absolute_path(dest)
        return node.stage_in(absolute(sources, values=True), where, **options)


def stage_out(sources: Sources, dest: str | None = None, *, config: Config | None = None, **options: Any) -> Receipt:
    """Send outputs to a collection, and hold this node only for that: see :meth:`Node.stage_out`.

    Relative sources are below the working directory.
    """
    from nodexfer.staging.intents import absolute

    with hold(config=config) as node:
        return node.stage_out(absolute(sources, values=False), dest, **options)
