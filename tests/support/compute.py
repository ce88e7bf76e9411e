"""A sandbox with Globus Compute, and real endpoints at it.

A pytest plugin (see tests/conftest.py): a test marked ``compute`` names the fixtures ``compute_box`` and
``compute_endpoint``. The broker is started once a session; every test finds the service without endpoints.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nodexfer import procs
from nodexfer.errors import ServiceUnreachable
from nodexfer.sandbox.compute import broker
from nodexfer.sandbox.launch import Sandbox
from tests.support import apt
from tests.support.sandbox import QUICK, Box
from tests.support.waiting import eventually

#: The programs of globus-compute-endpoint 4.6 with globus-sdk 3.65.
OLD = Path(__file__).parents[2] / ".venv-sdk3" / "bin"
#: Everything on a loaded machine: a first call starts half a dozen Pythons one after the other.
SECONDS = 150.0

_CONFIG = {"display_name": "a test's endpoint", "heartbeat_period": 10}
#: The newest wants to know whom to tell, as root; 4.6 does not know the word.
_CONTACT = {"email": "tester@sandbox.example"}
#: Nothing in it is asked of the user.
TEMPLATE = """\
heartbeat_period: 5
engine:
  type: GlobusComputeEngine
  address: 127.0.0.1
  max_workers_per_node: 2
  heartbeat_period: 2
  heartbeat_threshold: 120
  job_status_kwargs: {strategy_period: 1, max_idletime: 300}
  provider:
    type: LocalProvider
    init_blocks: 1
    min_blocks: 0
    max_blocks: 1
"""
_SCHEMA = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}


class Endpoint(NamedTuple):
    """A core endpoint that runs. ``environment`` is that of its user: the sandbox's and its own directory."""

    id: str
    name: str
    directory: Path
    environment: Mapping[str, str]
    process: procs.Process
    bin: Path

    def command(self, *words: str, timeout: float = SECONDS) -> procs.Completed:
        """``globus-compute-endpoint`` as its user."""
        return procs.run([str(self.bin / "globus-compute-endpoint"), *words], timeout=timeout, environ=self.environment)

    def python(self, script: str | Path, *arguments: str, timeout: float = 2 * SECONDS) -> procs.Completed:
        """A script with the SDK, as its user."""
        argv = [str(self.bin / "python"), str(script), *arguments]
        return procs.run(argv, timeout=timeout, environ=self.environment, cwd="/")

    def stop(self) -> None:
        """By ``globus-compute-endpoint stop``, which waits until the process is gone: until its parent has looked."""
        argv = [str(self.bin / "globus-compute-endpoint"), "stop", self.name]
        stopping = procs.spawn(argv, environ=self.environment, death_signal=signal.SIGKILL)
        assert self.process.wait(SECONDS) is not None
        assert stopping.wait(SECONDS) == 0
        stopping.close()

    def log(self) -> str:
        """What it and its user endpoints wrote."""
        return "\n".join(path.read_text(errors="replace") for path in self.directory.parent.glob("*/endpoint.log"))


def need_broker() -> None:
    """Install it where it is missing. As another user than root that is said, and the test has failed."""
    try:
        broker.need()
        return
    except ServiceUnreachable as missing:
        try:
            said = apt.install("rabbitmq-server")
        except OSError as error:
            pytest.fail(f"{missing} {error} Run as root: {missing.next}")
    try:
        broker.need()
    except ServiceUnreachable as missing:
        pytest.fail(f"{missing} {said[-1500:]}")


@pytest.fixture(scope="session")
def compute_server(homes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    need_broker()
    directory = tmp_path_factory.mktemp("compute")
    for name in ("site", "other"):
        (directory / name).mkdir()
    sites = {name: str(directory / name) for name in ("site", "other")}
    with Sandbox.start(directory / "box", sites, allow_root=True, switches=QUICK, compute=True) as started:
        yield started


@pytest.fixture
def compute_box(compute_server: Sandbox, tmp_path: Path) -> Iterator[Box]:
    """As the fixture ``box``, with Globus Compute: nothing is registered, its site directories are this test's own."""
    compute_server.reset()
    site, other = tmp_path / "site", tmp_path / "other"
    for path, name in ((site, "site"), (other, "other")):
        path.mkdir()
        compute_server.add_site(name, str(path))
    yield Box(compute_server, site, other)
    compute_server.clear()


@pytest.fixture
def compute_endpoint(compute_box: Box, tmp_path: Path) -> Iterator[Endpoint]:
    """An endpoint of two workers on this machine."""
    with running_endpoint(compute_box.sandbox, tmp_path / "globus_compute") as endpoint:
        yield endpoint


def user_environment(sandbox: Sandbox, user_directory: Path, bin: Path) -> dict[str, str]:
    return {
        **os.environ,
        **sandbox.environment,
        "GLOBUS_COMPUTE_USER_DIR": str(user_directory),
        "PATH": f"{bin}:{os.environ['PATH']}",
    }


@contextmanager
def running_endpoint(
    sandbox: Sandbox,
    user_directory: Path,
    *,
    name: str = "tep",
    template: str = TEMPLATE,
    extra: Mapping[str, str] | None = None,
    bin: Path | None = None,
) -> Iterator[Endpoint]:
    """Configure an endpoint if it is not, start it, wait until the service sees it; stopped at the end.

    :param extra: more environment for its user endpoints.
    :param bin: the directory of the ``globus-compute-endpoint`` to run; that of this Python otherwise.
    """
    programs = bin or Path(sys.executable).parent
    user_directory.mkdir(parents=True, exist_ok=True)
    environment = user_environment(sandbox, user_directory, programs)
    directory = user_directory / name
    if not directory.exists():
        _configure(directory, programs, environment, template, extra or {})
    with open(user_directory / f"{name}.out", "wb") as out:
        process = procs.spawn(
            [str(programs / "globus-compute-endpoint"), "start", name],
            environ=environment,
            stdout=out,
            stderr=out,
            new_session=True,  # at its end it signals its whole process group
            death_signal=signal.SIGTERM,
            cwd="/",
        )
    try:
        made = eventually(lambda: _registered(process, directory, user_directory / f"{name}.out"), SECONDS)
        eventually(lambda: online(sandbox, made), SECONDS)
        yield Endpoint(made, name, directory, environment, process, programs)
    finally:
        stop(process)


def stop(process: procs.Process) -> None:
    """As Ctrl-C does: it ends its user endpoints first. Killed as a group where it does not come to an end."""
    if process.poll() is None:
        process.terminate()
        if process.wait(60.0) is None:
            process.kill_group()
            process.wait(10.0)
    process.close()


def online(sandbox: Sandbox, id: str) -> bool:
    return any(found["id"] == id and found["online"] for found in sandbox.status()["compute"]["endpoints"])


def _configure(
    directory: Path, programs: Path, environment: Mapping[str, str], template: str, extra: Mapping[str, str]
) -> None:
    command = [str(programs / "globus-compute-endpoint"), "configure", "--multi-user", "false", directory.name]
    done = procs.run(command, timeout=SECONDS, environ=environment, cwd="/")
    assert done.code == 0, done
    own = {key: environment[key] for key in ("PATH", "HOME", "GLOBUS_COMPUTE_USER_DIR")}
    files: dict[str, Any] = {
        "config.yaml": _CONFIG if programs == OLD else _CONFIG | _CONTACT,
        "user_config_schema.json": _SCHEMA,
        "user_environment.yaml": own | dict(extra),
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content))
    (directory / "user_config_template.yaml.j2").write_text(template)


def _registered(process: procs.Process, directory: Path, out: Path) -> str:
    if process.poll() is not None:
        pytest.fail(f"the endpoint has ended: {out.read_text()} {(directory / 'endpoint.log').read_text()}")
    text = (directory / "endpoint.json").read_text()  # written in place: it may be half there
    return str(json.loads(text)["endpoint_id"]) if text.endswith("}") else ""
