"""The keeper: exactly one per job, there as long as a hold of its job lives, and gone with all it had afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nodexfer import procs
from nodexfer.config import Config
from nodexfer.errors import HoldUnknown, KeeperFailed, RecordNewer
from nodexfer.identity import ProcessId
from nodexfer.node import bell, hold, registry
from tests.support import eventually, holding
from tests.support.holding import Script, holds, is_cleared, job, keeper, kill, left, place, python, script


@pytest.fixture
def config() -> Config:
    return place()


@pytest.fixture
def one(config: Config) -> Iterator[Script]:
    with script("1") as made:
        yield made


def keepers(config: Config) -> list[int]:
    """The pids of all keepers of this test's place."""
    mark = f"NODEXFER_NODE_DIR={config.node_dir}".encode()
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            arguments = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            if b"nodexfer.node.keeper" in arguments and mark in Path(f"/proc/{name}/environ").read_bytes():
                found.append(int(name))
        except OSError:
            continue
    return found


# -- starting


def test_the_first_hold_starts_the_keeper_and_the_last_release_ends_it(config: Config, one: Script) -> None:
    first, second = one.acquire(), one.acquire()
    process = keeper(config)
    assert keepers(config) == [process.pid]
    scratch = Path(config.node_paths.scratch(job().key))
    assert one.run("echo $NODEXFER_SCRATCH")[1] == str(scratch)
    (scratch / "data").touch()
    one.must(f"release {first}")
    assert keepers(config) == [process.pid]
    assert (scratch / "data").exists()
    one.must(f"release {second}")
    assert keepers(config) == [], "release comes back when the keeper has ended"
    assert is_cleared(config)


def test_the_keeper_stays_where_the_scheduler_finds_it(config: Config, one: Script) -> None:
    one.acquire()
    process = keeper(config)
    assert os.getsid(process.pid) == one.process.pid
    assert os.getpgid(process.pid) == one.process.pid
    assert Path(f"/proc/{process.pid}/cwd").resolve() == Path("/")


def test_the_keeper_holds_neither_terminal_nor_pipe_of_the_command(config: Config, one: Script) -> None:
    one.acquire()
    files = {os.readlink(path) for path in Path(f"/proc/{keeper(config).pid}/fd").iterdir()}
    pipes = {name for name in files if name.startswith("pipe:")}
    # Its own wake-up calls are pipes too: those of the script are told by their inodes.
    script_pipes = {os.readlink(f"/proc/{one.process.pid}/fd/{number}") for number in (0, 1, 2)}
    assert not pipes & script_pipes
    assert f"{config.node_dir}/logs/keeper-{job().key}.log" in files


def test_commands_of_one_job_at_once_start_one_keeper(config: Config, one: Script) -> None:
    command = f"'{sys.executable}' -m nodexfer acquire >/dev/null"
    code, text = one.run(" & ".join([command] * 8) + " & wait")
    assert (code, text) == (0, "")
    assert len(holds(config)) == 8
    # One that found another in its place has said so, and is on its way out.
    eventually(lambda: keepers(config) == [keeper(config).pid])


def test_each_job_has_a_keeper_of_its_own(config: Config, one: Script) -> None:
    with script("2") as two:
        one.acquire()
        two.acquire()
        assert keeper(config, "1") != keeper(config, "2")
        two.must("release")
        assert keeper(config, "1").alive
        assert not os.path.exists(config.node_paths.scratch(job("2").key))
        one.must("release")
    assert is_cleared(config)


def test_a_keeper_that_can_not_start_is_an_error_and_the_hold_is_gone(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODEXFER_LINGER", "5")
    monkeypatch.setenv("NODEXFER_CONFIG", "/nonexistent/config.toml")
    with pytest.raises(KeeperFailed, match="no such file"):
        hold.take(config, job(), procs.this())
    assert holds(config) == []


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_keeper_that_is_killed_while_it_starts_is_started_once_more(
    config: Config, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    usual, starts = procs.spawn, []

    def spawn(argv: Sequence[str], **options: Any) -> procs.Process:
        starts.append(argv)
        return usual(["sh", "-c", "kill -KILL $$"] if len(starts) <= deaths else argv, **options)

    monkeypatch.setattr(procs, "spawn", spawn)
    if deaths == 1:
        taken = hold.take(config, job(), procs.this())
        assert keeper(config).alive
        hold.release(config, taken.id)
    else:
        with pytest.raises(KeeperFailed, match="did not start, tried twice: it was killed"):
            hold.take(config, job(), procs.this())
        assert holds(config) == []
    assert len(starts) == 2


# -- ending


def test_the_end_of_the_script_ends_its_keeper_and_clears_up(config: Config) -> None:
    with script("1") as one:
        one.acquire()
        process = keeper(config)
        one.end()
        eventually(lambda: not process.alive)
    eventually(lambda: is_cleared(config))


def test_a_hold_of_a_process_ends_with_the_process(config: Config) -> None:
    code = "import nodexfer, sys\nwith nodexfer.hold() as node: print(node.scratch, flush=True); sys.stdin.read()"
    program = python(code)
    assert program.stdout is not None
    scratch = Path(program.stdout.readline().decode().strip())
    assert scratch.is_dir()
    process = keeper(config)
    program.kill()
    assert program.wait(10) == -signal.SIGKILL
    program.close()
    eventually(lambda: not process.alive)
    assert is_cleared(config)


def test_a_program_that_holds_has_no_child_to_wait_for(config: Config) -> None:
    def children() -> set[int]:
        return {pid for pid, parent in procs.parents_now().items() if parent == os.getpid()}

    before = children()  # a sandbox that tests share is one
    taken = hold.take(config, job(), procs.this())
    assert os.getpid() not in {procs.parents_now().get(pid) for pid in keepers(config)}
    hold.release(config, taken.id)
    assert children() <= before


def test_the_death_of_one_process_leaves_the_others_of_the_job_alone(config: Config, one: Script) -> None:
    one.acquire()
    program = python("import nodexfer, sys\nwith nodexfer.hold(): print(flush=True); sys.stdin.read()")
    assert program.stdout is not None
    program.stdout.readline()
    assert len(holds(config)) == 2
    program.kill()
    program.wait(10)
    program.close()
    eventually(lambda: len(holds(config)) == 1)
    assert keeper(config).alive


def test_a_hold_that_comes_while_the_keeper_ends_is_kept(config: Config) -> None:
    for _ in range(20):
        first = hold.take(config, job(), procs.this())
        hold.release(config, first.id, wait=0.0)  # the keeper is on its way out, or not yet
        second = hold.take(config, job(), procs.this())
        assert keeper(config).alive
        with registry.Transaction(config.node_paths) as table:
            assert second.id in table
            assert registry.keeper_lives(config.node_paths, job().key)
        assert os.path.isdir(second.scratch)
        hold.release(config, second.id)
    assert is_cleared(config)


def test_a_release_does_not_wait_for_a_keeper_that_is_held_again(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hold.take(config, job(), procs.this())
    ring, others = bell.ring, list[hold.Taken]()

    def take_again(path: str, word: bytes = bell.WORK) -> bool:
        if word == bell.RELEASE and not others:
            others.append(hold.take(config, job(), procs.this()))
        return ring(path, word)

    monkeypatch.setattr(bell, "ring", take_again)
    assert hold.release(config, first.id, wait=20.0), "it waited to the end"
    assert keeper(config).alive
    hold.release(config, others[0].id)
    assert is_cleared(config)


def test_a_release_without_any_time_starts_no_keeper_that_was_killed(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hold.take(config, job(), procs.this())
    holding.kill(keeper(config))
    monkeypatch.setattr(hold, "start_keeper", lambda *_: pytest.fail("it was started"))
    assert hold.release(config, first.id, wait=0.0)
    assert holding.holds(config) == []
    assert not os.path.lexists(first.scratch)


def test_a_release_is_not_undone_by_a_neighbour_that_clears_up_before_the_keeper_has_seen_it(
    config: Config, one: Script
) -> None:
    """The registry goes with the last keeper, not with the last hold: a new one would be filled again."""
    mine = one.acquire()
    process = keeper(config)
    with script("2") as two:
        other = two.acquire()
        holding.stop(process)
        try:
            hold.release(config, mine, wait=0.0)
            two.must(f"release {other}")
        finally:
            procs.signal(process, signal.SIGCONT)
    eventually(lambda: not process.alive)
    assert is_cleared(config)


def test_a_release_of_an_unknown_hold_is_an_error(config: Config, one: Script) -> None:
    one.acquire()
    with pytest.raises(HoldUnknown, match="no hold nonsense"):
        hold.release(config, "nonsense")
    assert keeper(config).alive


# -- dying


def test_a_killed_keeper_is_started_again_by_the_jobs_next_command(config: Config, one: Script) -> None:
    first = one.acquire()
    scratch = Path(config.node_paths.scratch(job().key), "data")
    scratch.touch()
    old = keeper(config)
    kill(old)
    assert [found.id for found in holds(config)] == [first], "the hold stays"
    one.acquire()
    assert keeper(config) != old
    assert scratch.exists()


def test_who_waits_for_work_starts_a_killed_keeper_again(config: Config, one: Script) -> None:
    one.acquire()
    assert hold.ensure_keeper(config, job()) is False
    kill(keeper(config))
    assert hold.ensure_keeper(config, job()) is True
    assert keeper(config).alive


def test_a_release_without_a_keeper_clears_up_itself(config: Config, one: Script) -> None:
    name = one.acquire()
    kill(keeper(config))
    one.must(f"release {name}")
    rest = left(config)
    assert not {path for path in rest if path.startswith(("jobs/", "keepers/"))}


def test_what_a_killed_job_leaves_is_cleared_by_the_next_one(config: Config) -> None:
    with script("1") as one:
        one.acquire()
        Path(config.node_paths.scratch(job().key), "data").touch()
        process = keeper(config)
        one.kill()
        eventually(lambda: not process.alive)
    assert os.path.exists(config.node_paths.scratch(job().key))
    with script("2") as two:
        two.acquire()
        eventually(lambda: not os.path.exists(config.node_paths.scratch(job("1").key)))
        assert not os.path.exists(config.node_paths.keeper(job("1").key))
        two.must("release")
    assert is_cleared(config)


def test_a_job_that_is_queued_again_under_the_same_key_finds_nothing_of_its_first_run(config: Config) -> None:
    """PBS: the files would be in its way, and the end that the scheduler told would be the first run's."""
    paths = config.node_paths
    known, kept = Path(paths.job_spool(job().key), ".end"), Path(paths.request(job().key, "r1"))
    data = Path(paths.scratch(job().key), "data")
    with script("1") as first:
        first.acquire()
        data.touch()
        kept.mkdir(parents=True)
        for file in (known, kept / "request.json", kept / "batch.json"):
            file.touch()
        process = keeper(config)
        first.kill()
        eventually(lambda: not process.alive)
    assert data.exists()
    with script("1") as second:
        second.acquire()
        assert data.parent.is_dir()
        assert not data.exists()
        assert not known.exists()
        assert kept.exists(), "a task of Globus is ended by the next desk"
        shutil.rmtree(kept)
        second.must("release")
    assert is_cleared(config)


def test_a_job_whose_script_runs_keeps_its_files_also_where_nothing_holds(config: Config) -> None:
    first = hold.take(config, job(), procs.this())
    data = Path(first.scratch, "data")
    data.touch()
    kill(keeper(config))
    with registry.Transaction(config.node_paths) as table:
        table.drop(first.id)
    second = hold.take(config, job(), procs.this())
    assert data.exists()
    hold.release(config, second.id)


def test_files_of_another_boot_are_nobodys(config: Config, one: Script) -> None:
    one.acquire()
    kill(keeper(config))
    registry_file = Path(config.node_paths.registry)
    text = registry_file.read_text()
    registry_file.write_text(text.replace('"boot":"', '"boot":"another-'))
    card = Path(config.node_paths.keeper(job().key))
    card.write_text(card.read_text().replace('"boot": "', '"boot": "another-'))
    with script("2") as two:
        two.acquire()
        eventually(lambda: not card.exists())
        assert {found.job for found in holds(config)} == {job("2").key}


def test_a_term_to_the_keeper_does_not_end_the_hold(config: Config, one: Script) -> None:
    one.acquire()
    process = keeper(config)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        procs.signal(process, number)
    one.acquire()
    assert process.alive
    one.must("release")


# -- the place


def test_a_registry_that_was_broken_is_filled_again_by_the_keepers(config: Config, one: Script) -> None:
    first = one.acquire()
    process = keeper(config, "1")
    procs.signal(process, signal.SIGSTOP)  # or it may be first to look
    Path(config.node_paths.registry).write_text("{")
    code, text = one.run(f"'{sys.executable}' -m nodexfer acquire")
    procs.signal(process, signal.SIGCONT)
    assert code == 54, text
    assert "set aside" in text
    with script("2") as two:
        two.acquire()
        eventually(lambda: {found.id for found in holds(config)} >= {first})
        assert process.alive
        one.must(f"release {first}")


def test_a_registry_of_a_newer_version_ends_no_hold(config: Config, one: Script) -> None:
    one.acquire()
    process = keeper(config)
    text = '{"format":99}'
    Path(config.node_paths.registry).write_text(text)
    with pytest.raises(RecordNewer):
        hold.take(config, job(), procs.this())
    assert process.alive
    assert Path(config.node_paths.registry).read_text() == text


def test_a_keeper_whose_place_was_removed_ends_and_a_new_place_has_a_new_one(config: Config, one: Script) -> None:
    one.acquire()
    old = keeper(config)
    holding.remove(config.node_dir)
    one.acquire()
    assert keeper(config) != old
    eventually(lambda: not old.alive)
    assert keeper(config).alive
    one.must("release")
    assert is_cleared(config)


def test_a_keeper_of_a_removed_place_clears_nothing_at_the_new_one(config: Config, one: Script) -> None:
    one.acquire()
    old: ProcessId = keeper(config)
    moved = f"{config.node_dir}-moved"
    os.rename(config.node_dir, moved)
    one.acquire()
    data = Path(config.node_paths.scratch(job().key), "data")
    data.touch()
    eventually(lambda: not old.alive)
    assert data.exists()
    shutil.rmtree(moved)


def test_an_idle_keeper_is_small_and_sleeps(config: Config, one: Script) -> None:
    one.acquire()
    process = keeper(config)
    status = Path(f"/proc/{process.pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    assert int(lines["VmRSS"].split()[0]) <= 30 * 1024
    modules = Path(f"/proc/{process.pid}/maps").read_text()
    assert "globus" not in modules
    assert "msgspec" not in modules


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_an_idle_keeper_wakes_at_most_once_a_second_and_leaves_the_shared_file_system_alone(
    config: Config, one: Script, tmp_path: Path
) -> None:
    one.acquire()
    trace = tmp_path / "trace"
    seconds = 6
    procs.run(
        ["timeout", "--signal=INT", str(seconds), "strace", "-f", "-p", str(keeper(config).pid), "-o", str(trace)],
        timeout=30,
    )
    text = trace.read_text()
    sleeps = [line for line in text.splitlines() if "poll(" in line]
    assert len(sleeps) <= seconds, text
    assert config.home not in text
    assert "connect(" not in text
