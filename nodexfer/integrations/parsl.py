"""Parsl's files by Globus, on the node where the app runs.

    from nodexfer.integrations.parsl import LAUNCH_CMD, storage_access

    executor = HighThroughputExecutor(storage_access=storage_access(), launch_cmd=LAUNCH_CMD, ...)
    future = reconstruct(inputs=[File("nodexfer://site/raw/7.h5")], outputs=[File("nodexfer://site/out/7.h5")])

The submit side only names: nothing is moved there, and nothing of it has to be installed but this. See docs/parsl.md.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeAlias

from parsl.data_provider.data_manager import DataManager, default_staging
from parsl.data_provider.files import File
from parsl.data_provider.staging import Staging
from parsl.dataflow.memoization import id_for_memo
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD
from parsl.utils import RepresentationMixin

from nodexfer import __version__
from nodexfer.errors import UrlMalformed
from nodexfer.integrations import by_value
from nodexfer.integrations.app import FORMAT, Direction, Mark, read, source

if TYPE_CHECKING:
    from parsl.config import Config

    from nodexfer.staging.checksum import Verify
    from nodexfer.staging.client import Route

_Function: TypeAlias = "Callable[..., Any]"
#: For an executor's ``launch_cmd``: on each node the manager runs below what holds the node as long as it lives, and
#: gives everything back when it ends. (A batch system kills what is left of a job once its own program has ended.)
LAUNCH_CMD = f"exec nodexfer compute wrapper -- {DEFAULT_LAUNCH_CMD}"
SCHEMES = ("globus", "nodexfer")


def storage_access(**options: Any) -> list[Staging]:
    """For an executor: :class:`NodeStaging` with these options, before what Parsl has anyhow."""
    return [NodeStaging(**options), *default_staging]


class NodeStaging(Staging, RepresentationMixin):
    """Files ``globus://<uuid>/path`` and ``nodexfer://name/path`` are on the node's own disk while the app runs.

    Inputs are brought once for a node, a job and a workflow, for all workers, and are read-only. Outputs are sent when
    the app has returned; an app that fails sends nothing.

    :param overwrite: outputs replace what is at their destination; else that is an error.
    :param verify, stall, wait_endpoint, route: see :meth:`nodexfer.session.Node.stage_in`.
    :param settings: keys of the configuration, for the workers; they take precedence over their environment and file.
    """

    def __init__(
        self,
        overwrite: bool = False,
        verify: Verify = "size",
        stall: float = 120.0,
        wait_endpoint: float | None = None,
        route: Route = "auto",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.overwrite = overwrite
        self.verify = verify
        self.stall = stall
        self.wait_endpoint = wait_endpoint
        self.route = route
        self.settings = settings
        options = {"verify": verify, "stall": stall, "wait_endpoint": wait_endpoint, "route": route}
        work = {"settings": dict(settings or {}), "options": options, "overwrite": overwrite}
        # The same object for the same app: Parsl pickles it once, and its workers unpickle it once.
        self._staged = functools.lru_cache(maxsize=1024)(functools.partial(_staged, work=work))

    def can_stage_in(self, file: File) -> bool:
        return file.scheme in SCHEMES

    def can_stage_out(self, file: File) -> bool:
        return file.scheme in SCHEMES

    def stage_in(self, dm: DataManager, executor: str, file: File, parent_fut: Future[Any] | None) -> None:  # noqa: ARG002
        file.local_path = str(_mark("in", dm, file))

    def stage_out(self, dm: DataManager, executor: str, file: File, app_fu: Future[Any]) -> None:  # noqa: ARG002
        if read(file) is not None:
            raise TypeError(f"{file.url} is an output, whose URL is all that there is to say: give a File")
        file.local_path = str(_mark("out", dm, file))

    def replace_task(self, dm: DataManager, executor: str, file: File, func: _Function) -> Staged:  # noqa: ARG002
        return self._staged(func)

    def replace_task_stage_out(self, dm: DataManager, executor: str, file: File, func: _Function) -> Staged:  # noqa: ARG002
        return self._staged(func)


class Source(File):
    """An input of which there is more to say than its URL.

        train(inputs=[Source("nodexfer://site/data/set.tar.gz", extract=True, expect="md5:...")])

    :param extract: it is an archive (tar, zip), and the app gets the directory of what is in it.
    :param expect: its checksum, "sha256:HEX" or "md5:HEX": where it has another one, the app does not run.
    :raises UrlMalformed: that is no checksum, or the URL is none of ours.
    :raises SourceUnsupported: it is not called like an archive.
    """

    def __init__(self, url: str, *, extract: bool = False, expect: str | None = None) -> None:
        from nodexfer.staging import unpack

        super().__init__(url)
        if self.scheme not in SCHEMES:
            raise UrlMalformed(f"{url} is not globus://<uuid>/path or nodexfer://name/path.")
        name = source(self.url).rpartition("/")[2] or "root"
        if expect is not None:
            expect = ":".join(unpack.parse_checksum(expect))
        self._said = Mark("in", "", unpack.stem(name) if extract else name, extract, expect)

    def cleancopy(self) -> File:
        """What Parsl stages in our place, and sends: a File, whose class every worker knows."""
        file = File(self.url)
        file.local_path = str(self._said)
        return file


def _staged(func: _Function, work: Mapping[str, Any]) -> Staged:
    return func if isinstance(func, Staged) and func.work == work else Staged(func, work)


class Staged:
    """An app's function with its data around it: :func:`nodexfer.integrations.app.run`, on the worker."""

    __name__: str

    def __init__(self, func: _Function, work: Mapping[str, Any]) -> None:
        functools.update_wrapper(self, func)
        self.func = func
        self.work = work

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return enter(self.func, self.work, by_value.arrive, *_HERE)(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _ENTER, (self.func, self.work, by_value.ARRIVE, *_HERE)


def enter(func: Any, work: Any, arrive: Any, wanted: int, version: str) -> Any:
    """From its text, on the worker: what runs the app. As Parsl's own apps do, it returns what others would raise."""

    def app(*args: Any, **kwargs: Any) -> Any:
        import sys

        from parsl.app.errors import RemoteExceptionWrapper

        try:
            return arrive("app", wanted, version).run(func, work, args, kwargs)
        except Exception:  # noqa: BLE001 (Parsl's own do so)
            return RemoteExceptionWrapper(*sys.exc_info())

    app.__name__ = getattr(func, "__name__", "app")
    return app


_ENTER = by_value.ByValue(enter)
#: What we are, said to a worker that may be another one.
_HERE = (FORMAT, __version__)


@id_for_memo.register(Staged)
def _id_for_memo(staged: Staged, output_ref: bool = False) -> bytes:
    """An app is the same with its data around it."""
    return bytes(id_for_memo(staged.func, output_ref=output_ref))


#: Of each workflow: how often an app of it has been given a URL as an output. What is read later is another content.
_written: weakref.WeakKeyDictionary[DataManager, Counter[str]] = weakref.WeakKeyDictionary()
_written_lock = threading.Lock()


def _mark(direction: Direction, dm: DataManager, file: File) -> Mark:
    url = source(file.url)
    said = read(file) or Mark(direction, "", url.rstrip("/").rpartition("/")[2] or "root")
    with _written_lock:
        written = _written.setdefault(dm, Counter())
        if direction == "out":
            written[url] += 1
        generation = written.get(url, 0)
    text = f"{dm.dfk.run_id}\0{url}\0{generation}\0{said.extract}\0{said.expect}"
    return said._replace(key=hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32])


def config(
    *,
    site: str,
    account: str = "",
    queue: str = "",
    nodes: int = 1,
    blocks: int = 1,
    walltime: str = "",
    workers: int | None = None,
    worker_init: str = "",
    address: str | None = None,
    staging: Mapping[str, Any] | None = None,
    provider: Mapping[str, Any] | None = None,
    **more: Any,
) -> Config:
    """A ``parsl.Config`` for ``site``: aurora, perlmutter, pbs, slurm or local; files are staged by us.

    :param queue: what the site calls so: queue, QOS or partition; and ``walltime`` (HH:MM:SS): the site's default.
    :param nodes: of one block, which is one job; at most ``blocks`` of them at a time.
    :param workers: on each node; by default one for each accelerator.
    :param worker_init: shell, once for each block, on its first node; this very Python is in the PATH already.
    :param address: by which nodes reach this machine; by default that of the site's network.
    :param staging: options of :class:`NodeStaging`.
    :param provider: options of Parsl's provider, which take precedence. ``more`` are those of ``parsl.Config``.
    :raises ConfigInvalid: there is no such site, or this machine is not on its network.
    """
    from nodexfer.integrations import parsl_config, sites

    return parsl_config.config(
        sites.get(site),
        storage_access(**(staging or {})),
        account=account,
        queue=queue,
        nodes=nodes,
        blocks=blocks,
        walltime=walltime,
        workers=workers,
        worker_init=worker_init,
        address=address,
        provider=provider or {},
        launch_cmd=LAUNCH_CMD,
        more=more,
    )
