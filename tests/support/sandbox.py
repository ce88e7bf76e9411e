"""A real sandbox for tests: one server a session (and xdist worker), as new for every test.

A pytest plugin (see tests/conftest.py): a test names the fixtures ``box``, ``transfer`` or ``make_gcp``.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from nodexfer import procs
from nodexfer.sandbox.launch import Sandbox
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from globus_sdk import TransferClient

TRANSFER_SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"
#: Quicker than the documented behaviour, and without the rate limit: tests ask often.
QUICK = {"requests_per_second": 0, "resume_seconds": 0.05, "reconnect_seconds": 0.1, "report_seconds": 0.2}


class Box(NamedTuple):
    """The sandbox and its two site collections: ``site`` and ``other``."""

    sandbox: Sandbox
    site: Path
    other: Path

    @property
    def site_id(self) -> str:
        return self.sandbox.site_id("site")

    @property
    def other_id(self) -> str:
        return self.sandbox.site_id("other")

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, turned to the sandbox."""
        return {**os.environ, **self.sandbox.environment}


class Gcp(NamedTuple):
    """A stand-in that runs: its endpoint, config directory, and the directory that it may use (``rw``)."""

    endpoint: str
    name: str
    config_dir: Path
    root: Path
    process: procs.Process

    def stop(self) -> None:
        """Kill its launcher and what that started; the rest of its tree goes with gc-ctrl.py."""
        self.process.kill_group()
        self.process.wait(10.0)


@pytest.fixture(scope="session")
def sandbox_server(homes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    directory = tmp_path_factory.mktemp("sandbox")
    for name in ("site", "other"):
        (directory / name).mkdir()
    sites = {name: str(directory / name) for name in ("site", "other")}
    with Sandbox.start(str(directory / "box"), sites, allow_root=True, switches=QUICK) as started:
        yield started


@pytest.fixture
def box(sandbox_server: Sandbox, tmp_path: Path) -> Iterator[Box]:
    """Without endpoints, tasks and faults; its site directories are empty and this test's own."""
    sandbox_server.reset()
    site, other = tmp_path / "site", tmp_path / "other"
    for path, name in ((site, "site"), (other, "other")):
        path.mkdir()
        sandbox_server.add_site(name, str(path))
    yield Box(sandbox_server, site, other)
    sandbox_server.clear()


def transfer_client(box: Box, client: tuple[str, str] | None = None) -> TransferClient:
    """A TransferClient of the sandbox's client, or of another."""
    # Most tests need no sandbox, and this import costs more than they do.
    from globus_sdk import ClientCredentialsAuthorizer, ConfidentialAppAuthClient, TransferClient

    environment = box.sandbox.environment
    own = environment["NODEXFER_CLIENT_ID"], environment["NODEXFER_CLIENT_SECRET"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():  # looked at when a client is made, and never again
            patch.setenv(name, value)
        auth = ConfidentialAppAuthClient(*(client or own))
        return TransferClient(authorizer=ClientCredentialsAuthorizer(auth, TRANSFER_SCOPE))


@pytest.fixture
def transfer(box: Box) -> TransferClient:
    return transfer_client(box)


@contextmanager
def running_gcp(box: Box, directory: Path, name: str | None = None) -> Iterator[Gcp]:
    """Create an endpoint, set it up and start it; it is connected, and the service sees it."""
    config_dir, root = directory / "config", directory / "files"
    config_dir.mkdir(parents=True)
    root.mkdir()
    display_name = name or f"gcp-{uuid.uuid4()}"
    made = _create(box, display_name)
    program = box.sandbox.gcp
    where = ["-dir", str(config_dir)]
    environ = {"USER": "tester", **os.environ}  # GCP needs a name, and a container's user may have none
    setup = [program, "-setup", "--setup-key", made["globus_connect_setup_key"], *where]
    done = procs.run(setup, timeout=30.0, environ=environ)
    assert done.code == 0, done
    process = procs.spawn(
        [program, "-start", "-restrict-paths", f"rw{root}", "-shared-paths", "", *where],
        environ=environ,
        new_group=True,
        death_signal=signal.SIGKILL,
    )
    gcp = Gcp(made["id"], display_name, config_dir, root, process)
    try:
        eventually(lambda: _connected(box, gcp.endpoint))
        yield gcp
    finally:
        gcp.stop()
        process.close()


@pytest.fixture
def make_gcp(box: Box, tmp_path: Path) -> Iterator[Callable[[], Gcp]]:
    """Starts one more GCP at each call. (The stand-in is one per user: the second of a test is refused.)"""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(running_gcp(box, tmp_path / f"gcp-{uuid.uuid4()}"))


def _create(box: Box, name: str) -> dict[str, Any]:
    client = transfer_client(box)
    found = client.post("/v0.10/endpoint", data={"is_globus_connect": True, "display_name": name, "public": False})
    return dict(found.data)


def _connected(box: Box, endpoint: str) -> bool:
    return any(found["connected"] for found in box.sandbox.status()["endpoints"] if found["id"] == endpoint)
