"""The desk as a process: its lines, its lock, and its end with the leader's."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nodexfer import procs
from nodexfer.config import Config, load
from nodexfer.node import bell
from tests.support.sandbox import Box
from tests.support.waiting import eventually


class Desk:
    """The leader's side of it."""

    def __init__(self, environ: dict[str, str], log: int = 2) -> None:
        self.process = procs.spawn(
            procs.python("-m", "nodexfer.staging.desk"),
            environ={**os.environ, **environ},
            stdin=procs.PIPE,
            stdout=procs.PIPE,
            stderr=log,
        )
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        self._out, self._in = self.process.stdout, self.process.stdin

    def say(self, **message: Any) -> None:
        self._in.write(json.dumps(message).encode() + b"\n")
        self._in.flush()

    def hear(self, seconds: float = 30.0) -> dict[str, Any]:
        assert select.select([self._out], [], [], seconds)[0], "it said nothing"
        found: dict[str, Any] = json.loads(self._out.readline())
        return found

    def fileno(self) -> int:
        return self._out.fileno()

    def is_silent(self, seconds: float = 0.5) -> bool:
        return not select.select([self._out], [], [], seconds)[0]


@pytest.fixture
def config() -> Config:
    config = load(os.environ)
    config.node_paths.make()
    return config


@contextmanager
def desk(environ: dict[str, str], log: int = 2) -> Iterator[Desk]:
    made = Desk(environ, log)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait(5)
        made.process.close()


def test_it_says_who_it_is_and_stops_when_told(box: Box, config: Config) -> None:
    with desk(box.sandbox.environment) as one:
        hello = one.hear()
        assert hello["hello"] == one.process.pid
        assert hello["identity"] == box.sandbox.environment["NODEXFER_CLIENT_ID"]
        one.say(do="nonsense")
        one.say(do="ping")
        assert one.hear() == {"pong": True}
        one.say(do="stop")
        assert one.process.wait(30) == 0
    assert not os.path.exists(config.node_paths.desk_bell)


def test_it_ends_at_once_with_the_leader(box: Box, config: Config) -> None:
    with desk(box.sandbox.environment) as one:
        one.hear()
        assert one.process.stdin is not None
        one.process.stdin.close()
        assert one.process.wait(10) == 0


def test_asked_where_it_stands_it_writes_that_down_and_goes_on(box: Box, config: Config, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as log, desk(box.sandbox.environment, log.fileno()) as one:
        one.hear()
        one.process.signal(signal.SIGUSR2)
        eventually(lambda: "desk.py" in path.read_text())
        one.say(do="stop")
        assert one.process.wait(30) == 0


def test_there_are_never_two(box: Box, config: Config) -> None:
    with desk(box.sandbox.environment) as one, desk(box.sandbox.environment) as two:
        ready = select.select([one, two], [], [], 30.0)[0]
        first, second = (one, two) if one in ready else (two, one)
        first.hear()
        assert second.is_silent()
        first.process.kill()
        assert "hello" in second.hear()


def test_without_a_token_it_says_so_and_goes(box: Box, config: Config) -> None:
    environ = {key: value for key, value in box.sandbox.environment.items() if not key.startswith("NODEXFER_CLIENT")}
    with desk(environ) as one:
        assert one.hear()["error"]["error"] == "TokenMissing"
        assert one.process.wait(30) == 3


def test_an_endpoint_that_is_not_connected_does_not_become_ready(box: Box, config: Config, tmp_path: Path) -> None:
    exchange = tmp_path / "exchange"
    exchange.mkdir()
    with desk(box.sandbox.environment) as one:
        one.hear()
        one.say(do="serve", endpoint=box.site_id, lease=1, exchanges={"/": str(exchange)}, seconds=0.2)
        answer = one.hear()
        assert answer["error"]["error"] == "EndpointFailed"
        assert os.listdir(exchange) == []
        one.say(do="fence", endpoint=box.site_id, lease=1, seconds=1)
        assert one.hear()["error"]["error"] == "EndpointNotOurs"


def test_a_broken_request_is_answered_as_soon_as_the_bell_rings(box: Box, config: Config) -> None:
    with desk(box.sandbox.environment) as one:
        one.hear()
        directory = f"{config.node_paths.spool}/job/r0123456789abcdef"
        # Whole beside its place, then renamed, as commands do: the desk also looks when no bell rings.
        unborn = f"{config.node_paths.spool}/job/.new-r0123456789abcdef"
        os.makedirs(unborn)
        with open(f"{unborn}/request.json", "w", encoding="utf-8") as file:
            file.write('{"format": 1}')
        os.rename(unborn, directory)
        assert bell.ring(config.node_paths.desk_bell)
        eventually(lambda: os.path.exists(f"{directory}/result.json"))
