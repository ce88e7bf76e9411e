"""A transfer that was cut goes on from the last confirmed byte: nothing that was confirmed is sent again.

The proof does not rely on the sandbox's own count: while the task is cut off, a byte is changed at the destination
below the confirmed offset. It is still changed afterwards, unless the file was sent again.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodexfer import procs
from nodexfer.identity import ProcessId
from nodexfer.sandbox.launch import Sandbox
from tests.support.sandbox import QUICK, Box, Gcp, running_gcp, transfer_client
from tests.support.waiting import eventually
from tests.unit.sandbox.service.support import Tasks

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
SIZE = 64 * MIB
#: So much is across when it is cut; the rest takes longer than the cut.
BEFORE = 16 * MIB
RATE = 10_000_000


@pytest.fixture
def tasks(tmp_path: Path, homes: Path) -> Iterator[Tasks]:
    """With a server that may be killed."""
    for name in ("site", "other"):
        (tmp_path / name).mkdir()
    with start(tmp_path) as box:
        yield tasks_of(box, tmp_path)


@pytest.fixture
def gcp(tasks: Tasks, tmp_path: Path) -> Iterator[Gcp]:
    with running_gcp(tasks.box, tmp_path / "gcp") as running:
        yield running


def start(tmp_path: Path) -> Sandbox:
    sites = {name: str(tmp_path / name) for name in ("site", "other")}
    return Sandbox.start(tmp_path / "box", sites, allow_root=True, switches=QUICK)


def tasks_of(sandbox: Sandbox, tmp_path: Path) -> Tasks:
    box = Box(sandbox, tmp_path / "site", tmp_path / "other")
    return Tasks(box, transfer_client(box))


def begun(tasks: Tasks, gcp: Gcp, **options: Any) -> tuple[str, bytes]:
    """A task under way, slowly, with :data:`BEFORE` across; and what it moves."""
    data = secrets.token_bytes(SIZE)
    (tasks.box.site / "f").write_bytes(data)
    tasks.box.sandbox.fault("slow", endpoint=gcp.name, bytes_per_second=RATE)
    task = tasks.submit(("/f", f"{gcp.root}/f"), destination=gcp.endpoint, **options)
    eventually(lambda: tasks.get(task)["bytes_transferred"] >= BEFORE)
    return task, data


def change(path: Path, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        old = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([old ^ 0xFF]))


def differing(path: Path, data: bytes) -> list[int]:
    found = path.read_bytes()
    assert len(found) == len(data)
    blocks = [at for at in range(0, len(data), MIB) if found[at : at + MIB] != data[at : at + MIB]]
    return [at for block in blocks for at in range(block, block + MIB) if found[at] != data[at]]


def cut(tasks: Tasks, gcp: Gcp, task: str) -> int:
    """Cut it off; the confirmed offset, once nothing moves any more."""
    tasks.box.sandbox.fault("disconnect", endpoint=gcp.name)
    document = tasks.nice(task, "GC_NOT_CONNECTED")
    assert document["status"] == "ACTIVE"
    confirmed = int(document["bytes_transferred"])
    assert BEFORE <= confirmed < SIZE
    return confirmed


def test_a_file_that_was_cut_in_its_middle_is_not_sent_from_its_beginning(tasks: Tasks, gcp: Gcp) -> None:
    task, data = begun(tasks, gcp, verify_checksum=False)
    confirmed = cut(tasks, gcp, task)
    change(gcp.root / "f", 0)
    change(gcp.root / "f", confirmed - 1)
    tasks.box.sandbox.clear()
    document = tasks.over(task)
    assert document["bytes_transferred"] == SIZE
    assert differing(gcp.root / "f", data) == [0, confirmed - 1]


def test_what_went_wrong_below_the_offset_is_found_by_the_checksum(tasks: Tasks, gcp: Gcp) -> None:
    task, data = begun(tasks, gcp, verify_checksum=True)
    cut(tasks, gcp, task)
    change(gcp.root / "f", 1)
    tasks.box.sandbox.clear()
    document = tasks.over(task)
    assert document["bytes_transferred"] == 2 * SIZE
    assert tasks.codes(task).count("VERIFY_CHECKSUM") == 1
    assert differing(gcp.root / "f", data) == []


def test_a_cut_file_arrives_whole_with_its_checksum(tasks: Tasks, gcp: Gcp) -> None:
    task, data = begun(tasks, gcp, verify_checksum=True)
    cut(tasks, gcp, task)
    tasks.box.sandbox.clear()
    document = tasks.over(task)
    assert (document["bytes_transferred"], document["files_transferred"]) == (SIZE, 1)
    assert "VERIFY_CHECKSUM" not in tasks.codes(task)
    assert differing(gcp.root / "f", data) == []


def test_a_source_that_changed_meanwhile_is_sent_from_its_beginning(tasks: Tasks, gcp: Gcp) -> None:
    task, _ = begun(tasks, gcp, verify_checksum=False)
    cut(tasks, gcp, task)
    (tasks.box.site / "f").write_bytes(other := secrets.token_bytes(SIZE))
    tasks.box.sandbox.clear()
    tasks.over(task)
    assert differing(gcp.root / "f", other) == []


@pytest.mark.parametrize("verify", [False, True])
def test_a_killed_server_goes_on_from_the_last_confirmed_byte(
    tasks: Tasks, gcp: Gcp, tmp_path: Path, verify: bool
) -> None:
    """On disk that may be a quarter of a second old, with the count of that moment: no byte is counted twice."""
    task, data = begun(tasks, gcp, verify_checksum=verify)
    running = ProcessId.of(int(tasks.box.sandbox._pid))
    assert procs.signal(running, signal.SIGKILL)
    eventually(lambda: not running.alive)
    if not verify:
        change(gcp.root / "f", 0)
    with start(tmp_path) as second:
        again = tasks_of(second, tmp_path)
        second.clear()
        document = again.over(task)
        assert document["files_transferred"] == 1
        assert document["bytes_transferred"] == SIZE
        assert again.codes(task)[0] == "STARTED"
        assert again.codes(task)[-1] == "SUCCEEDED"
        assert "VERIFY_CHECKSUM" not in again.codes(task)
        assert differing(gcp.root / "f", data) == ([] if verify else [0])
