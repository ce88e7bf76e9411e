"""What goes wrong in between: what mends itself costs only time, what does not is told in seconds, with its name."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.staging import batches, spool
from tests.support.holding import NODEXFER, Script
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually


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


def failed(script: Script, command: str) -> tuple[int, str]:
    code, text = script.run(f"{' '.join(NODEXFER)} {command}")
    assert code != 0, text
    assert "Traceback" not in text
    return code, text


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_that_stumbles_costs_only_time(user: User, script: Script, status: int) -> None:
    (user.site / "a").write_text("a")
    user.box.sandbox.fault("http", status=status, count=4, prefix="/v0.10/", retry_after=0)
    script.must(f"stage-in site:/a {user.root}/a")
    script.must(f"stage-out {user.root}/a site:/b")
    assert (user.site / "b").read_text() == "a"


def test_bytes_that_change_on_their_way_are_sent_again(user: User, script: Script) -> None:
    (user.site / "a").write_bytes(os.urandom(100_000))
    user.box.sandbox.fault("corrupt", count=1)
    script.must(f"stage-in site:/a {user.root}/a")
    assert (user.root / "a").read_bytes() == (user.site / "a").read_bytes()
    assert user.receipts[-1]["faults"] >= 1


def test_tokens_that_expire_are_replaced(user: User, script: Script) -> None:
    (user.site / "a").write_text("a")
    user.box.sandbox.fault("expire_tokens")
    script.must(f"stage-in site:/a {user.root}/a")


def test_an_endpoint_that_is_cut_off_comes_back_and_its_transfer_goes_on(user: User, script: Script) -> None:
    (user.site / "big").write_bytes(os.urandom(2_000_000))
    slow = user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=100_000)

    def cut() -> None:
        eventually(lambda: user.tasks()["ACTIVE"])
        fault = user.box.sandbox.fault("disconnect", endpoint="all")
        time.sleep(0.5)  # long enough to be seen; how long does not matter
        user.box.sandbox.clear(fault)
        user.box.sandbox.clear(slow)

    thread = threading.Thread(target=cut)
    thread.start()
    script.must(f"stage-in site:/big {user.root}/big")
    thread.join()
    assert (user.root / "big").read_bytes() == (user.site / "big").read_bytes()
    assert user.tasks() == {"ACTIVE": 0, "SUCCEEDED": 1, "FAILED": 0}


@pytest.mark.parametrize(
    ("code", "exit_code"), [("FILE_NOT_FOUND", 20), ("PERMISSION_DENIED", 21), ("NO_SPACE_LEFT", 52)]
)
@pytest.mark.parametrize("side", ["in", "out"])
def test_what_globus_would_try_for_a_day_is_over_in_seconds(
    user: User, script: Script, code: str, exit_code: int, side: str
) -> None:
    for top in (user.site, user.root):
        (top / "set").mkdir()
        (top / "set/a").write_text("a")
    # Below the item itself, so that the look before the transfer does not find it.
    if side == "in":
        user.box.sandbox.fault("fail_path", endpoint=user.box.site_id, path="/set/a", code=code)
    else:
        user.box.sandbox.fault("fail_path", path=f"{user.config.node_dir}/exchange", code=code)
    began = time.monotonic()
    if side == "in":
        found, words = failed(script, f"stage-in site:/set {user.root}/here")
    else:
        found, words = failed(script, f"stage-out {user.root}/set site:/here")
    assert (found, code in words) == (exit_code, True), words
    assert time.monotonic() - began < 30
    assert not (user.root / "here").exists()
    assert not (user.site / "here").exists()
    eventually(lambda: user.leftovers() == [])
    assert user.tasks()["ACTIVE"] == 0
    user.box.sandbox.clear()


def test_a_token_that_is_gone_for_good_is_named(user: User, script: Script) -> None:
    (user.site / "a").write_text("a")
    user.box.sandbox.fault("expire_tokens", refuse=True)
    code, words = failed(script, f"stage-in site:/a {user.root}/a")
    assert code == 41, words
    user.box.sandbox.clear()


def test_a_service_that_goes_away_is_named(user: User, script: Script) -> None:
    (user.site / "a").write_text("a")
    user.box.sandbox.fault("http", status=503, prefix="/v0.10/")
    code, words = failed(script, f"stage-in site:/a {user.root}/a")
    assert code == 43, words
    user.box.sandbox.clear()


def crowd(user: User, count: int, work: Callable[[int], procs.Completed]) -> list[int]:
    """The exit codes of so many jobs at once."""
    codes = [-1] * count

    def one(number: int) -> None:
        codes[number] = work(number).code

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes


def asked(user: User, direction: str) -> int:
    """How many requests lie in the spool."""
    known = (spool.request(directory) for directory in spool.directories(user.config.node_paths.spool))
    return sum(request is not None and request.direction == direction for request in known)


def test_a_crowd_of_jobs_is_a_few_tasks(user: User, script: Script, tmp_path: Path) -> None:
    """Three move at once, which is all that Globus runs of a user; whoever asks meanwhile shares the next one.

    So there are as many tasks as there were turns of three, however many jobs asked and however they came. Here all ask
    during the first turn, and whoever has not been looked at when it ends goes in the second: two turns, each way.
    """
    count, most = 12, 2 * batches.ACTIVE_LIMIT
    (user.site / "in").mkdir()
    for number in range(count):
        (user.site / f"in/{number}").write_text(str(number) * 10_000)
    go = tmp_path / "go"
    environ = {**os.environ, **user.environ, "STARTED": str(tmp_path), "GO": str(go)}

    def work(number: int) -> procs.Completed:
        line = 'touch "$STARTED/$NODEXFER_JOB"; until test -e "$GO"; do sleep 0.1; done; cd "$NODEXFER_SCRATCH"; cp x y'
        wanted = ["--in", f"site:/in/{number}=x", "--out", f"y=site:/out/{number}"]
        own = {**environ, "NODEXFER_JOB_ID": f"c{number}"}
        return procs.run([*NODEXFER, "run", *wanted, "--", "sh", "-c", line], timeout=100, environ=own)

    def everybody_asked(direction: str) -> bool:
        return asked(user, direction) == count

    def turns() -> None:
        for direction in ("in", "out"):
            slow = user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=1)
            if direction == "out":
                go.touch()
            eventually(partial(everybody_asked, direction), 40)
            user.box.sandbox.clear(slow)
            if direction == "in":
                eventually(lambda: len(list(tmp_path.glob("local-*"))) == count, 40)

    with ThreadPoolExecutor() as pool:
        turning = pool.submit(turns)
        assert crowd(user, count, work) == [0] * count
        turning.result()
    assert [(user.site / f"out/{n}").read_text() for n in range(count)] == [str(n) * 10_000 for n in range(count)]
    for direction in ("in", "out"):
        tasks = {task for one in user.receipts if one["direction"] == direction for task in one["tasks"]}
        assert len(tasks) <= most
    assert user.leftovers() == []
