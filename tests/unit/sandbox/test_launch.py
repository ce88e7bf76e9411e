"""A sandbox's life: start, find, stop, kill, start again; and what it leaves on disk."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.errors import SecretExposed, ServiceRefused, ServiceUnreachable
from nodexfer.identity import ProcessId
from nodexfer.sandbox.launch import Sandbox, is_running
from nodexfer.sandbox.layout import Layout
from tests.support.sandbox import QUICK, Box, running_gcp, transfer_client
from tests.support.waiting import eventually
from tests.unit.sandbox.service.support import Tasks, ask, token_of


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    (tmp_path / "other").mkdir()
    return tmp_path / "site"


def start(tmp_path: Path, name: str = "box") -> Sandbox:
    sites = {name: str(tmp_path / name) for name in ("site", "other")}
    return Sandbox.start(tmp_path / name, sites, allow_root=True, switches=QUICK)


def kill(box: Sandbox) -> None:
    running = ProcessId.of(int(box._pid))
    assert procs.signal(running, signal.SIGKILL)
    # Its first thread may be dead while others still are, and with them its lock is held.
    eventually(lambda: not running.alive and not is_running(Layout(box.directory)))


def test_a_killed_server_takes_up_where_it_was(tmp_path: Path, site: Path) -> None:
    (site / "f").write_bytes(bytes(2_000_000))
    with start(tmp_path) as first:
        tasks = Tasks(Box(first, site, tmp_path / "other"), transfer_client(Box(first, site, tmp_path / "other")))
        made = tasks.client.post("/v0.10/endpoint", data={"is_globus_connect": True, "display_name": "kept"})
        done = tasks.submit(("/f", "/done"))
        tasks.over(done)
        slow = first.fault("slow", endpoint="site", bytes_per_second=200_000)
        going = tasks.submit(("/f", "/going"), verify_checksum=True)
        eventually(lambda: tasks.get(going)["bytes_transferred"] > 0)
        kill(first)
        with start(tmp_path) as second:
            assert second.url == first.url
            assert second.environment == first.environment
            assert second.site_id("site") == first.site_id("site")
            assert [fault["id"] for fault in second.status()["faults"]] == [slow]
            second.clear()
            assert tasks.get(done)["status"] == "SUCCEEDED"  # with the token of before
            assert tasks.client.get_endpoint(made["id"])["display_name"] == "kept"
            tasks.over(going)
            assert (tmp_path / "other" / "going").read_bytes() == bytes(2_000_000)
            assert tasks.submit(("/f", "/again"), submission_id=tasks.get(done)["task_id"]) != done


def test_two_sandboxes_run_side_by_side(tmp_path: Path, site: Path) -> None:
    """With a GCP each, of one user on one host; neither knows the other's endpoints or tokens."""
    with start(tmp_path, "one") as one, start(tmp_path, "two") as two:
        first, second = (Box(found, site, tmp_path / "other") for found in (one, two))
        assert one.url != two.url
        assert one.site_id("site") != two.site_id("site")
        token = token_of(transfer_client(first))
        assert ask(first, "/v0.10/task_list", token).status == 200
        assert ask(second, "/v0.10/task_list", token).status == 401
        with running_gcp(first, tmp_path / "gcp1"), running_gcp(second, tmp_path / "gcp2"):
            assert [box.status()["gcp"]["live"] for box in (one, two)] == [1, 1]


def test_what_a_killed_server_left_is_not_believed(tmp_path: Path, site: Path) -> None:
    """Its pid may be anybody's by now, and ``stop`` would signal it."""
    with start(tmp_path) as first:
        kill(first)
        assert (tmp_path / "box" / "server.json").exists()
        with pytest.raises(ServiceUnreachable, match="No sandbox runs"):
            Sandbox.attach(tmp_path / "box")
        layout = Layout(str(tmp_path / "box"))
        with open(layout.lock, "rb") as lock:  # as a server that starts, and has not said yet where
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(ServiceRefused):
                start(tmp_path)
        with start(tmp_path) as second:
            assert layout.read_running() == {"format": 1, "pid": second._pid, "url": second.url, "gcp": second.gcp}


def test_a_reset_is_the_first_day_for_the_stand_in_too(tmp_path: Path, site: Path) -> None:
    with start(tmp_path) as box:
        settings = Path(box.gcp).parent / "etc" / "sandbox.json"
        box.switch(connect_seconds=9)
        assert json.loads(settings.read_text())["connect_seconds"] == 9
        box.reset()
        assert json.loads(settings.read_text())["connect_seconds"] == 0


def test_what_is_left_of_a_fault_survives_a_restart(tmp_path: Path, site: Path) -> None:
    (site / "f").write_text("text")
    with start(tmp_path) as first:
        box = Box(first, site, tmp_path / "other")
        first.fault("corrupt", endpoint="other", count=3)
        Tasks(box, transfer_client(box)).over(Tasks(box, transfer_client(box)).submit(("/f", "/f")))
        kill(first)
        with start(tmp_path) as second:
            assert [fault["count"] for fault in second.status()["faults"]] == [2]


def test_after_a_stop_there_is_no_process_and_no_temporary_file(tmp_path: Path, site: Path) -> None:
    with start(tmp_path) as box:
        running = ProcessId.of(int(box._pid))
    assert not running.alive
    names = set(os.listdir(tmp_path / "box"))
    assert names == {"admin-token", "gcp", "sandbox.json", "server.lock", "server.log", "state.db"}
    assert not list(tmp_path.rglob("*tmp-*"))


def test_only_one_server_at_a_time(tmp_path: Path, site: Path) -> None:
    with start(tmp_path) as box:
        with pytest.raises(ServiceRefused, match=r"runs in .* already"):
            start(tmp_path)
        assert Sandbox.attach(tmp_path / "box").status()["id"] == box.id


def test_what_is_not_running_is_told_so(tmp_path: Path, site: Path) -> None:
    with pytest.raises(ServiceUnreachable, match="No sandbox runs"):
        Sandbox.attach(tmp_path / "nowhere")
    box = start(tmp_path)
    box.stop()
    box.stop()
    with pytest.raises(ServiceUnreachable, match="No sandbox runs") as refused:
        Sandbox.attach(tmp_path / "box")
    assert refused.value.next.startswith("nodexfer sandbox start")
    with pytest.raises(ServiceUnreachable, match="does not answer"):
        box.status()


def test_a_found_sandbox_can_be_stopped(tmp_path: Path, site: Path) -> None:
    box = start(tmp_path)
    Sandbox.attach(tmp_path / "box").stop()
    box.stop()


def test_secrets_are_the_users_own(tmp_path: Path, site: Path) -> None:
    start(tmp_path).stop()
    directory = tmp_path / "box"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in directory.iterdir():
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    (directory / "admin-token").chmod(0o644)
    with pytest.raises(SecretExposed):
        start(tmp_path)
    assert (directory / "admin-token").read_text() not in (directory / "server.log").read_text()


def test_it_dies_with_the_one_who_started_it(tmp_path: Path, site: Path) -> None:
    program = (
        "import os, sys; from nodexfer.sandbox.launch import Sandbox; "
        "box = Sandbox.start(sys.argv[1]); print(box._pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = procs.run(procs.python("-c", program, str(tmp_path / "box")), timeout=30.0)
    assert done.code == -signal.SIGKILL, done
    eventually(lambda: not os.path.exists(f"/proc/{int(done.out)}") or _zombie(int(done.out)))


def _zombie(pid: int) -> bool:
    try:
        ProcessId.of(pid)
    except ProcessLookupError:
        return True
    return False
