"""Trouble, said clearly: what is hopeless ends in seconds with its task cancelled; what mends itself is told."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from globus_sdk import TransferClient

from nodexfer import procs
from nodexfer.globus.events import CODES
from nodexfer.identity import ProcessId
from nodexfer.node.status import tasks
from tests.support.holding import NODEXFER, Script, nodexfer
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually

#: Seconds from a fatal event to the end of the request.
BAR = 15.0


@pytest.fixture
def user(box: Box) -> User:
    return User(box)


@pytest.fixture
def script(user: User) -> Iterator[Script]:
    """A job with the endpoint up."""
    made = user.job()
    try:
        made.acquire("--endpoint")
        yield made
        made.must("release")
        made.end()
    finally:
        if made.process.alive:
            made.kill()


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """Do ``work`` in a thread meanwhile; what it fails with, we fail with."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        yield
        done.result(30)


def fatal_codes(transfer: TransferClient) -> list[str]:
    return [task["fatal_error"]["code"] for task in transfer.task_list() if task["fatal_error"]]


@pytest.mark.parametrize("codes", [("NO_SPACE_LEFT", "QUOTA_EXCEEDED", "NO_CREDENTIALS", "NOT_A_SYMLINK")])
def test_a_hopeless_task_is_cancelled_and_its_request_ends(
    user: User, script: Script, transfer: TransferClient, codes: tuple[str, ...]
) -> None:
    (user.site / "set").mkdir()
    (user.site / "set/a").write_text("a")
    for code in codes:
        row = CODES[code]
        assert row.error is not None
        user.box.sandbox.fault("fail_path", endpoint=user.box.site_id, path="/set/a", code=code)
        began = time.monotonic()
        exit_code, words = script.run(f"{' '.join(NODEXFER)} stage-in site:/set {user.root}/here")
        assert time.monotonic() - began < BAR
        assert exit_code == row.error.exit_code
        assert code in words
        assert row.cause in words
        assert not (user.root / "here").exists()
        user.box.sandbox.clear()
    assert fatal_codes(transfer) == ["CANCELED"] * len(codes)
    assert user.receipts == []
    eventually(lambda: user.leftovers() == [])


def test_a_task_that_becomes_hopeless_in_the_middle_ends_soon_after(
    user: User, script: Script, transfer: TransferClient
) -> None:
    (user.site / "set").mkdir()
    for number in range(8):
        (user.site / f"set/{number}").write_bytes(b"x" * 200_000)
    user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=200_000)
    at: list[float] = []

    def fill() -> None:
        eventually(lambda: any(task["bytes_transferred"] for task in transfer.task_list()))
        at.append(time.monotonic())
        user.box.sandbox.fault("fail_path", path=f"{user.config.node_dir}/exchange", code="NO_SPACE_LEFT")

    with beside(fill):
        exit_code, words = script.run(f"{' '.join(NODEXFER)} stage-in site:/set {user.root}/here")
    assert (exit_code, "NO_SPACE_LEFT" in words) == (52, True), words
    assert time.monotonic() - at[0] < BAR
    assert fatal_codes(transfer) == ["CANCELED"]
    assert not (user.root / "here").exists()


def test_what_globus_tries_again_is_told_by_status_and_kept_in_the_receipt(user: User, script: Script) -> None:
    (user.site / "set").mkdir()
    (user.site / "set/a").write_text("a")
    fault = user.box.sandbox.fault("fail_path", endpoint=user.box.site_id, path="/set/a", code="ENDPOINT_TOO_BUSY")
    cause = CODES["ENDPOINT_TOO_BUSY"].cause
    seen: list[str] = []

    def look() -> bool:
        found = nodexfer("status", environ=user.environ).out
        seen.append(found)
        return cause in found

    def watch() -> None:
        eventually(look)
        rows = json.loads(nodexfer("status", "--json", environ=user.environ).out)["tasks"]
        user.box.sandbox.clear(fault)
        assert [(row["trouble"], row["cause"]) for row in rows] == [("ENDPOINT_TOO_BUSY", cause)]

    with beside(watch):
        script.must(f"stage-in site:/set {user.root}/here")
    assert max(len(line) for line in seen[-1].splitlines()) <= 80
    assert user.receipts[-1]["troubles"] == [{"code": "ENDPOINT_TOO_BUSY", "cause": cause}]


def gcp_of(user: User, program: bytes) -> list[ProcessId]:
    """The processes of this node's GCP that run ``program``."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
            if any(program in word for word in words) and any(user.config.node_dir.encode() in word for word in words):
                found.append(ProcessId.of(int(name)))
        except (OSError, ProcessLookupError):
            continue  # it has ended meanwhile
    return found


@pytest.mark.slow
def test_a_transfer_through_a_frozen_gcp_stalls_is_told_and_ends_well_through_a_new_one(
    user: User, script: Script, transfer: TransferClient
) -> None:
    (user.site / "big").write_bytes(os.urandom(3_000_000))
    slow = user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=100_000)
    states: list[str] = []

    def freeze() -> None:
        eventually(lambda: any(task["bytes_transferred"] for task in transfer.task_list()))
        frozen = gcp_of(user, b"globus-gridftp-server")
        assert frozen
        for process in frozen:
            procs.signal(process, signal.SIGSTOP)
        user.box.sandbox.clear(slow)

        def told() -> bool:
            # What status tells; it is so for half a second only, in which a busy machine starts no command.
            states.extend(str(row["state"]) for row in tasks(user.config.node_paths))
            return any("no bytes for 2 s" in state for state in states)

        eventually(told)
        eventually(lambda: not any(process.alive for process in frozen))

    with beside(freeze):
        script.must(f"stage-in --stall 2 site:/big {user.root}/big")
    assert (user.root / "big").read_bytes() == (user.site / "big").read_bytes()
    assert "STALLED" in [trouble["code"] for trouble in user.receipts[-1]["troubles"]]
    assert len(user.receipts[-1]["tasks"]) == 1
    assert user.tasks() == {"ACTIVE": 0, "SUCCEEDED": 1, "FAILED": 0}


def test_a_gcp_that_ends_at_once_is_quoted(user: User) -> None:
    program = user.home / "broken-gcp"
    program.write_text("#!/bin/sh\necho 'Starting up.'\necho 'Fatal: the relay said no.' >&2\nexit 7\n")
    program.chmod(0o700)
    (user.site / "a").write_text("a")
    environ = {**user.environ, "NODEXFER_GCP": str(program)}
    done = nodexfer("stage-in", "site:/a", f"{user.root}/a", environ=environ)
    assert done.code == 36, done
    assert "exit code 7" in done.err
    assert "Fatal: the relay said no." in done.err


@pytest.mark.slow
def test_a_transfer_through_a_wedged_gcp_stalls_and_ends_well_when_that_is_over(
    user: User, script: Script, transfer: TransferClient
) -> None:
    """GCP says that it is connected, and the service gets nothing through it."""
    (user.site / "big").write_bytes(os.urandom(3_000_000))
    slow = user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=100_000)

    def wedge() -> None:
        eventually(lambda: any(task["bytes_transferred"] for task in transfer.task_list()))
        before = gcp_of(user, b"gc-ctrl.py")
        assert before
        fault = user.box.sandbox.fault("wedge", endpoint="all")
        user.box.sandbox.clear(slow)
        eventually(lambda: not any(process.alive for process in before))
        user.box.sandbox.clear(fault)

    with beside(wedge):
        script.must(f"stage-in --stall 2 site:/big {user.root}/big")
    assert (user.root / "big").read_bytes() == (user.site / "big").read_bytes()
    assert "STALLED" in [trouble["code"] for trouble in user.receipts[-1]["troubles"]]
    assert user.tasks() == {"ACTIVE": 0, "SUCCEEDED": 1, "FAILED": 0}


@pytest.mark.slow
def test_a_slow_transfer_is_not_taken_for_one_that_stands_still(user: User, script: Script) -> None:
    (user.site / "big").write_bytes(os.urandom(80_000))
    user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=8_000)
    script.must(f"stage-in --stall 4 site:/big {user.root}/big")
    assert user.receipts[-1]["troubles"] == []


def test_checksums_that_are_asked_for_are_those_of_the_bytes_at_both_sides(user: User, script: Script) -> None:
    (user.site / "a").write_bytes(os.urandom(1_000_000))
    expected = f"sha256:{hashlib.sha256((user.site / 'a').read_bytes()).hexdigest()}"
    script.must(f"stage-in --verify checksum site:/a {user.root}/a")
    script.must(f"stage-out --verify checksum {user.root}/a site:/b")
    assert (user.site / "b").read_bytes() == (user.site / "a").read_bytes()
    for receipt in user.receipts:
        assert (receipt["verify"], receipt["files"][0]["checksum"]) == ("checksum", expected)
    shown = json.loads(nodexfer("receipts", "show", user.receipts[0]["id"], "--json", environ=user.environ).out)
    assert shown["files"] == user.receipts[0]["files"]
