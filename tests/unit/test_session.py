"""The Python side: light to import, named right, and paths that mean the same as on the command line."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import nodexfer
from nodexfer import procs, scheduler, session
from nodexfer.config import Config, load
from nodexfer.errors import DeadlinePassed, NodexferError, PoolMissing, UrlMalformed
from nodexfer.node import hold as holds
from nodexfer.scheduler import Job
from nodexfer.staging import client, intents

UUID = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "config.toml").write_text(f'[collections.site]\nid = "{UUID}"\n')
    return load(home=str(tmp_path))


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    line = "import sys, nodexfer; print([name for name in sys.modules if name.startswith('nodexfer.')])"
    assert procs.run([sys.executable, "-c", line], timeout=60).out == "[]\n"


def test_every_name_it_exports_is_there_and_no_other_promised() -> None:
    line = "from nodexfer import *; print(sorted(name for name in dir() if not name.startswith('__')))"
    done = procs.run([sys.executable, "-c", line], timeout=60)
    assert done.out == f"{sorted(set(nodexfer.__all__) - {'__version__'})}\n", done.err
    assert dir(nodexfer) == sorted(nodexfer.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        nodexfer.nonsense  # noqa: B018 (what it raises is the test)


def test_neither_the_facade_nor_a_staging_command_imports_the_sdk() -> None:
    modules = "nodexfer.session, nodexfer.cli.stage, nodexfer.cli.run, nodexfer.staging.bring, nodexfer.staging.send"
    line = f"import sys, {modules}"
    done = procs.run([sys.executable, "-c", f"{line}; print({{'globus_sdk', 'parsl'}} & set(sys.modules))"], timeout=60)
    assert done.out == "set()\n", done.err


def test_one_or_many_sources_go_where_cp_would_put_them(config: Config, tmp_path: Path) -> None:
    def planned(sources: intents.Sources, dest: intents.PathLike | None) -> list[str]:
        found = intents.fetches(sources, dest, config, base=str(tmp_path))
        return [fetch.destination.removeprefix(f"{tmp_path}/") for fetch in found]

    assert planned("site:/a", None) == ["a"]
    assert planned(["site:/a", "site:/b"], "to") == ["to/a", "to/b"]
    assert planned("site:/a", Path("to")) == ["to"]
    assert planned({"site:/a": "x/y", "site:/b": "z/"}, None) == ["x/y", "z/b"]


def test_a_mapping_leaves_no_room_for_a_destination(config: Config) -> None:
    with pytest.raises(UrlMalformed):
        intents.fetches({"site:/a": "a"}, "b", config, base="/")
    with pytest.raises(UrlMalformed):
        intents.sends({"a": "site:/a"}, "site:/b", config, base="/")
    with pytest.raises(UrlMalformed):
        intents.sends("a", None, config, base="/")


def test_one_line_calls_take_a_mapping_and_refuse_a_collection_as_this_node(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, object]] = []

    class Told:
        def stage_in(self, sources: object, dest: object, **_: object) -> None:
            asked.append((sources, dest))

    @contextmanager
    def hold(**_: object) -> Iterator[Told]:
        yield Told()

    monkeypatch.setattr(session, "hold", hold)
    here = os.getcwd()
    session.stage_in({"site:/a": "x"})
    session.stage_in("site:/a", Path("y"))
    session.stage_in("site:/a", "y/")
    session.stage_in("site:/a", ".")
    session.stage_in("site:/a", "site:/b")
    assert asked == [
        ({"site:/a": f"{here}/x"}, None),
        ("site:/a", f"{here}/y"),
        ("site:/a", f"{here}/y/"),
        ("site:/a", f"{here}/."),
        ("site:/a", "site:/b"),
    ]
    with pytest.raises(UrlMalformed, match="a path on this node is wanted"):
        intents.fetches("site:/a", "site:/b", config, base="/")
    with pytest.raises(UrlMalformed, match="destination is wanted"):
        session.stage_in("site:/a")


def test_one_line_calls_mean_the_working_directory() -> None:
    here = os.getcwd()
    assert intents.absolute({"site:/a": "x"}, values=True) == {"site:/a": f"{here}/x"}
    assert intents.absolute({"x": "site:/a"}, values=False) == {f"{here}/x": "site:/a"}
    assert intents.absolute(["x", "/y"], values=False) == [f"{here}/x", "/y"]
    assert intents.absolute("site:/a", values=True) == "site:/a"


def test_a_deadline_comes_from_the_jobs_end_and_is_asked_for_once(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(home=str(tmp_path), node_dir=str(tmp_path / "node"))
    config.node_paths.make()
    asked: list[float] = []

    def end(*_: object, **__: object) -> scheduler.End:
        asked.append(1e10)
        return scheduler.End(1e10, "a test")

    monkeypatch.setattr(scheduler, "end", end)
    job = Job("pbs", "server", "1", 0)
    assert [client.deadline_of(config, job, {}) for _ in range(3)] == [1e10 - client.RESERVE_SECONDS] * 3
    assert len(asked) == 1
    monkeypatch.setattr(scheduler, "end", lambda *_, **__: scheduler.End(1.0, "a test"))
    with pytest.raises(DeadlinePassed):
        client.deadline_of(config, Job("pbs", "server", "2", 0), {})


def test_a_hold_gives_a_scratch_and_takes_it_away() -> None:
    with session.hold(environ={**os.environ, "NODEXFER_JOB_ID": "7"}) as node:
        (node.scratch / "x").write_text("x")
        with session.hold(environ={**os.environ, "NODEXFER_JOB_ID": "7"}) as again:
            assert again.scratch == node.scratch
        assert (node.scratch / "x").exists()
    assert not node.scratch.exists()


@pytest.mark.parametrize(
    ("left", "least", "most"), [(None, 30.0, 30.0), (600.0, 30.0, 30.0), (25.0, 5.0, 20.0), (3.0, 0.0, 0.0)]
)
def test_a_release_waits_no_longer_than_the_job_lives(
    monkeypatch: pytest.MonkeyPatch, left: float | None, least: float, most: float
) -> None:
    waits: list[float] = []
    release = holds.release

    def seen(config: Config, name: str, *, wait: float = 30.0) -> bool:
        waits.append(wait)
        return release(config, name)

    monkeypatch.setattr(holds, "release", seen)
    with nodexfer.hold() as node:
        node.ends_at = None if left is None else time.time() + left
    assert least <= waits[0] <= most


def test_in_a_block_whose_set_up_failed_every_hold_raises_what_it_failed_by() -> None:
    broken = PoolMissing("There is no pool.", "nodexfer pool create")
    with (
        pytest.raises(PoolMissing, match="There is no pool") as caught,
        session.hold(environ={**os.environ, session.BROKEN: json.dumps(broken.as_record())}),
    ):
        pass
    assert caught.value.next == broken.next
    for said in ("no JSON", "3"):
        with pytest.raises(NodexferError, match=f"NODEXFER_BROKEN is set: {said}"):
            session.refuse_broken({session.BROKEN: said})
    session.refuse_broken({session.BROKEN: ""})
