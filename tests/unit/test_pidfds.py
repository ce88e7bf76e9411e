"""Watching and signalling processes: with pidfds, with a Python that does not know them, and without."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from nodexfer import pidfds, procs
from nodexfer.identity import ProcessId
from nodexfer.node.alarm import Alarm
from nodexfer.running import program
from tests.support import eventually


def refused(*_: object) -> int:
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.fixture(params=["whole", "conda", "old kernel", "no descriptor left"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "conda":
        monkeypatch.delattr(os, "pidfd_open")
        monkeypatch.delattr(signal, "pidfd_send_signal")
    elif request.param == "old kernel":
        monkeypatch.setattr(os, "pidfd_open", refused)
    elif request.param == "no descriptor left":
        monkeypatch.setattr(pidfds, "open_pidfd", full)
    return str(request.param)


def full(_: int) -> int:
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.fixture
def child() -> Iterator[procs.Process]:
    process = procs.spawn(["sleep", "600"])
    yield process
    process.kill()
    process.wait(60.0)


def test_the_end_of_a_process_is_waited_for(machine: str, child: procs.Process) -> None:
    process = ProcessId.of(child.pid)
    assert not pidfds.wait_end(process, 0.01)
    threading.Timer(0.05, child.kill).start()
    assert pidfds.wait_end(process, 60.0)
    child.wait(60.0)
    assert pidfds.wait_end(process, 0.0), "also when nothing is left of it"


def test_a_signal_reaches_the_process_and_no_other(machine: str, child: procs.Process) -> None:
    process = ProcessId.of(child.pid)
    assert not procs.signal(process._replace(start=process.start - 1), signal.SIGKILL)
    assert not procs.signal(process._replace(namespace=1), signal.SIGKILL)
    assert child.poll() is None
    assert procs.signal(process, signal.SIGKILL)
    child.wait(60.0)
    assert not procs.signal(process, signal.SIGKILL)


def test_a_tree_is_killed(machine: str) -> None:
    parent = procs.spawn(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=procs.PIPE)
    assert parent.stdout is not None
    grandchild = ProcessId.of(int(parent.stdout.readline()))
    assert procs.kill_tree([ProcessId.of(parent.pid)]) in (1, 2)  # the shell may end by itself once its child is hit
    parent.wait(60.0)
    parent.close()
    eventually(lambda: not grandchild.alive)


def test_a_program_runs_to_its_end(machine: str) -> None:
    with program.Signals() as signals:
        assert program.run(["sh", "-c", "sleep 0.02; exit 7"], os.environ, signals).code == 7


def test_what_can_not_be_watched_is_never_called_ended(machine: str) -> None:
    if machine in ("whole", "conda"):
        descriptor = pidfds.watch(procs.this())
        assert descriptor is not None
        os.close(descriptor)
    else:
        with pytest.raises(ValueError, match=str(os.getpid())):
            pidfds.watch(procs.this())


def test_a_keeper_that_can_not_watch_looks_each_time(machine: str) -> None:
    alarm = Alarm()
    alarm.news = False
    alarm.watch([procs.this()])
    assert alarm.news == (machine in ("old kernel", "no descriptor left"))
    alarm.watch([])


def test_a_process_that_is_not_there_is_told_from_one_that_can_not_be_watched(child: procs.Process) -> None:
    process = ProcessId.of(child.pid)
    child.kill()
    child.wait(60.0)
    assert pidfds.watch(process) is None
