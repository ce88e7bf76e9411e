"""Through the relay the service reaches a stand-in's files, and every call ends, whoever dies or says nothing."""

from __future__ import annotations

import hashlib
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.sandbox import relay as relays
from nodexfer.sandbox.relay import Relay
from nodexfer.sandbox.site import SiteStorage
from nodexfer.sandbox.storage import StorageError
from tests.support import eventually
from tests.support.holding import stop
from tests.support.standins import Lab, lab

MIB = 1024 * 1024


@pytest.fixture
def gcp(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path) as found:
        yield found


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return tmp_path / "shared"


def code(caught: pytest.ExceptionInfo[StorageError]) -> str:
    return caught.value.code


# moving bytes


def test_everything_a_storage_can_do_works_from_afar(gcp: Lab, shared: Path) -> None:
    storage = gcp.serve(shared)
    data = secrets.token_bytes(9 * MIB + 17)
    blocks = [data[at : at + 4 * MIB] for at in range(0, len(data), 4 * MIB)]
    confirmed = list(storage.write(f"{shared}/new/file", 0, iter(blocks), 1e9))
    assert confirmed == sorted(confirmed)
    assert confirmed[-1] == len(data)
    assert (shared / "new/file").read_bytes() == data
    found = storage.stat(f"{shared}/new/file")
    assert (found.name, found.type, found.size, found.modified) == ("file", "file", len(data), 1e9)
    assert b"".join(storage.read(f"{shared}/new/file", 0)) == data
    assert b"".join(storage.read(f"{shared}/new/file", 5 * MIB)) == data[5 * MIB :]
    assert b"".join(storage.read(f"{shared}/new/file", len(data))) == b""
    assert storage.checksum(f"{shared}/new/file", "MD5") == hashlib.md5(data).hexdigest()
    storage.mkdir(f"{shared}/dir")
    storage.rename(f"{shared}/new/file", f"{shared}/dir/ä,%\udcff")
    assert [entry.name for entry in storage.ls(f"{shared}/dir")] == ["ä,%\udcff"]
    storage.remove(f"{shared}/dir/ä,%\udcff")
    storage.remove(f"{shared}/dir")
    assert [entry.name for entry in storage.ls(str(shared))] == ["new"]


@pytest.mark.parametrize("size", [0, 1, 4096, 256 * 1024, 4 * MIB, 4 * MIB + 1])
def test_files_of_every_size_go_both_ways(gcp: Lab, shared: Path, tmp_path: Path, size: int) -> None:
    storage, site = gcp.serve(shared), SiteStorage(str(tmp_path))
    (tmp_path / "source").write_bytes(data := secrets.token_bytes(size))
    assert list(storage.write(f"{shared}/x", 0, site.read("/source", 0), None))[-1] == size
    assert list(site.write("/back", 0, storage.read(f"{shared}/x", 0), None))[-1] == size
    assert (tmp_path / "back").read_bytes() == data


def test_a_write_goes_on_from_what_was_confirmed(gcp: Lab, shared: Path) -> None:
    storage = gcp.serve(shared)
    (shared / "x").write_bytes(b"abcNOT CONFIRMED")
    assert list(storage.write(f"{shared}/x", 3, iter([b"def"]), None))[-1] == 6
    assert (shared / "x").read_bytes() == b"abcdef"


def test_a_slow_source_is_confirmed_while_it_is_slow(gcp: Lab, shared: Path) -> None:
    storage = gcp.serve(shared)
    more = threading.Event()

    def blocks() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1000
            more.wait(0.02)

    writing = storage.write(f"{shared}/x", 0, blocks(), None)
    assert 0 < next(writing) < 1_000_000
    more.set()
    assert list(writing)[-1] == 1_000_000


def test_errors_cross_and_the_connection_is_used_again(gcp: Lab, shared: Path) -> None:
    storage = gcp.serve(shared)
    (shared / "dir").mkdir()
    source = iter([b"x" * 4 * MIB] * 3)
    with pytest.raises(StorageError) as caught:
        list(storage.write(f"{shared}/dir", 0, source, None))
    assert code(caught) == "IS_A_DIRECTORY"
    with pytest.raises(StorageError) as caught:
        storage.stat(f"{shared}/none")
    assert code(caught) == "FILE_NOT_FOUND"
    assert storage.ls(f"{shared}/dir") == []
    assert len(gcp.processes("globus-gridftp-server")) == 1


def test_a_reader_may_stop_in_the_middle(gcp: Lab, shared: Path) -> None:
    storage = gcp.serve(shared)
    (shared / "x").write_bytes(bytes(64 * MIB))
    for _ in range(3):
        reading = storage.read(f"{shared}/x", 0)
        next(reading)
        reading.close()  # type: ignore[attr-defined]  # it is a generator
    eventually(lambda: not gcp.processes("globus-gridftp-server"))
    assert storage.stat(f"{shared}/x").size == 64 * MIB


def test_many_threads_share_few_connections(gcp: Lab, shared: Path) -> None:
    storage = gcp.serve(shared)

    def work(number: int) -> bytes:
        list(storage.write(f"{shared}/{number}", 0, iter([b"%d" % number]), None))
        return b"".join(storage.read(f"{shared}/{number}", 0))

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(work, range(200))) == [b"%d" % number for number in range(200)]
    assert len(gcp.processes("globus-gridftp-server")) <= 32


def test_idle_connections_are_closed(gcp: Lab, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "_IDLE_SECONDS", 0.0)
    gcp.serve(shared).ls(str(shared))
    eventually(lambda: not gcp.processes("globus-gridftp-server"))


def test_a_unix_socket_is_a_way_too_whatever_its_length(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    with lab(tmp_path, relay_unix=f"{directory}/relay", relay_port=1) as gcp:
        assert gcp.serve(tmp_path / "shared").ls(f"{tmp_path}/shared") == []


# when somebody dies


def test_nobody_is_connected(gcp: Lab) -> None:
    begun = time.monotonic()
    with pytest.raises(StorageError) as caught:
        gcp.relay.storage("unknown").ls("/")
    assert (code(caught), gcp.relay.connected("unknown"), gcp.relay.connected_since("unknown")) == (
        "GC_NOT_CONNECTED",
        False,
        None,
    )
    assert time.monotonic() - begun < 10.0


def test_a_stand_in_that_dies_while_it_writes_leaves_what_it_had_under_the_final_name(gcp: Lab, shared: Path) -> None:
    done = gcp.set_up()
    shared.mkdir()
    gcp.start(done, "-restrict-paths", f"rw{shared}")
    block = secrets.token_bytes(4 * MIB)

    def blocks() -> Iterator[bytes]:
        yield from [block] * 4
        eventually(lambda: (shared / "x").stat().st_size >= 4 * MIB)
        procs.signal(gcp.process("gc-ctrl.py"), signal.SIGKILL)
        eventually(lambda: not gcp.processes())
        yield from [block] * 100

    confirmed = [0]
    with pytest.raises(StorageError) as caught:
        confirmed.extend(gcp.relay.storage(done.endpoint).write(f"{shared}/x", 0, blocks(), None))
    assert code(caught) == "GC_NOT_CONNECTED"
    assert not gcp.relay.connected(done.endpoint)
    kept = (shared / "x").read_bytes()
    assert confirmed[-1] <= len(kept) <= 32 * MIB
    assert kept == (block * 4)[: len(kept)]


def test_a_data_connection_that_breaks_alone_is_told_apart(gcp: Lab, shared: Path) -> None:
    storage = gcp.serve(shared)
    (shared / "x").write_bytes(bytes(64 * MIB))
    reading = storage.read(f"{shared}/x", 0)
    next(reading)
    procs.signal(gcp.process("globus-gridftp-server"), signal.SIGKILL)
    with pytest.raises(StorageError) as caught:
        list(reading)
    assert code(caught) == "CONNECTION_RESET"
    assert storage.stat(f"{shared}/x").size == 64 * MIB


def test_a_frozen_stand_in_is_a_timeout(gcp: Lab, shared: Path) -> None:
    gcp.serve(shared).ls(str(shared))
    endpoint = Path(gcp.directory, "config/lta/client-id.txt").read_text()
    frozen = gcp.process("globus-gridftp-server")
    stop(frozen)
    try:
        with pytest.raises(StorageError) as caught:
            gcp.relay.storage(endpoint, timeout=0.2).ls(str(shared))
        assert code(caught) == "TIMEOUT"
    finally:
        procs.signal(frozen, signal.SIGCONT)


def test_disconnected_it_stays_away_and_comes_back_by_itself(gcp: Lab, shared: Path) -> None:
    gcp.serve(shared)
    endpoint = Path(gcp.directory, "config/lta/client-id.txt").read_text()
    until = time.monotonic() + 0.3
    gcp.relay.disconnect(endpoint, 0.3)
    eventually(lambda: gcp.relay.connected(endpoint))
    assert time.monotonic() >= until
    assert gcp.relay.storage(endpoint).ls(str(shared)) == []


def test_it_connects_to_a_relay_that_comes_back(gcp: Lab, tmp_path: Path) -> None:
    done = gcp.set_up()
    gcp.start(done)
    known = Path(done.config_dir, "lta/ftp-key2.pem").read_text().split("\n")[1]
    gcp.relay.close()
    gcp.relay = Relay({known: done.endpoint}.get, port=gcp.relay.address[1])
    eventually(lambda: gcp.relay.connected(done.endpoint))
