"""A user of the sandbox: a pool, a place, and eyes on who leads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodexfer.config import Config
from nodexfer.identity import ProcessId
from nodexfer.node import endpoint
from nodexfer.pool import entries
from nodexfer.pool import lease as leases
from tests.support.holding import holds, nodexfer, place
from tests.support.sandbox import Box
from tests.support.waiting import eventually

#: Short enough for tests to see the end of it.
LINGER = 0.5


@pytest.fixture
def user(box: Box, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Turned to the sandbox, with the collection ``site`` and no pool yet. The place lies on a root of its own."""
    for name, value in box.sandbox.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NODEXFER_LINGER", str(LINGER))
    home = Path(os.environ["HOME"], ".nodexfer")
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(f'[collections.site]\nid = "{box.site_id}"\n')
    return place()


def make_pool(count: int = 1) -> None:
    """:raises AssertionError: it could not be made."""
    done = nodexfer("pool", "create", "--count", str(count), "--prefix", "p")
    assert done.code == 0, done


def leader(config: Config) -> endpoint.Endpoint:
    """What the living leader says. :raises AssertionError: nobody leads."""
    found = endpoint.read(config.node_paths)
    assert found is not None, "nobody says anything"
    assert found.led, "nobody leads"
    return found


def is_ready(config: Config, job: str | None = None) -> endpoint.Endpoint:
    """:raises AssertionError: not (yet), or not led by this job's keeper."""
    found = leader(config)
    assert found.ready, f"{found.state}: {found.message}"
    assert job in (None, found.keeper), found.keeper
    return found


def ready(config: Config, job: str | None = None, deadline: float = 30.0) -> endpoint.Endpoint:
    """Wait for it."""
    return eventually(lambda: is_ready(config, job), deadline)


def tops(config: Config) -> list[leases.Lease]:
    """The highest lease of each entry of the pool that has one."""
    found = [leases.top(entry.directory) for entry in entries.read_pool(config.home_paths, config.pool)]
    return [top for top in found if top is not None]


def held(config: Config) -> list[int]:
    """The numbers of the leases that are not given back."""
    return [top.number for top in tops(config) if not top.released]


def parts(config: Config) -> dict[str, list[ProcessId]]:
    """The living processes of this test's place, by what they are: keeper, desk, guard, gcp."""
    found: dict[str, list[ProcessId]] = {"keeper": [], "desk": [], "guard": [], "gcp": []}
    node = f"NODEXFER_NODE_DIR={config.node_dir}".encode()
    gcp = f"NODEXFER_GCP_DIR={config.node_dir}/gcp-".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            environ = Path(f"/proc/{name}/environ").read_bytes()
            kind = _kind(words, node in environ, gcp in environ)
            if kind:
                found[kind].append(ProcessId.of(int(name)))
        except (OSError, ProcessLookupError):
            continue
    return found


def _kind(words: list[bytes], ours: bool, gcp: bool) -> str | None:
    if gcp:
        return "gcp"
    modules = {b"nodexfer.node.keeper": "keeper", b"nodexfer.staging.desk": "desk", b"nodexfer.gcp.guard": "guard"}
    return next((kind for word, kind in modules.items() if ours and word in words), None)


def one_of(config: Config, kind: str) -> ProcessId:
    """The only one. :raises AssertionError: there is none, or more than one."""
    [found] = parts(config)[kind]
    return found


def quiet(config: Config) -> bool:
    """No process, no lease held, no hold. :raises AssertionError: not (yet)."""
    left = {kind: found for kind, found in parts(config).items() if found}
    assert not left, left
    assert held(config) == []
    assert holds(config) == []
    return True
