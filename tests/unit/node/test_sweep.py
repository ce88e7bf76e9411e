"""``nodexfer clean``: what it shows is what it takes, and nothing of anybody who lives."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.config import Config
from nodexfer.gcp import configdir
from nodexfer.node import clean, endpoint, locks, place, sweep
from nodexfer.pool import lease as leases
from tests.support.holding import left, nodexfer
from tests.unit.node.test_clean import add, config, dead, fill
from tests.unit.pool.support import ME, add_entry

__all__ = ["config"]


def snapshot(config: Config) -> set[str]:
    return {f"{path} {path.lstat().st_mtime_ns}" for path in Path(config.node_dir).rglob("*")}


def paths_of(found: list[sweep.Found]) -> set[str]:
    return {one.path for one in found if not one.kept}


def test_what_is_shown_is_what_goes_and_showing_changes_nothing(config: Config) -> None:
    add(config, "a", dead())
    add(config, "b")
    a, b = fill(config, "a"), fill(config, "b")
    before = snapshot(config)
    shown = sweep.look(config)
    assert snapshot(config) == before
    assert sweep.sweep(config) == shown
    assert paths_of(shown) == {str(path) for name, path in a.items() if name != "a-moves" and "outgoing" not in name}
    assert not any(os.path.lexists(path) for path in paths_of(shown))
    assert all(path.exists() for path in b.values()), "nothing of the job that lives"
    [kept] = [one for one in shown if one.kept]
    assert kept.path == str(a["a-moves"])


def test_what_belongs_to_no_job_stays_while_anybody_is_here(config: Config) -> None:
    add(config, "b")
    lost = [Path(base.make(7).exchange(7), "nobody") for base in clean.bases(config)]
    lost += [Path(base.outgoing("r1")) for base in clean.bases(config)]
    for path in lost:
        path.mkdir()
    sweep.sweep(config)
    assert all(path.exists() for path in lost)


def test_a_keeper_that_has_not_yet_seen_the_last_release_is_somebody(config: Config) -> None:
    exchange = Path(clean.bases(config)[0].make(7).exchange(7), "nobody")
    exchange.mkdir()
    lock = locks.open_file(config.node_paths.keeper("b"))
    assert locks.try_lock(lock)
    sweep.sweep(config)
    assert exchange.exists()
    os.close(lock)
    sweep.sweep(config)
    assert not exchange.exists()


def test_where_nobody_is_here_all_of_it_goes(config: Config, tmp_path: Path) -> None:
    for base in clean.bases(config):
        Path(base.make(7).exchange(7), "nobody").mkdir()
        Path(base.outgoing("r1")).mkdir()
    Path(config.node_dir, ".gone-12-scratch").mkdir()
    Path(config.node_paths.endpoint).write_text("{}")
    shown = sweep.look(config)
    assert len(shown) == 6
    sweep.sweep(config)
    assert left(config) <= {"registry.lock", "guard.lock", "place"}
    assert os.listdir(tmp_path / "root") == []


@pytest.mark.parametrize("path", ["node_dir", "guard_lock"])
def test_nothing_of_a_leader_or_a_guard_that_lives_is_touched(config: Config, path: str) -> None:
    exchange = Path(clean.bases(config)[0].make(7).exchange(7), "busy")
    exchange.mkdir()
    name = getattr(config.node_paths, path)
    lock = os.open(name, os.O_RDONLY) if os.path.isdir(name) else locks.open_file(name)
    assert locks.try_lock(lock)
    sweep.sweep(config)
    assert exchange.exists()
    os.close(lock)
    sweep.sweep(config)
    assert not exchange.exists()


def test_a_lease_that_was_not_given_back_is_given_back(config: Config) -> None:
    from nodexfer.identity import boot_id, host

    directory = add_entry(Path(config.home), "node-1")
    me = ME._replace(host=host(), boot=boot_id(), place=place.settle(config.node_paths), node_dir=config.node_dir)
    assert leases.take(str(directory), 4, me, "id", 300.0) is not None
    Path(config.node_paths.endpoint).write_text("{}")
    add(config, "b", dead())
    done = nodexfer("clean", "--dry-run", "--json")
    assert done.code == 0, done
    assert json.loads(done.out)["endpoints"] == ["node-1"]
    done = nodexfer("clean")
    assert done.code == 0, done
    assert "gave back the endpoint node-1" in done.out
    top = leases.top(str(directory))
    assert top is not None
    assert (top.number, top.released) == (4, True)
    assert endpoint.read(config.node_paths) is None


def test_what_gcp_changed_in_its_credentials_goes_back_to_the_pool_before_the_lease(config: Config) -> None:
    from nodexfer.identity import boot_id, host

    here = place.settle(config.node_paths)
    directory, working = add_entry(Path(config.home), "node-1"), config.node_paths.gcp_config(here)
    configdir.check_out(f"{directory}/config", working)
    Path(working, "lta/ftp-cert.pem").write_text("renewed by GCP")
    me = ME._replace(host=host(), boot=boot_id(), place=here, node_dir=config.node_dir)
    assert leases.take(str(directory), 4, me, "id", 300.0) is not None
    sweep.sweep(config)
    assert (directory / "config/lta/ftp-cert.pem").read_text() == "renewed by GCP"
    assert not os.path.exists(working)
    top = leases.top(str(directory))
    assert top is not None
    assert top.released


def test_a_lease_of_a_job_that_lives_is_kept(config: Config) -> None:
    from nodexfer.identity import boot_id, host

    directory = add_entry(Path(config.home), "node-1")
    me = ME._replace(host=host(), boot=boot_id(), place=place.settle(config.node_paths), node_dir=config.node_dir)
    assert leases.take(str(directory), 4, me, "id", 300.0) is not None
    add(config, "b", procs.this())
    assert sweep.leases_here(config) == []
    sweep.sweep(config)
    top = leases.top(str(directory))
    assert top is not None
    assert not top.released


def test_a_node_that_nobody_used_has_nothing_to_clean() -> None:
    done = nodexfer("clean", "--dry-run")
    assert done.code == 0, done
    assert "Nothing is left" in done.out
    assert not os.path.exists(os.environ["NODEXFER_NODE_DIR"])
