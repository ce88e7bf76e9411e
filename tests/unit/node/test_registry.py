"""The registry: one record under one lock, and a count of what lives."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.errors import NodeDirRemoved, NodeDirUnsafe, RecordBroken, RecordNewer
from nodexfer.identity import ProcessId
from nodexfer.node import registry
from nodexfer.paths import NodePaths
from tests.support.holding import place


@pytest.fixture
def paths() -> NodePaths:
    return place().node_paths


def a_hold(job: str = "a", owner: ProcessId | None = None, endpoint: bool = False) -> registry.Hold:
    return registry.new_hold(job, owner, procs.this(), endpoint)


def add(paths: NodePaths, hold: registry.Hold) -> None:
    with registry.Transaction(paths, create=True) as table:
        table.add(hold)


def dead_process() -> ProcessId:
    child = procs.spawn(["sleep", "60"])
    found = ProcessId.of(child.pid)
    child.kill()
    child.wait(10)
    return found._replace(start=found.start - 1)


def test_a_hold_is_found_again_as_it_was_added(paths: NodePaths) -> None:
    hold = a_hold(owner=procs.this(), endpoint=True)
    add(paths, hold)
    with registry.Transaction(paths) as table:
        assert list(table) == [hold]
        assert table.get(hold.id) == hold
        assert table.of("a") == [hold]
        assert table.of("b") == []


def test_the_registry_is_made_with_directories_that_nobody_else_can_enter(paths: NodePaths) -> None:
    add(paths, a_hold())
    for name in (paths.node_dir, paths.keepers, paths.spool, paths.jobs, paths.logs):
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(paths.registry).st_mode) == 0o600


def test_only_a_command_makes_the_node_dir(paths: NodePaths) -> None:
    with pytest.raises(NodeDirRemoved, match="does not exist"), registry.Transaction(paths):
        pass
    assert not os.path.exists(paths.node_dir)


def test_nothing_is_written_where_nothing_was_changed(paths: NodePaths) -> None:
    add(paths, a_hold())
    before = os.stat(paths.registry)
    with registry.Transaction(paths) as table:
        table.drop("no such hold")
    assert os.stat(paths.registry).st_ino == before.st_ino


def test_an_error_inside_changes_nothing(paths: NodePaths) -> None:
    add(paths, a_hold())
    before = Path(paths.registry).read_bytes()

    def change_and_fail() -> None:
        with registry.Transaction(paths) as table:
            table.add(a_hold("b"))
            raise KeyError

    with pytest.raises(KeyError):
        change_and_fail()
    assert Path(paths.registry).read_bytes() == before
    add(paths, a_hold("c"))  # and the lock is free


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"format":1,"boot":"x","generation":"g","holds":{"1":',
        b"[]",
        b'{"format":1}',
        b'{"format":1,"boot":"x","generation":"g","holds":[]}',
        b'{"format":1,"generation":"g","holds":{}}',
        b'{"format":1,"boot":"x","generation":"g","holds":{"1":{"job":"a"}}}',
        b'{"format":1,"boot":"x","generation":"g","holds":{"1":{"job":"a","owner":null,"script":["1",2,3]}}}',
        b'{"format":1,"boot":"x","generation":"g","holds":{"1":{"job":7,"owner":null,"script":[1,2,3]}}}',
    ],
)
def test_a_broken_registry_is_set_aside_and_the_next_one_starts_anew(paths: NodePaths, text: bytes) -> None:
    add(paths, a_hold())
    Path(paths.registry).write_bytes(text)
    with pytest.raises(RecordBroken, match="set aside"), registry.Transaction(paths):
        pass
    [aside] = [name for name in os.listdir(paths.node_dir) if ".broken-" in name]
    assert Path(paths.node_dir, aside).read_bytes() == text
    with registry.Transaction(paths) as table:
        assert list(table) == []


def test_a_new_registry_has_another_generation(paths: NodePaths) -> None:
    add(paths, a_hold())
    with registry.Transaction(paths) as table:
        first = table.generation
    os.unlink(paths.registry)
    with registry.Transaction(paths) as table:
        assert table.generation != first


def test_a_registry_of_a_newer_version_is_left_alone(paths: NodePaths) -> None:
    add(paths, a_hold())
    text = json.dumps({"format": registry.FORMAT + 1, "new": "thing"})
    Path(paths.registry).write_text(text)
    with pytest.raises(RecordNewer), registry.Transaction(paths):
        pass
    assert Path(paths.registry).read_text() == text


def test_nothing_of_another_boot_lives(paths: NodePaths) -> None:
    add(paths, a_hold())
    record = json.loads(Path(paths.registry).read_text())
    record["boot"] = "another"
    Path(paths.registry).write_text(json.dumps(record))
    with registry.Transaction(paths) as table:
        assert list(table) == []


def test_a_field_of_a_hold_that_a_later_release_adds_is_kept(paths: NodePaths) -> None:
    add(paths, a_hold())
    record = json.loads(Path(paths.registry).read_text())
    [hold] = record["holds"].values()
    hold["later"] = "kept"
    Path(paths.registry).write_text(json.dumps(record))
    add(paths, a_hold("b"))
    assert "kept" in Path(paths.registry).read_text()


def test_a_hold_lives_as_long_as_its_owner(paths: NodePaths) -> None:
    paths.make()
    lives = registry.lives_at(paths)
    assert lives(a_hold(owner=procs.this()))
    assert not lives(a_hold(owner=dead_process()))


def test_a_hold_without_an_owner_lives_as_long_as_the_script() -> None:
    hold = registry.new_hold("a", None, dead_process(), False)
    assert not registry.lives(hold, lambda _: True)
    assert registry.lives(hold._replace(script=procs.this()), lambda _: False)


def test_an_owner_may_outlive_the_script() -> None:
    hold = registry.new_hold("a", procs.this(), dead_process(), False)
    assert registry.lives(hold, lambda _: False)


@pytest.mark.parametrize("keeper", [True, False])
def test_a_hold_of_another_pid_namespace_lives_as_long_as_its_keeper(keeper: bool) -> None:
    elsewhere = procs.this()._replace(namespace=1)
    assert registry.lives(registry.new_hold("a", elsewhere, elsewhere, False), lambda _: keeper) is keeper


def test_pruning_drops_the_dead_of_one_job_or_of_all(paths: NodePaths) -> None:
    dead = dead_process()
    add(paths, a_hold("a"))
    for job in ("a", "b"):
        add(paths, a_hold(job, owner=dead))
    with registry.Transaction(paths) as table:
        assert [hold.job for hold in table.prune(registry.lives_at(paths), "a")] == ["a"]
        assert [hold.job for hold in table.prune(registry.lives_at(paths))] == ["b"]
        assert [hold.job for hold in table] == ["a"]


def test_a_node_dir_open_to_others_is_refused(paths: NodePaths) -> None:
    add(paths, a_hold())
    os.chmod(paths.node_dir, 0o755)
    with pytest.raises(NodeDirUnsafe), registry.Transaction(paths):
        pass


def test_a_keeper_says_who_it_is_in_the_file_that_it_has_locked(paths: NodePaths) -> None:
    from nodexfer.node import locks
    from nodexfer.scheduler import Job

    paths.make()
    path = paths.keeper("a")
    descriptor = locks.open_file(path)
    assert registry.read_keeper(path) is None
    card = registry.Keeper("boot", procs.this(), procs.this(), Job("local", "h", "1", 0), 1.5)
    registry.write_keeper(descriptor, card)
    assert registry.read_keeper(path) == card
    assert locks.try_lock(descriptor)
    assert registry.keeper_lives(paths, "a")
    os.close(descriptor)
    assert not registry.keeper_lives(paths, "a")
