"""stage-in and stage-out as a job uses them, with the sandbox behind: real commands, keepers, GCP and bytes."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.identity import ProcessId
from nodexfer.staging import spool
from tests.support.holding import NODEXFER, Script, is_cleared
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually

AWKWARD = ["a b", "ü漢", "100%25", "a,b", "[x]{y}", "-dash", "'q\"$", "new\nline", ".hidden"]


@pytest.fixture
def user(box: Box) -> User:
    return User(box)


@contextmanager
def job(user: User, number: str = "1", *, endpoint: bool = True, **environ: str) -> Iterator[Script]:
    """A job that holds; released, and its place found cleared, at the end."""
    script = user.job(number, **environ)
    try:
        script.acquire("--endpoint" if endpoint else "")
        yield script
        script.must("release")
    finally:
        if script.process.alive:
            script.kill()


def contents(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_there_and_back_again(user: User) -> None:
    for number, name in enumerate(AWKWARD):
        path = user.site / "set" / ("deep/er" if number % 2 else "") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1000 * number))
    with job(user) as script:
        script.must("stage-in site:/set $NODEXFER_SCRATCH/")
        script.must("stage-out $NODEXFER_SCRATCH/set other:/back/again")
        assert contents(user.other / "back/again") == contents(user.site / "set")
        assert user.leftovers() == []
    assert [receipt["state"] for receipt in user.receipts] == ["done", "done"]
    assert is_cleared(user.config)


@pytest.mark.parametrize("name", AWKWARD)
def test_an_awkward_name_is_an_argument_like_any_other(user: User, name: str) -> None:
    (user.site / name).write_text(name)
    environ = {**os.environ, **user.environ, "NODEXFER_JOB_ID": "1"}
    argv = [*NODEXFER, "stage-in", "--", f"site:/{name}", name]
    done = procs.run(argv, timeout=60, environ=environ, cwd=str(user.root))
    assert done.code == 0, done
    assert (user.root / name).read_text() == name


def test_a_manifest_and_the_receipt_as_json(user: User) -> None:
    (user.site / "a").write_bytes(b"12345")
    (user.site / "b\tc").write_bytes(b"1")
    manifest = user.root / "manifest"
    manifest.write_text('site:/a\tx/one\n{"source": "site:/b\\tc", "destination": "two/"}\n')
    with job(user) as script:
        script.run(f"cd {user.root}")
        receipt = json.loads(script.must(f"stage-in --json --manifest {manifest} 2>/dev/null"))
        out = json.loads(script.must("stage-out --json x/one site:/out 2>/dev/null"))
    assert receipt["state"] == "done"
    assert receipt["bytes"] == 6
    assert {(file["source"].partition("/")[2], file["size"]) for file in receipt["files"]} == {
        (f"/{user.box.site_id}/a", 5),
        (f"/{user.box.site_id}/b\tc", 1),
    }
    assert out["files"][0]["destination"] == f"globus://{user.box.site_id}/out"
    assert (user.site / "out").read_bytes() == b"12345"


def test_jobs_of_one_node_share_the_endpoint_and_its_tasks(user: User) -> None:
    """Three tasks move at once, which is all that Globus runs of a user; who asks meanwhile shares the next one."""
    for number in range(6):
        (user.site / f"f{number}").write_bytes(os.urandom(10_000))
    user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=1)
    scripts = [user.job(str(number)) for number in range(6)]
    for script in scripts:
        script.acquire()

    def stage(number: int) -> None:
        scripts[number].must(
            f"stage-in site:/f{number} $NODEXFER_SCRATCH/ && cp $NODEXFER_SCRATCH/f{number} {user.root}/"
        )

    threads = [threading.Thread(target=stage, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(spool.directories(user.config.node_paths.spool)) == 6)
    user.box.sandbox.clear()
    for thread in threads:
        thread.join()
    for script in scripts:
        script.must("release")
        script.end()
    assert contents(user.site) == {name: (user.root / name).read_bytes() for name in contents(user.site)}
    assert len({receipt["endpoint"] for receipt in user.receipts}) == 1
    assert len({task for receipt in user.receipts for task in receipt["tasks"]}) <= 4
    assert is_cleared(user.config)


def slow(user: User, size: int = 4_000_000) -> None:
    """What moves from the site takes its time: ``size`` bytes, 200,000 a second."""
    (user.site / "big").write_bytes(os.urandom(size))
    user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=200_000)


def command(script: Script, line: str) -> ProcessId:
    """Start ``nodexfer <line>`` in the script's background; its process, once its task moves."""
    code, text = script.run(f"{' '.join(NODEXFER)} {line} > $NODEXFER_SCRATCH/said 2>&1 & echo $!")
    assert code == 0, text
    return ProcessId.of(int(text.split()[-1]))


def test_a_command_that_is_told_to_stop_cancels_its_task(user: User) -> None:
    slow(user)
    with job(user) as script:
        process = command(script, f"stage-in site:/big {user.root}/big")
        eventually(lambda: user.tasks()["ACTIVE"])
        procs.signal(process, signal.SIGTERM)
        code, text = script.run(f"wait {process.pid}; echo $? $(cat $NODEXFER_SCRATCH/said)")
        assert code == 0
        assert text.startswith("63 ")
        assert "SIGTERM" in text
        eventually(lambda: user.tasks()["ACTIVE"] == 0)
        eventually(lambda: user.leftovers() == [])
        assert not (user.root / "big").exists()
    assert is_cleared(user.config)


def test_a_killed_commands_task_is_cancelled_and_nothing_of_it_is_left(user: User) -> None:
    slow(user)
    with job(user) as script:
        process = command(script, f"stage-in site:/big {user.root}/big")
        eventually(lambda: user.tasks()["ACTIVE"])
        procs.signal(process, signal.SIGKILL)
        eventually(lambda: user.tasks()["ACTIVE"] == 0)
        eventually(lambda: user.leftovers() == [])
    assert is_cleared(user.config)


@pytest.mark.parametrize("victim", ["desk", "keeper"])
def test_a_killed_desk_or_leader_costs_nobody_his_transfer(user: User, victim: str) -> None:
    slow(user)
    with job(user) as script:
        process = command(script, f"stage-in site:/big {user.root}/big")
        eventually(lambda: user.tasks()["ACTIVE"])
        procs.signal(
            _process(user, f"nodexfer.{'staging.desk' if victim == 'desk' else 'node.keeper'}"), signal.SIGKILL
        )
        user.box.sandbox.clear()
        _, text = script.run(f"wait {process.pid}; echo $? $(cat $NODEXFER_SCRATCH/said)")
        assert text.startswith("0 "), text
        assert (user.root / "big").read_bytes() == (user.site / "big").read_bytes()
        assert sum(user.tasks().values()) == 1
    assert is_cleared(user.config)


def _process(user: User, module: str) -> ProcessId:
    """The process that runs ``module`` at this test's home."""
    home = os.fsencode(f"NODEXFER_NODE_DIR={user.config.node_dir}")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            argv, environ = (Path(f"/proc/{pid}/{name}").read_bytes().split(b"\0") for name in ("cmdline", "environ"))
        except OSError:
            continue
        if module.encode() in argv and home in environ:
            return ProcessId.of(int(pid))
    raise AssertionError(f"no {module} runs")


def test_progress_is_told_in_a_log_now_and_then(user: User) -> None:
    slow(user)
    with job(user) as script:
        process = command(script, f"stage-in site:/big {user.root}/big")
        eventually(lambda: " left" in script.run("cat $NODEXFER_SCRATCH/said")[1])
        user.box.sandbox.clear()
        _, text = script.run(f"wait {process.pid}; cat $NODEXFER_SCRATCH/said")
    assert "of 3.8 MiB" in text
