"""The guard as a process: GCP and all that it forked end with the leader, whoever is killed, and whenever."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.errors import EndpointFailed, ForeignGcp, GcpMissing, PoolEntryBroken
from nodexfer.gcp import environment, process
from nodexfer.gcp.guard import BUSY
from nodexfer.gcp.install import Program
from nodexfer.gcp.strays import kill_strays, strays
from nodexfer.identity import ProcessId
from tests.process.gcp_double import TREE, Place, eventually, place

LEADER = """
import sys
from tests.process.gcp_double import place, Place
from nodexfer.config import load
from nodexfer.gcp import process
from nodexfer.gcp.install import Program
node, working, log, lock, prefix, gcp = sys.argv[1:]
config = load({"HOME": node, "NODEXFER_GCP_ADDRESS": prefix, "NODEXFER_NODE_DIR": node})
print("go", flush=True)
running = process.start(Program(gcp, node), config, working, [node + "/exchange/1"], log, lock)
print(running.guard.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    found = place(tmp_path)
    yield found
    left = strays(found.working)
    kill_strays(found.working)
    assert not left, f"left behind: {left}"


def start(here: Place, body: str = TREE, **options: float) -> process.Running:
    return process.start(
        here.program(body), here.config, here.working, [f"{here.config.node_dir}/x"], here.log, here.lock, **options
    )


def free(here: Place) -> bool:
    """Whether guard.lock is free."""
    descriptor = os.open(here.lock, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def leader(here: Place) -> subprocess.Popen[str]:
    node = here.config.node_dir
    arguments = [node, here.working, here.log, here.lock, here.prefix, here.program().path]
    return subprocess.Popen(
        [sys.executable, "-c", LEADER, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


def test_the_whole_tree_ends_when_the_leader_is_killed(here: Place) -> None:
    child = leader(here)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "go\n"
        guard = ProcessId.of(int(child.stdout.readline()))
        eventually(lambda: os.path.exists(f"{here.working}/ready"))
        assert len(strays(here.working)) == 4
    finally:
        end(child)
    eventually(lambda: not guard.alive)
    assert strays(here.working) == []
    assert free(here)


@pytest.mark.parametrize("milliseconds", [0, 5, 15, 30, 60, 90, 120, 160, 220, 300])
def test_nothing_is_left_at_whatever_instant_the_leader_is_killed(here: Place, milliseconds: int) -> None:
    child = leader(here)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "go\n"
        time.sleep(milliseconds / 1000)
    finally:
        end(child)
    eventually(lambda: not _guards(here))
    assert strays(here.working) == []


def _guards(here: Place) -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        try:
            arguments = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0") if name.isdigit() else []
        except OSError:
            continue
        if b"nodexfer.gcp.guard" in arguments and here.lock.encode() in arguments:
            found.append(name)
    return found


def test_a_stop_ends_groups_and_orphans_and_frees_the_lock(here: Place) -> None:
    running = start(here)
    eventually(lambda: os.path.exists(f"{here.working}/ready"))
    assert not free(here)
    assert running.stop()
    assert not running.alive
    assert strays(here.working) == []
    assert free(here)


def test_a_tree_that_ignores_sigterm_is_killed_at_the_timeout(here: Place) -> None:
    running = start(here, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + TREE)
    eventually(lambda: os.path.exists(f"{here.working}/ready"))
    began = time.monotonic()
    assert running.stop(timeout=0.3)
    assert time.monotonic() - began < 3


def test_when_gcp_ends_by_itself_its_code_comes_through_and_the_rest_is_killed(here: Place) -> None:
    end = "while not os.path.exists(f'{directory}/end'): time.sleep(0.01)\nsys.exit(7)"
    running = start(here, f"held = address()\norphan()\nrelay()\n{end}")
    Path(f"{here.working}/end").touch()
    eventually(lambda: not running.alive)
    assert running.returncode == 7
    assert strays(here.working) == []
    assert running.stop()


def test_gcp_inherits_neither_the_lock_nor_the_pipe(here: Place) -> None:
    body = """
links = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if name != "3"]
note("files", "\\n".join(links))
"""
    running = start(here, body + TREE)
    eventually(lambda: os.path.exists(f"{here.working}/ready"))
    links = Path(f"{here.working}/files").read_text().splitlines()
    running.stop()
    assert set(links) == {"/dev/null", here.log}


def test_when_the_guard_is_killed_the_launcher_dies_with_it_and_stop_finds_the_rest(here: Place) -> None:
    running = start(here)
    eventually(lambda: os.path.exists(f"{here.working}/ready"))
    launcher = ProcessId.of(int(Path(f"{here.working}/ready").read_text()))
    running.guard.kill()
    eventually(lambda: not launcher.alive)
    assert strays(here.working)
    assert running.stop()
    assert strays(here.working) == []


def test_the_next_guard_clears_what_a_killed_guard_left_before_it_starts_gcp(here: Place) -> None:
    first = start(here)
    eventually(lambda: os.path.exists(f"{here.working}/ready"))
    first.guard.kill()
    eventually(lambda: not first.alive)
    left = strays(here.working)
    os.unlink(f"{here.working}/ready")
    second = start(here)
    eventually(lambda: os.path.exists(f"{here.working}/ready"))
    assert not any(process.alive for process in left)
    assert len(strays(here.working)) == 4
    second.stop()
    first.guard.close()


def test_a_stray_that_does_not_hold_the_address_is_cleared_before_gcp_starts(here: Place) -> None:
    stray = subprocess.Popen(["/bin/sleep", "60"], env={environment.MARK: here.working})
    try:
        running = start(here)
        eventually(lambda: os.path.exists(f"{here.working}/ready"))
        assert stray.poll() == -9
        running.stop()
    finally:
        stray.kill()
        stray.wait()


def test_a_guard_waits_for_the_lock_of_an_older_one(here: Place) -> None:
    descriptor = os.open(here.lock, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(EndpointFailed, match=r"older guard still holds"):
        start(here, timeout=0.4)
    os.close(descriptor)
    assert start(here).stop()


def test_gcp_is_killed_when_the_leader_stalls_beyond_what_it_was_allowed(here: Place) -> None:
    running = start(here, allowed=300.0)
    eventually(lambda: os.path.exists(f"{here.working}/ready"))
    running.allow(0.2)
    eventually(lambda: not running.alive)
    assert "not renewed in time" in running.log_tail()
    assert running.stop()


def test_sigterm_to_the_guard_stops_gcp(here: Place) -> None:
    running = start(here)
    os.kill(running.guard.pid, signal.SIGTERM)
    eventually(lambda: not running.alive)
    assert running.stop()


def test_a_foreign_gcp_is_waited_for_and_never_stopped(here: Place) -> None:
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(f"\0{here.prefix}forward/uid={os.getuid()}")
        foreign.listen()
        with pytest.raises(ForeignGcp, match="neither joined nor stopped"):
            start(here, timeout=0.3)
    assert not os.path.exists(here.lock)


def test_a_start_that_met_somebodys_status_is_tried_again(here: Place) -> None:
    body = """
if not os.path.exists(f"{directory}/met"):
    note("met", "")
    print("Another Globus Connect Personal is currently running", file=sys.stderr)
    sys.exit(1)
"""
    assert start(here, body + TREE).stop()


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ("sys.exit('Error: x/lta does not exist\\nPlease run setup')", PoolEntryBroken, "was not set up"),
        ("sys.exit('Running Globus Connect Personal as root is not supported')", EndpointFailed, "as root"),
        ("sys.exit('something odd')", EndpointFailed, "exit code 1: something odd"),
    ],
)
def test_a_gcp_that_ends_at_once_is_told_in_its_own_words(
    here: Place, body: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        start(here, body, settle=30.0)


def test_a_program_that_can_not_be_started_is_named(here: Place) -> None:
    missing = Program(f"{here.working}/none", here.working)
    with pytest.raises(GcpMissing, match="none"):
        process.start(missing, here.config, here.working, ["/x"], here.log, here.lock)


def test_the_end_of_the_guard_wakes_a_select(here: Place) -> None:
    import select

    running = start(here)
    assert select.select([running], [], [], 0)[0] == []
    running.kill()
    assert select.select([running], [], [], 10)[0] == [running]
    assert running.stop()


ENDED_BEFORE_ANYBODY_LOOKED = """
import os
from nodexfer import procs
from nodexfer.gcp import guard

def start():
    child = procs.spawn(["sh", "-c", "exit 7"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    return guard.Tree(child)

tree = start()
tree.reap()
os._exit(tree.code or 0)
"""


def test_the_code_of_a_gcp_that_ends_at_once_is_not_lost() -> None:
    """Its Popen, were it to go away, would wait for it first."""
    assert procs.run([sys.executable, "-c", ENDED_BEFORE_ANYBODY_LOOKED], timeout=60).code == 7


def test_a_guard_whose_log_has_no_room_says_by_its_code_that_it_did_not_start(here: Place) -> None:
    with open(here.lock, "wb") as held, open("/dev/full", "wb") as full:
        fcntl.flock(held, fcntl.LOCK_EX)
        options = ["--lock", here.lock, "--dir", here.working, "--wait", "0", "--", "true"]
        guard = procs.spawn(procs.python("-m", "nodexfer.gcp.guard", *options), stdin=procs.PIPE, stderr=full, cwd="/")
        try:
            assert guard.wait(30.0) == BUSY
        finally:
            guard.kill()
            guard.wait(5.0)
            guard.close()


def test_a_guard_that_does_nothing_is_not_waited_for_for_ever(here: Place) -> None:
    """It was stopped, or waits for a disk, before it started anything."""
    idle = procs.spawn(["sleep", "60"])
    try:
        running = process.Running(idle, here.working, here.log, 0)
        assert not process._settled(running, here.config, Deadline(0.0), Deadline(0.1))
    finally:
        idle.kill()
        idle.wait(5.0)
        os.close(running.fileno())
