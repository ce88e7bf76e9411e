"""A sandbox with Globus Compute starts, stops and is killed: beside another one, and without leaving anything."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.identity import ProcessId
from nodexfer.sandbox.launch import Sandbox, is_running
from nodexfer.sandbox.layout import Layout
from tests.compute.test_full_stack import FLOWS, run
from tests.support.compute import Endpoint, need_broker, running_endpoint, user_environment
from tests.support.compute_app import SCOPE
from tests.support.sandbox import QUICK
from tests.support.waiting import eventually

pytestmark = [pytest.mark.compute, pytest.mark.timeout(400)]


def processes(directory: Path) -> list[str]:
    """What has the directory among its arguments, in its environment, or as its own."""
    mark = str(directory).encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            told = Path(f"/proc/{name}/environ").read_bytes() + Path(f"/proc/{name}/cmdline").read_bytes()
            own = os.readlink(f"/proc/{name}/cwd").encode()
        except OSError:
            continue
        if mark in told or own.startswith(mark):
            found.append(f"{name} {Path(f'/proc/{name}/cmdline').read_bytes()!r}")
    return found


def ports(directory: Path) -> list[int]:
    return list(json.loads((directory / "sandbox.json").read_text())["compute"]["ports"])


def listens(port: int) -> bool:
    with socket.socket() as asking:
        asking.settimeout(5.0)
        return asking.connect_ex(("127.0.0.1", port)) == 0


def refused(sandbox: Sandbox) -> str:
    """What is said to who registers an endpoint. (The SDK would ask six times.)"""
    environment = sandbox.environment
    who = {"client_id": environment["GLOBUS_COMPUTE_CLIENT_ID"], "scope": SCOPE, "grant_type": "client_credentials"}
    form = urllib.parse.urlencode({**who, "client_secret": environment["GLOBUS_COMPUTE_CLIENT_SECRET"]})
    with urllib.request.urlopen(f"{sandbox.url}v2/oauth2/token", form.encode(), timeout=60.0) as answer:
        headers = {"Authorization": f"Bearer {json.load(answer)['access_token']}"}
    request = urllib.request.Request(f"{sandbox.compute_url}/v3/endpoints", b'{"endpoint_name": "x"}', headers)
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=60.0)
    with error.value:
        return str(json.load(error.value)["reason"])


def test_two_side_by_side_and_nothing_left_of_one_that_is_killed(
    compute_endpoint: Endpoint, compute_server: Sandbox, tmp_path: Path
) -> None:
    """The second at the port that the SDK looks for by itself, without the sitecustomize; killed, started, stopped."""
    if listens(5000):
        pytest.skip("somebody listens at port 5000")
    need_broker()
    directory = tmp_path / "second"
    with ExitStack() as stack:
        second = Sandbox.start(directory, allow_root=True, switches=QUICK, compute=True, compute_port=5000)
        stack.push(second)
        assert second.environment["GLOBUS_SDK_ENVIRONMENT"] == "local"
        assert "PYTHONPATH" not in second.environment
        assert not set(ports(directory)) & set(ports(Path(compute_server.directory)))
        with running_endpoint(second, tmp_path / "globus_compute_2") as endpoint:
            assert run(endpoint, "one")["first"][0] == 42
            unknown = endpoint.python(FLOWS, "status", compute_endpoint.id)
            assert "ENDPOINT_NOT_FOUND" in unknown.err
            assert run(compute_endpoint, "status") == {"status": "online"}
        assert len(processes(directory)) >= 4  # server, epmd, broker and the broker's own
        [broker] = [int(line.split()[0]) for line in processes(directory) if "beam" in line]
        assert procs.signal(ProcessId.of(broker), signal.SIGKILL)
        eventually(lambda: second.status()["compute"]["broker"] == "ended")
        assert "The sandbox's broker does not answer" in refused(second)
        running = ProcessId.of(second._pid)
        assert procs.signal(running, signal.SIGKILL)
        eventually(lambda: not is_running(Layout(str(directory))) and not processes(directory))
        assert not any(map(listens, ports(directory)))
        again = stack.enter_context(Sandbox.start(directory, allow_root=True, compute=True))
        assert again.environment == second.environment
        assert [found["id"] for found in again.status()["compute"]["endpoints"]] == [endpoint.id]
        assert again.status()["compute"]["tasks"] == {"waiting": 0, "success": 1, "failed": 0}
    assert processes(directory) == []
    assert not any(map(listens, ports(directory)))
    assert {path.name for path in directory.iterdir()} <= {
        *("admin-token", "compute", "gcp", "sandbox.json", "server.lock", "server.log", "state.db"),
    }
    assert {path.name for path in (directory / "compute").iterdir()} == {"broker", "python", "state.db"}


def test_the_files_are_ours_alone_and_the_ports_this_machines(compute_server: Sandbox) -> None:
    directory = Path(compute_server.directory, "compute")
    for path in (directory, directory / "broker", directory / "broker" / "home"):
        assert path.stat().st_mode & 0o077 == 0, path
    password = json.loads(Path(compute_server.directory, "sandbox.json").read_text())["compute"]["account"][1]
    shown = Path("/proc").glob("[0-9]*/cmdline")
    assert not any(password.encode() in _read(path) for path in shown)  # other users can see these
    addresses = procs.run(["sh", "-c", "cat /proc/net/tcp /proc/net/tcp6"], timeout=10.0).out
    rows = [line.split() for line in addresses.splitlines() if ":" in line]
    wanted = {f"{port:04X}" for port in ports(Path(compute_server.directory))}
    listening = [row[1].split(":") for row in rows if len(row) > 3 and row[3] == "0A"]
    here = {"0100007F", "00000000000000000000000001000000"}
    assert {port for _, port in listening} >= wanted
    assert {address for address, port in listening if port in wanted} <= here


def test_status_shows_endpoints_and_broker(compute_endpoint: Endpoint, compute_server: Sandbox) -> None:
    shown = procs.run(
        [str(compute_endpoint.bin / "nodexfer"), "sandbox", "status", "--dir", compute_server.directory],
        timeout=60.0,
        environ=user_environment(compute_server, compute_endpoint.directory.parent, compute_endpoint.bin),
    )
    assert f"Globus Compute is at {compute_server.compute_url}; its broker is running." in shown.out
    assert compute_endpoint.id in shown.out
    assert "online" in shown.out


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
