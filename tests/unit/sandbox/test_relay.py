"""Who may connect to the relay, who was connected, and what it does about one that says nothing."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nodexfer.sandbox import wire as wires
from nodexfer.sandbox.relay import Relay
from nodexfer.sandbox.storage import StorageError
from nodexfer.sandbox.wire import Wire
from tests.support import eventually


@pytest.fixture
def relay() -> Iterator[Relay]:
    """One that knows the endpoint E by the secret S."""
    found = Relay({"S": "E"}.get)
    yield found
    found.close()


class Double:
    """A stand-in that only says hello. What it is asked for stays unanswered."""

    def __init__(self, relay: Relay, process: str = "p", **fields: object) -> None:
        hello = {"secret": "S", "endpoint": "E", "process": process, "user": "me@here", "pid": 1, "paused": False}
        self.socket = socket.create_connection(relay.address, timeout=30.0)
        self.wire = Wire(self.socket, 30.0)
        self.wire.send(wires.message(wires.REQUEST, **{**hello, **fields}))
        self.answer = self.wire.receive()[0]
        if self.answer == wires.RESULT:
            # The relay answers first and believes it afterwards.
            eventually(lambda: process in [visit.process for visit in relay.history()])

    def session(self, relay: Relay) -> Wire:
        """A data connection for the next number that the relay asks with."""
        _, request = self.wire.receive()
        wire = Wire(socket.create_connection(relay.address, timeout=30.0), 30.0)
        wire.send(wires.message(wires.REQUEST, session=request["open"]))
        return wire


def code(caught: pytest.ExceptionInfo[StorageError]) -> str:
    return caught.value.code


def test_a_stand_in_that_opens_no_data_connection_is_a_timeout(relay: Relay) -> None:
    double = Double(relay)
    with double.socket, pytest.raises(StorageError) as caught:
        relay.storage("E", timeout=0.1).ls("/")
    assert code(caught) == "TIMEOUT"


def test_a_wrong_secret_a_foreign_endpoint_and_noise_are_refused(relay: Relay) -> None:
    for fields in ({"secret": "wrong"}, {"endpoint": "other"}):
        double = Double(relay, **fields)
        with double.socket:
            assert double.answer == wires.ERROR
    with socket.create_connection(relay.address, timeout=30.0) as noise:
        noise.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionError):
            Wire(noise, 30.0).receive()
    assert relay.history() == []


def test_the_number_of_a_data_connection_is_good_once(relay: Relay) -> None:
    double = Double(relay)
    with double.socket, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(relay.storage("E", timeout=30.0).stat, "/x")
        number = double.wire.receive()[1]["open"]
        connections = [socket.create_connection(relay.address, timeout=30.0) for _ in range(2)]
        first, second = (Wire(connection, 30.0) for connection in connections)
        first.send(wires.message(wires.REQUEST, session=number))
        assert first.receive()[1]["op"] == "stat"
        second.send(wires.message(wires.REQUEST, session=number))
        with pytest.raises(ConnectionError):
            second.receive()
        first.send(wires.message(wires.ERROR, code="FILE_NOT_FOUND", details="no"))
        with pytest.raises(StorageError, match="FILE_NOT_FOUND"):
            asked.result(30.0)
        for connection in connections:
            connection.close()


def test_of_two_with_one_endpoint_the_newest_wins_and_both_are_remembered(relay: Relay) -> None:
    old, new = Double(relay, "old"), Double(relay, "new")
    with old.socket, new.socket:
        eventually(lambda: relay.process("E") == "new")
        with pytest.raises(ConnectionError):
            old.wire.receive()
        assert relay.live_max() == {"E": 2}
        assert relay.user_live_max() == {"me@here": 2}
        assert [(visit.process, visit.end) for visit in relay.history()] == [("old", "replaced"), ("new", "")]


def test_one_after_the_other_is_never_two(relay: Relay) -> None:
    for number in range(20):
        double = Double(relay, str(number))
        double.socket.close()
    eventually(lambda: relay.live_count() == 0)
    assert relay.started() == 20
    assert relay.live_max() == {"E": 1}


def test_a_process_that_comes_again_is_the_same_one(relay: Relay) -> None:
    first, again = Double(relay, "p"), Double(relay, "p")
    with first.socket, again.socket:
        assert (relay.live_count("E"), relay.live_max(), relay.started()) == (1, {"E": 1}, 1)


def test_two_endpoints_of_one_user_are_two_of_the_user(tmp_path: Path) -> None:
    relay = Relay({"S": "E", "T": "F"}.get)
    one, other = Double(relay, "p"), Double(relay, "q", secret="T", endpoint="F")
    with one.socket, other.socket:
        eventually(lambda: relay.live_count() == 2)
        assert (relay.live_max(), relay.user_live_max()) == ({"E": 1, "F": 1}, {"me@here": 2})
    relay.close()


def test_closing_leaves_no_thread_and_no_descriptor() -> None:
    threads, descriptors = set(threading.enumerate()), set(os.listdir("/proc/self/fd"))
    relay = Relay({"S": "E"}.get)
    double = Double(relay)
    with double.socket, socket.create_connection(relay.address):
        eventually(lambda: relay.connected("E"))
        relay.close()
    assert set(threading.enumerate()) <= threads
    assert set(os.listdir("/proc/self/fd")) <= descriptors
