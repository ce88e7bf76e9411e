"""Cleaning: a job's own things at its end, a dead job's by the next, a live one's never."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.config import Config
from nodexfer.identity import ProcessId, boot_id
from nodexfer.node import bell, clean, locks, registry, work
from nodexfer.paths import RootPaths, safe_name
from tests.support.holding import job, left, place


@pytest.fixture
def config(tmp_path: Path) -> Config:
    root = tmp_path / "root"
    root.mkdir()
    node = os.environ["NODEXFER_NODE_DIR"]
    found = place(roots=[os.path.dirname(node), str(root)])
    with registry.Transaction(found.node_paths, create=True) as table:
        table.clear()
    return found


def dead() -> ProcessId:
    return procs.this()._replace(start=1)


def add(config: Config, key: str, process: ProcessId | None = None, endpoint: bool = False) -> registry.Hold:
    hold = registry.new_hold(key, process or procs.this(), procs.this(), endpoint)
    with registry.Transaction(config.node_paths) as table:
        table.add(hold)
    return hold


def fill(config: Config, key: str, lease: int = 3) -> dict[str, Path]:
    """What a job has while it works: scratch, exchange, a request that waits and one that Globus works on."""
    paths = config.node_paths
    made = {"scratch": Path(paths.scratch(key)), "keeper": Path(paths.keeper(key))}
    made["scratch"].mkdir()
    made["keeper"].touch()
    for number, base in enumerate(clean.bases(config)):
        base.make(lease)
        made[f"exchange {number}"] = Path(base.exchange(lease), "jobs", safe_name(key))
        made[f"exchange {number}"].mkdir(parents=True)
        made[f"outgoing {number}"] = Path(base.outgoing(f"{key}-waits"))
        made[f"outgoing {number}"].mkdir()
    for name in (f"{key}-waits", f"{key}-moves"):
        made[name] = Path(paths.request(key, name))
        made[name].mkdir(parents=True)
        (made[name] / "request.json").write_text(json.dumps({"format": 1}))
    (made[f"{key}-moves"] / "batch.json").touch()
    return made


def test_a_job_that_ends_leaves_only_what_globus_works_on(config: Config) -> None:
    made = fill(config, "a")
    with registry.Transaction(config.node_paths):
        gone = clean.job(config, "a")
    assert not made["scratch"].exists(), "it is out of sight before it is removed"
    gone.remove()
    assert {name for name, path in made.items() if path.exists()} == {"keeper", "a-moves"}


def test_what_a_command_that_died_was_removing_is_not_taken_for_moving(config: Config) -> None:
    half = Path(config.node_paths.job_spool("a"), ".gone-r1-12")
    half.mkdir(parents=True)
    (half / "batch.json").touch()
    with registry.Transaction(config.node_paths):
        clean.job(config, "a").remove()
    assert not half.parent.exists()


def test_a_dead_job_is_cleared_away_and_a_live_one_is_not_touched(config: Config) -> None:
    add(config, "a", dead())
    add(config, "b")
    a, b = fill(config, "a"), fill(config, "b")
    with registry.Transaction(config.node_paths) as table:
        gone = clean.dead_jobs(config, table)
        assert [hold.job for hold in table] == ["b"]
    gone.remove()
    assert {name for name, path in a.items() if path.exists()} == {"a-moves"}
    assert all(path.exists() for path in b.values())


def test_a_job_whose_keeper_lives_is_not_dead_whatever_the_registry_says(config: Config) -> None:
    made = fill(config, "a")
    lock = locks.open_file(str(made["keeper"]))
    assert locks.try_lock(lock)
    with registry.Transaction(config.node_paths) as table:
        clean.dead_jobs(config, table).remove()
    os.close(lock)
    assert all(path.exists() for path in made.values())


def test_a_job_whose_script_lives_is_not_dead_when_keeper_and_registry_are_lost(config: Config) -> None:
    made = fill(config, "a")
    lock = locks.open_file(str(made["keeper"]))
    registry.write_keeper(lock, registry.Keeper(boot_id(), dead(), procs.this(), job("a"), 0.0))
    os.close(lock)
    with registry.Transaction(config.node_paths) as table:
        clean.dead_jobs(config, table).remove()
    assert all(path.exists() for path in made.values())


def test_what_a_cleaner_that_died_had_hidden_is_removed(config: Config) -> None:
    hidden = Path(config.node_dir, ".gone-1234-scratch/deep")
    hidden.mkdir(parents=True)
    with registry.Transaction(config.node_paths) as table:
        clean.dead_jobs(config, table).remove()
    assert not hidden.parent.exists()


def test_old_exchanges_keep_what_a_request_still_needs(config: Config) -> None:
    made = fill(config, "a", lease=3)
    needed = Path(clean.bases(config)[0].exchange(3), "a-moves")
    needed.mkdir()
    forgotten = Path(clean.bases(config)[0].exchange(2), "nobody")
    forgotten.mkdir(parents=True)
    clean.old_exchanges(config, 4).remove()
    assert needed.exists()
    assert not forgotten.parent.exists()
    assert not made["exchange 1"].exists()


def test_old_exchanges_keep_what_a_job_has_there_as_long_as_it_lives(config: Config) -> None:
    """NODEXFER_ROOT: the endpoint may be lost, and come back under another lease, while the program works in it."""
    add(config, "a")
    add(config, "b", dead())
    a, b = fill(config, "a", lease=3), fill(config, "b", lease=3)
    data = a["exchange 0"] / "data"
    data.write_text("mine")
    for lease in (4, None):
        clean.old_exchanges(config, lease).remove()
        assert data.read_text() == "mine"
    assert not b["exchange 0"].exists()
    with registry.Transaction(config.node_paths):
        clean.job(config, "a").remove()
    clean.old_exchanges(config, None).remove()
    assert not data.exists()
    assert not os.path.exists(clean.bases(config)[0].exchange(3))


def test_where_nobody_knows_who_lives_nothing_of_any_job_goes(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fill(config, "a", lease=3)
    lock = locks.take(config.node_paths.registry_lock, 5.0)
    with monkeypatch.context() as patch:
        patch.setattr(registry, "LOCK_SECONDS", 0.1)
        clean.old_exchanges(config, None).remove()
    assert made["exchange 0"].exists()
    os.close(lock)
    clean.old_exchanges(config, None).remove()
    assert not made["exchange 0"].exists()


def test_the_exchange_of_this_lease_is_not_old(config: Config) -> None:
    made = fill(config, "a", lease=3)
    clean.old_exchanges(config, 3).remove()
    assert made["exchange 0"].exists()


def test_the_last_one_leaves_lock_files_only(config: Config, tmp_path: Path) -> None:
    paths = config.node_paths
    fill(config, "a")
    Path(paths.request("a", "a-moves"), "batch.json").unlink()
    for path in (paths.guard_lock, paths.desk_lock, f"{paths.logs}/empty.log", paths.place):
        Path(path).touch()
    bell.Bell(paths.desk_bell)
    add(config, "a", dead())
    with registry.Transaction(paths) as table:
        gone = clean.everything(config, table)
    gone.remove()
    clean.roots(config)
    assert left(config) == {"registry.lock", "guard.lock", "desk.lock"}
    assert os.listdir(tmp_path / "root") == []


def test_logs_with_something_in_them_stay_for_a_week(config: Config) -> None:
    new, old = (Path(config.node_paths.logs, name) for name in ("new.log", "old.log"))
    for path in (new, old):
        path.write_text("why it failed")
    os.utime(old, (0, time.time() - clean.LOG_SECONDS - 60))
    with registry.Transaction(config.node_paths) as table:
        clean.everything(config, table).remove()
    assert new.exists()
    assert not old.exists()


def test_a_place_whose_lease_was_not_given_back_keeps_its_name(config: Config) -> None:
    Path(config.node_paths.place).touch()
    Path(config.node_paths.gcp_config("x")).mkdir()
    with registry.Transaction(config.node_paths) as table:
        clean.everything(config, table).remove()
    assert Path(config.node_paths.place).exists()


def test_the_next_comer_finds_the_directories_of_a_cleared_place_made_again(config: Config) -> None:
    with registry.Transaction(config.node_paths) as table:
        clean.everything(config, table).remove()
    assert not os.path.exists(config.node_paths.jobs)
    add(config, "b")
    assert os.path.isdir(config.node_paths.jobs)


def test_a_root_that_holds_the_node_dir_has_nothing_of_its_own(config: Config) -> None:
    assert [base.base for base in clean.bases(config)] == [
        config.node_dir,
        RootPaths.of(config.roots[1], config.node_dir).base,
    ]


# -- what waits


def test_requests_that_are_over_or_half_written_are_no_work(config: Config) -> None:
    paths = config.node_paths
    made = fill(config, "a")
    Path(paths.job_spool("a"), ".new-r").mkdir()
    Path(paths.job_spool("a"), "empty").mkdir()
    (made["a-moves"] / "result.json").touch()
    assert work.requests(paths) == work.requests(paths, "a") == [str(made["a-waits"])]
    assert work.requests(paths, "b") == []


def test_what_globus_knows_of_is_told_from_what_only_waits(config: Config) -> None:
    made = fill(config, "a")
    assert work.submitted(config.node_paths) == [str(made["a-moves"])]
    (made["a-moves"] / "result.json").touch()
    assert work.submitted(config.node_paths) == []


def ask(config: Config, name: str, patience: float | None, deadline: float = 1e12) -> Path:
    directory = Path(config.node_paths.request("a", name))
    directory.mkdir(parents=True)
    record = {"format": 1, "created": time.time() - 10, "wait_endpoint": patience, "deadline": deadline}
    (directory / "request.json").write_text(json.dumps(record))
    return directory


def test_only_those_out_of_patience_are_refused(config: Config) -> None:
    from nodexfer.errors import PoolExhausted

    impatient, patient, endless = ask(config, "0", 0.0), ask(config, "1", 100.0), ask(config, "2", None)
    late = ask(config, "3", None, deadline=time.time() - 1)
    work.refuse_impatient(config.node_paths, None, PoolExhausted("All are taken."))
    told = [path.name for path in (impatient, patient, endless, late) if (path / "result.json").exists()]
    assert told == ["0", "3"]
    result = json.loads((impatient / "result.json").read_text())
    assert result == {"format": 1, "error": PoolExhausted("All are taken.").as_record()}


def test_what_was_called_off_stays_for_the_desk_that_ends_its_task(config: Config) -> None:
    """With an answer it would be over: its task would run on, and nobody would know of it."""
    from nodexfer.errors import GcpMissing

    moves, waits = ask(config, "moves", None), ask(config, "waits", None)
    (moves / "batch.json").touch()
    for directory in (moves, waits):
        (directory / "cancel").touch()
        work.refuse(str(directory), GcpMissing("None."))
    assert not (moves / "result.json").exists()
    assert (waits / "result.json").exists()
    assert work.submitted(config.node_paths) == [str(moves)]


def test_a_result_of_the_desk_is_not_overwritten(config: Config) -> None:
    from nodexfer.errors import GcpMissing

    directory = ask(config, "0", None)
    (directory / "result.json").write_text("the desk's")
    work.refuse(str(directory), GcpMissing("None."))
    assert (directory / "result.json").read_text() == "the desk's"


def test_a_job_whose_keepers_file_can_not_be_read_now_is_not_taken_for_dead(config: Config) -> None:
    """Where nothing is known of its script, nothing of it is taken away."""
    fill(config, "lost")
    keeper = Path(config.node_paths.keeper("lost"))
    keeper.unlink(missing_ok=True)
    keeper.mkdir()  # EISDIR, also for root
    with registry.Transaction(config.node_paths) as table:
        assert clean.dead_names(config.node_paths, table) == []
    keeper.rmdir()
    with registry.Transaction(config.node_paths) as table:
        assert clean.dead_names(config.node_paths, table) == ["lost"]


def test_an_answer_that_can_not_be_read_now_is_none_yet(config: Config) -> None:
    """What Globus works on is not forgotten meanwhile."""
    directory = Path(config.node_paths.request("job", "r1"))
    directory.mkdir(parents=True)
    for name in ("request.json", "batch.json"):
        (directory / name).write_text("{}")
    (directory / "result.json").mkdir()
    assert not work.is_over(str(directory))
    assert clean.is_moving(str(directory))
    (directory / "result.json").rmdir()
    (directory / "result.json").write_text("{")
    assert work.is_over(str(directory))
