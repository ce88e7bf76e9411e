"""The command's end of a request: what it says of one that is gone."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from nodexfer.config import load
from nodexfer.errors import DeadlinePassed, DiskFull, Interrupted, NodeDirRemoved, PoolExhausted
from nodexfer.node import silence, work
from nodexfer.scheduler import Job
from nodexfer.staging import client, intake, spool, via_route
from nodexfer.staging.bells import Bells
from nodexfer.staging.request import Request, Result

JOB = Job("local", "host", "1", 0)


@pytest.fixture
def who() -> client.Client:
    config = load()
    config.node_paths.make()
    return client.Client(config, JOB, 0.0, {})


def test_a_request_that_is_gone_with_the_node_dir_says_so_although_it_went_first(
    who: client.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def next_leaf(_: float) -> None:
        shutil.rmtree(who.config.node_dir)

    monkeypatch.setattr("time.sleep", next_leaf)
    with pytest.raises(NodeDirRemoved):
        client._result(who, f"{who.config.node_paths.spool}/job/r1")


def test_a_request_that_alone_is_gone_was_removed(who: client.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_REMOVAL_SECONDS", 0.0)
    with pytest.raises(Interrupted, match="r1 was removed"):
        client._result(who, f"{who.config.node_paths.spool}/job/r1")


def news(who: client.Client) -> None:
    directory = Path(who.config.node_paths.spool, "job/r1")
    directory.mkdir(parents=True)
    (directory / spool.PROGRESS).touch()
    client._News(lambda _: None).look([str(directory)])


def patience(who: client.Client) -> None:
    via_route._Patience(who, [])._look(float("inf"))


def who_blocks(who: client.Client) -> None:
    lock = os.open(who.config.node_dir, os.O_RDONLY)
    Path(who.config.node_paths.blocked).touch()
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        silence.blocked(who.config.node_paths)
    finally:
        os.close(lock)


@pytest.mark.parametrize("look", [news, patience, who_blocks])
def test_a_signal_that_comes_while_a_record_is_read_ends_the_wait(
    who: client.Client, monkeypatch: pytest.MonkeyPatch, look: Callable[[client.Client], None]
) -> None:
    """Whoever waits looks again and again, and takes what can not be read now for nothing new."""

    def told(*_: object) -> None:
        raise Interrupted("Stopped by SIGTERM.")

    for name in ("staging.spool.progress", "records.read", "node.endpoint.read"):
        monkeypatch.setattr(f"nodexfer.{name}", told)
    with pytest.raises(Interrupted, match="SIGTERM"):
        look(who)


@pytest.fixture
def directory(who: client.Client) -> str:
    found = f"{who.config.node_paths.spool}/job/r1"
    os.makedirs(found)
    return found


def answer(directory: str) -> None:
    intake._answer(directory, Result(tasks=("t1",)))


def refuse(directory: str) -> None:
    work.refuse(directory, PoolExhausted("No endpoint is free."))


@pytest.mark.parametrize(("end", "tasks"), [(answer, ["t1"]), (refuse, None)])
def test_who_answers_rings_for_the_command_that_waits(
    who: client.Client,
    directory: str,
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[str], None],
    tasks: list[str] | None,
) -> None:
    waited = []
    wait = Bells.wait

    def answer_meanwhile(bells: Bells, _: float) -> None:
        end(directory)
        before = time.monotonic()
        wait(bells, 60.0)
        waited.append(time.monotonic() - before)

    monkeypatch.setattr(Bells, "wait", answer_meanwhile)
    later = who._replace(deadline=time.time() + 600)
    if tasks is None:
        with pytest.raises(PoolExhausted, match="No endpoint is free"):
            client.results(later, [directory])
    else:
        assert [list(result.tasks) for result in client.results(later, [directory])] == [tasks]
    assert waited[0] < 30.0
    assert not os.path.exists(f"{directory}/{spool.BELL}")


def test_where_no_bell_can_be_hung_the_answer_is_looked_for(
    who: client.Client, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: str, __: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.mkfifo", full)
    monkeypatch.setattr(client._News, "look", lambda *_: answer(directory))
    (result,) = client.results(who._replace(deadline=time.time() + 600), [directory])
    assert result.tasks == ("t1",)


@pytest.mark.parametrize(("seconds", "left"), [(100, 70), (30, None)])
def test_a_request_is_over_half_a_minute_before_its_job(who: client.Client, seconds: float, left: float | None) -> None:
    environ = {"NODEXFER_END": str(time.time() + seconds)}
    if left is None:
        with pytest.raises(DeadlinePassed, match="ends within 30 s"):
            client.deadline_of(who.config, JOB, environ)
    else:
        assert client.deadline_of(who.config, JOB, environ) == pytest.approx(float(environ["NODEXFER_END"]) - 30)


def full(path: str, *_: object, **__: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def test_a_request_that_a_full_disk_does_not_take_is_named_so(
    who: client.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(id="r1", job=JOB.key, owner=client.owner(), direction="in", deadline=0.0, created=0.0)
    spool.ask(who.config.node_paths, msgspec.structs.replace(request, id="r0"))
    mkdir = os.mkdir
    monkeypatch.setattr(os, "mkdir", lambda path, mode: full(path) if "/.new-" in path else mkdir(path, mode))
    with pytest.raises(DiskFull):
        spool.ask(who.config.node_paths, request)


@pytest.mark.parametrize("names", [True, False], ids=["a name is had", "nothing is had"])
def test_a_request_is_called_off_on_a_full_disk(directory: str, monkeypatch: pytest.MonkeyPatch, names: bool) -> None:
    """Whoever calls off has an error to tell, and more to remove: it must not fail by that."""
    Path(directory, spool.REQUEST).touch()
    opened = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest: full(path) if str(path).endswith(spool.CANCEL) else opened(path, *rest)
    )
    if not names:
        monkeypatch.setattr(os, "link", full)
    spool.cancel(directory)
    assert spool.is_cancelled(directory) is names
