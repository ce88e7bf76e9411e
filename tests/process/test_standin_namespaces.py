"""A stand-in in another mount or network namespace serves what it sees there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.standins import Lab, lab

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare(1)"),
]


@pytest.fixture
def gcp(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path, relay_unix=f"{tmp_path}/relay") as found:
        yield found


def start(gcp: Lab, shared: Path, *unshare: str, before: str = ":") -> str:
    shared.mkdir()
    done = gcp.set_up()
    words = [gcp.program, "-start", "-dir", done.config_dir, "-restrict-paths", f"rw{shared}"]
    gcp.spawn_argv(["/usr/bin/env", "unshare", *unshare, "sh", "-c", f'{before} && exec "$0" "$@"', *words])
    eventually(lambda: gcp.relay.connected(done.endpoint))
    return done.endpoint


def test_a_private_tmp_is_the_one_that_is_served(gcp: Lab, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    endpoint = start(gcp, shared, "--mount", before=f"mount -t tmpfs none {shared}")
    storage = gcp.relay.storage(endpoint)
    assert list(storage.write(f"{shared}/x", 0, iter([b"inside"]), None))[-1] == 6
    assert b"".join(storage.read(f"{shared}/x", 0)) == b"inside"
    assert os.listdir(shared) == []


def test_another_network_has_an_address_of_its_own_and_reaches_the_relay(gcp: Lab, tmp_path: Path) -> None:
    endpoint = start(gcp, tmp_path / "shared", "--net")
    assert gcp.relay.storage(endpoint).ls(f"{tmp_path}/shared") == []
    assert gcp.run("-status").code == 1
    second = gcp.set_up("config2")
    gcp.start(second)
    assert sorted(gcp.relay.user_live_max().values()) == [1, 1]
