"""Locks, bell, order, place, rubbish: what the keeper is built of."""

from __future__ import annotations

import fcntl
import io
import os
import select
import signal
import threading
from pathlib import Path

import pytest

from nodexfer.errors import NodeDirRemoved, NodeError
from nodexfer.identity import ProcessId
from nodexfer.node import bell, locks, place, rubbish
from nodexfer.node.order import Order
from nodexfer.paths import NodePaths
from tests.support import eventually
from tests.support.holding import python, stop

# -- locks


def test_a_lock_is_taken_once(tmp_path: Path) -> None:
    path = f"{tmp_path}/lock"
    first = locks.take(path, 1.0)
    assert locks.taken(path)
    with pytest.raises(NodeError, match=f"process {os.getpid()}"):
        locks.take(path, 0.05)
    os.close(first)
    eventually(lambda: not locks.taken(path))
    os.close(locks.take(path, 1.0))


def test_a_waiter_gets_the_lock_when_it_is_given_up(tmp_path: Path) -> None:
    path = f"{tmp_path}/lock"
    first = locks.take(path, 1.0)
    got: list[int] = []
    waiter = threading.Thread(target=lambda: got.append(locks.take(path, 10.0)))
    waiter.start()
    os.close(first)
    waiter.join(10)
    assert got
    os.close(got[0])


def test_who_gave_up_waiting_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = f"{tmp_path}/lock"
    first = locks.take(path, 1.0)
    with pytest.raises(NodeError):
        locks.take(path, 0.05)
    os.close(first)
    # The abandoned thread may get the lock first; it closes it at once.
    os.close(locks.take(path, 10.0))


def test_a_lock_on_a_file_that_was_replaced_meanwhile_is_not_believed(tmp_path: Path) -> None:
    path = f"{tmp_path}/lock"
    first = locks.take(path, 1.0)
    got: list[int] = []
    waiter = threading.Thread(target=lambda: got.append(locks.take(path, 10.0)))
    waiter.start()
    eventually(lambda: Path("/proc/locks").read_text().count(str(os.stat(path).st_ino)) > 1)
    os.unlink(path)
    Path(path).touch()
    os.close(first)
    waiter.join(10)
    assert locks.same(got[0], path)
    os.close(got[0])


@pytest.mark.parametrize(("ours", "owner"), [("{device}", 17), ("00:fe", 18)], ids=["known", "called otherwise"])
def test_the_owner_of_a_lock_is_not_another_file_systems_inode_of_that_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: str, owner: int
) -> None:
    """A tmpfs numbers its inodes from 1 on, and a host has many."""
    found = os.stat(tmp_path)
    device = ours.format(device=f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}")
    rows = ["1: FLOCK  ADVISORY  WRITE 18 00:ff:{0} 0 EOF", "1: -> FLOCK  ADVISORY  WRITE 19 {1}:{0} 0 EOF"]
    rows.append("2: FLOCK  ADVISORY  WRITE 17 {1}:{0} 0 EOF")
    table = io.StringIO("".join(f"{row.format(found.st_ino, device)}\n" for row in rows))
    monkeypatch.setattr(locks, "open", lambda *_, **__: table, raising=False)
    assert locks.owner(str(tmp_path)) == owner


def test_the_kernel_frees_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    path = f"{tmp_path}/lock"
    code = "import sys; from nodexfer.node.locks import take; take(sys.argv[1], 5); print(flush=True); sys.stdin.read()"
    holder = python(code, path)
    assert holder.stdout is not None
    assert holder.stdout.readline()
    assert locks.taken(path)
    holder.kill()
    assert holder.wait(10) == -signal.SIGKILL
    assert not locks.taken(path)
    holder.close()


def test_who_waits_for_a_process_that_is_stopped_is_told_which_and_how_it_goes_on(tmp_path: Path) -> None:
    path = f"{tmp_path}/lock"
    code = "import sys; from nodexfer.node.locks import take; take(sys.argv[1], 5); print(flush=True); sys.stdin.read()"
    holder = python(code, path)
    assert holder.stdout is not None
    assert holder.stdout.readline()
    with pytest.raises(NodeError) as caught:
        locks.take(path, 0.05)
    assert f"by process {holder.pid}, which is not stopped" in caught.value.message
    stop(ProcessId.of(holder.pid))
    with pytest.raises(NodeError) as caught:
        locks.take(path, 0.05)
    assert f"by process {holder.pid}, which is stopped; kill -KILL {holder.pid} ends it" in caught.value.message
    assert caught.value.next == f"kill -CONT {holder.pid}"
    holder.kill()
    holder.wait(10)
    holder.close()


def test_a_lock_in_a_directory_that_is_gone_names_it(tmp_path: Path) -> None:
    with pytest.raises(NodeDirRemoved, match="gone"):
        locks.take(f"{tmp_path}/none/lock", 1.0)


# -- bell


def test_a_bell_says_what_was_rung_and_then_nothing(tmp_path: Path) -> None:
    path = f"{tmp_path}/{'long' * 40}.bell"
    listener = bell.Bell(path)
    assert bell.ring(path, bell.HOLD)
    assert bell.ring(path, bell.HOLD)
    assert bell.ring(path, bell.WORK)
    assert select.select([listener], [], [], 5)[0]
    assert listener.heard() == {bell.HOLD, bell.WORK}
    assert listener.heard() == set()
    listener.close()
    assert not os.path.exists(path)


def test_nobody_hears_a_bell_of_a_dead_listener_and_ringing_does_not_wait(tmp_path: Path) -> None:
    path = f"{tmp_path}/bell"
    assert not bell.ring(path)
    code = "import sys; from nodexfer.node.bell import Bell; b = Bell(sys.argv[1]); print(flush=True); sys.stdin.read()"
    listener = python(code, path)
    assert listener.stdout is not None
    assert listener.stdout.readline()
    assert bell.ring(path)
    listener.kill()
    listener.wait(10)
    listener.close()
    assert not bell.ring(path)
    again = bell.Bell(path)
    assert bell.ring(path)
    again.close()


def test_a_bell_that_is_full_has_been_rung(tmp_path: Path) -> None:
    path = f"{tmp_path}/bell"
    listener = bell.Bell(path)
    filler = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(filler, b"w" * fcntl.fcntl(filler, fcntl.F_GETPIPE_SZ))
    with pytest.raises(BlockingIOError):
        os.write(filler, b"w")
    os.close(filler)
    assert bell.ring(path)
    listener.close()


# -- order


def test_an_order_wakes_a_select_and_stays_given() -> None:
    order = Order()
    seen = []
    for step in (order.nudge, order.give):
        step()
        assert select.select([order], [], [], 5)[0]
        order.drain()
        seen.append(order.is_set)
    order.clear()
    assert [*seen, order.is_set] == [False, True, False]


# -- place


def test_a_place_is_known_by_the_directory_that_it_was_made_in(tmp_path: Path) -> None:
    paths = NodePaths(f"{tmp_path}/node").make()
    assert place.known(paths) is None
    found = place.settle(paths)
    assert place.settle(paths) == place.known(paths) == found


def test_a_copy_of_a_place_is_another_place(tmp_path: Path) -> None:
    paths = NodePaths(f"{tmp_path}/node").make()
    found = place.settle(paths)
    other = NodePaths(f"{tmp_path}/other").make()
    os.link(paths.place, other.place)
    assert place.known(other) is None
    assert place.settle(other) != found
    assert place.known(paths) == found


# -- rubbish


def test_a_tree_is_removed_with_its_read_only_directories_and_without_following_links(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").touch()
    (tree / "a/link").symlink_to(kept)
    (tree / "dangling").symlink_to("nowhere")
    (tree / "a/b").chmod(0o500)
    (tree / "a").chmod(0o500)
    assert rubbish.remove(str(tree))
    assert not tree.exists()
    assert (kept / "file").exists()


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    assert rubbish.remove(f"{tmp_path}/link")
    assert (tmp_path / "kept").exists()


def test_what_is_hidden_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    hidden = rubbish.hide(f"{tmp_path}/scratch", str(tmp_path))
    assert hidden is not None
    assert rubbish.hidden(str(tmp_path)) == [hidden]
    assert rubbish.names(str(tmp_path)) == []
    assert rubbish.hide(f"{tmp_path}/scratch", str(tmp_path)) is None


def test_burying_a_request_removes_its_own_litter_only(tmp_path: Path) -> None:
    request = tmp_path / "r1"
    request.mkdir()
    ours, others = tmp_path / ".nodexfer-r1-0", tmp_path / ".nodexfer-r2-0"
    for path in (ours, others, tmp_path / "precious"):
        path.touch()
    litter = ", ".join(f'"{path}"' for path in (ours, others, tmp_path / "precious"))
    (request / "request.json").write_text(f'{{"litter": [{litter}]}}')
    outgoing = tmp_path / "outgoing"
    outgoing.mkdir()
    hidden = rubbish.hide(str(request), str(tmp_path))
    assert hidden is not None
    rubbish.bury(hidden, [str(outgoing)])
    assert {path.name for path in tmp_path.iterdir()} == {others.name, "precious"}
