"""What a sandbox says that can not have Globus Compute. (With it: tests/compute.)"""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.cli import main
from nodexfer.clock import Deadline
from nodexfer.errors import ServiceUnreachable
from nodexfer.sandbox.compute import broker
from nodexfer.sandbox.compute.broker import Account, Broker, Ports
from nodexfer.sandbox.layout import Layout
from nodexfer.sandbox.readiness import ready
from tests.support.sandbox import Box


def start(tmp_path: Path) -> int:
    return main(["sandbox", "start", "--compute", "--dir", str(tmp_path / "box")])


def test_without_rabbitmq_it_says_which_command_brings_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "PROGRAM", str(tmp_path / "rabbitmq-server"))
    assert start(tmp_path) == ServiceUnreachable.exit_code
    told = capsys.readouterr().err
    assert "needs RabbitMQ, which is not installed" in told
    assert "Next: sudo apt-get install --no-install-recommends rabbitmq-server" in told
    assert not (tmp_path / "box").exists()


def test_without_pika_it_says_which_command_brings_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pika.py").write_text("raise ModuleNotFoundError(\"No module named 'pika'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("nodexfer.sandbox.launch.need_broker", lambda: None)
    assert start(tmp_path) == 1
    assert capsys.readouterr().err.endswith("pika is not installed.\nNext: pip install 'nodexfer[sandbox,compute]'\n")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is taken for the broker; epmd is taken for there."""
    path = tmp_path / "rabbitmq-server"
    path.write_text("#!/bin/sh\nenv > environ; echo no room >&2; exit 1\n")
    path.chmod(0o755)
    (tmp_path / "epmd").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "epmd").chmod(0o755)
    monkeypatch.setattr(broker, "PROGRAM", str(path))
    monkeypatch.setattr(broker, "PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(
        Broker, "_listens", lambda self, process, *_: process is self._epmd or process.wait(30.0) is None
    )
    return path


def test_a_broker_that_ends_is_tried_again_elsewhere_and_then_told(tmp_path: Path, program: Path) -> None:
    made = Broker(str(tmp_path / "broker"), Account("user", "secret"), Ports(1, 2, 3))
    with pytest.raises(ServiceUnreachable, match="did not start") as refused:
        made.start(60.0)
    log = tmp_path / "broker" / "broker.log"
    assert refused.value.next == f"tail {log}"
    assert log.read_text() == "no room\n" * broker.TRIES
    assert not made.alive
    again = Broker(str(tmp_path / "broker"), Account("user", "secret"))
    with pytest.raises(ServiceUnreachable, match="did not start"):  # and not that another one has the files
        again.start(60.0)


def test_the_brokers_files_and_environment_are_its_own(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RABBITMQ_NODENAME", "the-users-own")
    with pytest.raises(ServiceUnreachable):
        Broker(str(tmp_path / "broker"), Account("user", "secret")).start(60.0)
    told = dict(line.split("=", 1) for line in (tmp_path / "broker" / "environ").read_text().splitlines())
    assert told["RABBITMQ_NODENAME"] == "sandbox@localhost"
    assert told["HOME"] == str(tmp_path / "broker" / "home")
    settings = tmp_path / "broker" / "rabbitmq.conf"
    assert "default_pass = secret" in settings.read_text()
    assert "listeners.tcp.1 = 127.0.0.1:" in settings.read_text()
    cookie = tmp_path / "broker" / "home" / ".erlang.cookie"
    assert (stat.S_IMODE(settings.stat().st_mode), stat.S_IMODE(cookie.stat().st_mode)) == (0o600, 0o400)
    assert len(cookie.read_text()) == 40


def test_the_files_are_one_brokers_at_a_time(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "LOCK_SECONDS", 0.05)
    first, second = (Broker(str(tmp_path / "broker"), Account("user", "secret")) for _ in range(2))
    first._make_files()
    first._take()
    with pytest.raises(ServiceUnreachable, match="Another broker"):
        second.start(60.0)
    first.stop()


def test_a_port_that_is_asked_for_and_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        # Elsewhere: waitress does not close what it can not bind.
        done = procs.run(procs.python("-c", _SERVES, str(port)), timeout=60.0)
    told, other = done.out.splitlines()
    assert told == f"Globus Compute can not listen at port {port}: Address already in use. ss -ltnp 'sport = :{port}'"
    assert int(other) != port  # that of last time was not asked for


_SERVES = """\
import sys
from nodexfer.errors import ServiceUnreachable
from nodexfer.sandbox.compute.start import _serve
try:
    _serve(lambda *_: [], 0, int(sys.argv[1]))
except ServiceUnreachable as error:
    print(error, error.next)
print(_serve(lambda *_: [], int(sys.argv[1]), None).effective_port)
"""


def test_what_keeps_the_server_from_starting_is_told_in_its_own_words(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "box")).make()
    with open(layout.log, "wb") as errors:
        process = procs.spawn(procs.python("-c", _FAILS, layout.directory), stdout=procs.PIPE, stderr=errors)
    with pytest.raises(ServiceUnreachable, match=r"did not start: There is no broker\. Next: look for one"):
        ready(process, layout, Deadline(60.0))


_FAILS = """\
import sys
from nodexfer.errors import ServiceUnreachable
from nodexfer.sandbox import server
def start(self):
    raise ServiceUnreachable("There is no broker.", "look for one")
server._Server._start_compute = start
sys.exit(server.main(["--directory", sys.argv[1], "--compute"]))
"""


def test_without_it_nothing_of_it_is_said(box: Box) -> None:
    assert box.sandbox.status()["compute"] is None
    assert box.sandbox.compute_url is None
    assert not {"GLOBUS_COMPUTE_CLIENT_ID", "GLOBUS_SDK_ENVIRONMENT", "PYTHONPATH"} & box.sandbox.environment.keys()
