"""Deaths while a job holds, releases, is kept, and leads: the next run finds the place as if nothing had been."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nodexfer import records
from nodexfer.config import Config, load
from nodexfer.errors import RecordBroken
from nodexfer.node import registry
from nodexfer.pool import lease as leases
from tests.crash.lab import Census, Lab, at
from tests.support.holding import is_cleared
from tests.support.waiting import eventually
from tests.unit.pool.support import add_entry

pytestmark = pytest.mark.slow


class Spot:
    """A node_dir and a home of its own for each death."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.node, self.home = top / "node", top / "home"
        self.node.mkdir(parents=True)
        self.home.mkdir()
        self.tops = (self.node, self.home)

    @property
    def environ(self) -> Mapping[str, str]:
        return {"HOME": str(self.home), "NODEXFER_HOME": str(self.home), "NODEXFER_NODE_DIR": f"{self.node}/nodexfer"}

    @property
    def config(self) -> Config:
        return load(self.environ)

    def remove(self) -> None:
        shutil.rmtree(self.top)


def bystander(lab: Lab, spot: Spot) -> str:
    """Another job that holds, whatever happens; the id of its hold."""
    return str(lab.run("add_hold", environ=spot.environ, number="by", pid=lab.pid).said)


def see_the_bystander(lab: Lab, spot: Spot, hold: str) -> None:
    """It has its hold and its files; then it goes, and the last one takes everything away."""
    paths = spot.config.node_paths
    with registry.Transaction(paths) as table:
        lives = registry.lives_at(paths)
        assert [found.id for found in table if lives(found)] == [hold]
    assert Path(paths.scratch("local-host-by.0"), "file").read_text() == "local-host-by.0"
    lab.run("drop_hold", environ=spot.environ, hold_id=hold)
    lab.run("keep", environ=spot.environ, number="last")
    assert is_cleared(spot.config)


def no_keeper_of(spot: Spot, number: str) -> None:
    """One that was just starting sees that its job is dead."""
    path = spot.config.node_paths.keeper(f"local-host-{number}.0")
    eventually(lambda: not os.path.lexists(path))


@pytest.mark.points(3)
@pytest.mark.parametrize("owned", [False, True], ids=["its-script-too", "its-program"])
def test_a_death_while_acquiring_leaves_nothing_that_counts(
    lab: Lab, census: Census, tmp_path: Path, owned: bool
) -> None:
    deaths = 0
    for number in census.numbers():
        spot = Spot(tmp_path / str(number))
        hold = bystander(lab, spot)
        end = lab.run("acquire", die_at=number, tops=spot.tops, environ=spot.environ, number="1", owned=owned)
        with at(number, end):
            lab.run("come_and_go", environ=spot.environ, number="2")
            no_keeper_of(spot, "1")
            see_the_bystander(lab, spot, hold)
        spot.remove()
        if not end.died:
            break
        deaths += 1
    census.add("acquire", deaths)


@pytest.mark.points(3)
def test_a_release_that_dies_is_done_again_or_was_done(lab: Lab, census: Census, tmp_path: Path) -> None:
    deaths = 0
    for number in census.numbers():
        spot = Spot(tmp_path / str(number))
        hold = bystander(lab, spot)
        mine = lab.run("acquire_for_the_zygote", environ=spot.environ, number="1").said
        end = lab.run("release", die_at=number, tops=spot.tops, environ=spot.environ, hold_id=mine)
        with at(number, end):
            lab.run("release", environ=spot.environ, hold_id=mine)
            # A keeper that was not rung looks by itself within 5 s; the next command of the job does not wait for it.
            lab.run("come_and_go", environ=spot.environ, number="1")
            see_the_bystander(lab, spot, hold)
        spot.remove()
        if not end.died:
            break
        deaths += 1
    census.add("release", deaths)


def leave_a_dead_job(spot: Spot) -> Path:
    """What a SIGKILL left of a job: files, half requests, and links beside somebody's data."""
    paths = spot.config.node_paths.make()
    key = "local-host-dead.0"
    scratch = Path(paths.scratch(key))
    (scratch / "deep/er").mkdir(parents=True)
    (scratch / "deep/er/file").write_text("x")
    litter = spot.node / ".nodexfer-r0123456789abcdef-0"
    litter.write_text("half")
    for name, files in (("r0123456789abcdef", ("request.json",)), (".new-r0123456789abcdee", ())):
        directory = Path(paths.job_spool(key), name)
        directory.mkdir(parents=True)
        (Path(paths.node_dir) / "outgoing" / name.removeprefix(".new-")).mkdir(parents=True)
        for file in files:
            (directory / file).write_text(json.dumps({"format": 1, "litter": [str(litter)]}))
    (Path(paths.node_dir) / ".gone-0-x").mkdir()
    Path(paths.keeper(key)).touch()
    return litter


@pytest.mark.points(6)
def test_a_keeper_that_dies_leaves_its_work_to_the_next(lab: Lab, census: Census, tmp_path: Path) -> None:
    deaths = 0
    for number in census.numbers():
        spot = Spot(tmp_path / str(number))
        hold = bystander(lab, spot)
        litter = leave_a_dead_job(spot)
        end = lab.run("keep", die_at=number, tops=spot.tops, environ=spot.environ, number="1")
        with at(number, end):
            lab.run("keep", environ=spot.environ, number="2")
            assert not litter.exists()
            see_the_bystander(lab, spot, hold)
        spot.remove()
        if not end.died:
            break
        deaths += 1
    census.add("keeper", deaths)


@pytest.mark.points(6)
def test_the_last_keeper_that_dies_leaves_its_work_to_the_next(lab: Lab, census: Census, tmp_path: Path) -> None:
    deaths = 0
    for number in census.numbers():
        spot = Spot(tmp_path / str(number))
        leave_a_dead_job(spot)
        end = lab.run("keep", die_at=number, tops=spot.tops, environ=spot.environ, number="1")
        with at(number, end):
            lab.run("keep", environ=spot.environ, number="2")
            assert is_cleared(spot.config)
            assert [name for name in os.listdir(spot.node) if name != "nodexfer"] == []
        spot.remove()
        if not end.died:
            break
        deaths += 1
    census.add("last keeper", deaths)


def leave_a_dead_leader(lab: Lab, spot: Spot) -> Path:
    """Its entry of the pool; GCP had changed the credentials."""
    entry = add_entry(spot.home, "p")
    entry.joinpath("config/lta/key").write_text("old")
    Path(spot.home, "pool/default").chmod(0o700)
    entry.joinpath("config").chmod(0o700)
    lab.run("lead_and_be_gone", environ=spot.environ, credentials="new")
    return entry


@pytest.mark.points(6)
def test_a_clean_that_dies_is_done_again(lab: Lab, census: Census, tmp_path: Path) -> None:
    deaths = 0
    for number in census.numbers():
        spot = Spot(tmp_path / str(number))
        entry = leave_a_dead_leader(lab, spot)
        litter = leave_a_dead_job(spot)
        end = lab.run("clean", die_at=number, tops=spot.tops, environ=spot.environ)
        with at(number, end):
            age_litter(entry)
            assert lab.run("clean", environ=spot.environ).said == []
            assert not litter.exists()
            assert is_cleared(spot.config)
            assert [name for name in os.listdir(spot.node) if name != "nodexfer"] == []
            see_a_whole_pool(spot, 1)
            # The next one finds a pool that nothing is wrong with.
            assert lab.run("lead", environ=spot.environ, credentials="new").said == ["p", 2]
        spot.remove()
        if not end.died:
            break
        deaths += 1
    census.add("clean", deaths)


@pytest.mark.points(6)
def test_a_clean_that_dies_beside_a_job_that_lives_has_taken_nothing_of_it(
    lab: Lab, census: Census, tmp_path: Path
) -> None:
    deaths = 0
    for number in census.numbers():
        spot = Spot(tmp_path / str(number))
        hold = bystander(lab, spot)
        litter = leave_a_dead_job(spot)
        end = lab.run("clean", die_at=number, tops=spot.tops, environ=spot.environ)
        with at(number, end):
            assert lab.run("clean", environ=spot.environ).said == []
            assert not litter.exists()
            assert not Path(spot.config.node_paths.scratch("local-host-dead.0")).exists()
            see_the_bystander(lab, spot, hold)
        spot.remove()
        if not end.died:
            break
        deaths += 1
    census.add("clean, beside a live job", deaths)


# -- leases --------------------------------------------------------------------------------------------------------


def see_a_whole_pool(spot: Spot, highest: int) -> None:
    """Given back, swept, and with credentials that are the old ones or the new ones."""
    directory = f"{spot.home}/pool/default/p"
    top = leases.top(directory)
    assert top is not None
    assert top.released
    assert top.number >= highest
    assert len(leases.numbers(directory)) <= 2
    assert Path(directory, "config/lta/key").read_text() == "new"
    assert sorted(os.listdir(f"{directory}/config/lta")) == ["client-id.txt", "key"]


def age_litter(directory: Path) -> None:
    """As an hour later."""
    for path in directory.glob(".take-*"):
        os.utime(path, (1, 1))


@pytest.mark.points(6)
@pytest.mark.parametrize("heir", ["the place", "another place"])
def test_a_leader_that_dies_leaves_a_lease_that_is_continued_or_taken(
    lab: Lab, census: Census, tmp_path: Path, heir: str
) -> None:
    deaths = 0
    for number in census.numbers():
        spot = Spot(tmp_path / str(number))
        entry = add_entry(spot.home, "p")
        entry.joinpath("config/lta/key").write_text("old")
        Path(spot.home, "pool/default").chmod(0o700)
        entry.joinpath("config").chmod(0o700)
        end = lab.run("lead", die_at=number, tops=spot.tops, environ=spot.environ, credentials="new")
        with at(number, end):
            died_with = leases.numbers(str(entry))
            age_litter(entry)
            other = {**spot.environ, "NODEXFER_NODE_DIR": f"{spot.node}/other"} if heir != "the place" else spot.environ
            _, taken = lab.run("lead", environ=other, credentials="new").said
            assert taken in (max(died_with, default=1), max(died_with, default=0) + 1)
            # The dead place's own next leader finds that it has nothing, and takes what is left there with it.
            _, after = lab.run("lead", environ=spot.environ, credentials="new").said
            assert after > taken
            age_litter(entry)
            lab.run("lead", environ=spot.environ, credentials="new")
            see_a_whole_pool(spot, after)
            assert not list(entry.glob(".take-*"))
            lab.run("keep", environ=spot.environ, number="2")
            assert is_cleared(spot.config)
        spot.remove()
        if not end.died:
            break
        deaths += 1
    census.add("lease", deaths)


@pytest.mark.points(12)
@pytest.mark.parametrize("heir", ["the place", "another place"])
def test_a_leader_that_dies_while_it_passes_an_endpoint_over_leaves_both_to_the_next(
    lab: Lab, census: Census, tmp_path: Path, heir: str
) -> None:
    """Never more than one is held, and a lease says why it was given back if, and only if, it was."""
    deaths = 0
    for number in census.numbers():
        spot = Spot(tmp_path / str(number))
        pool = [add_entry(spot.home, name, count) for count, name in enumerate("pq", 1)]
        Path(spot.home, "pool/default").chmod(0o700)
        for entry in pool:
            entry.joinpath("config").chmod(0o700)
        end = lab.run("pass_over", die_at=number, tops=spot.tops, environ=spot.environ)
        with at(number, end):
            tops = [top for entry in pool if (top := leases.top(str(entry))) is not None]
            assert sum(not top.released for top in tops) <= 1
            assert all(top.released for top in tops if top.trouble)
            assert end.died or sorted(end.said) == ["p", "q"]
            for entry in pool:
                age_litter(entry)
            other = {**spot.environ, "NODEXFER_NODE_DIR": f"{spot.node}/other"} if heir != "the place" else spot.environ
            for environ in (other, spot.environ):
                lab.run("lead", environ=environ, credentials="new")
            lab.run("keep", environ=spot.environ, number="2")
            assert is_cleared(spot.config)
            assert all(top is None or top.released for top in (leases.top(str(entry)) for entry in pool))
        spot.remove()
        if not end.died:
            break
        deaths += 1
    census.add("passing over", deaths)


# -- torn records --------------------------------------------------------------------------------------------------

RECORD: dict[str, Any] = {"format": 1, "text": 'ü"\\\n', "list": [1, {"a": None}], "number": 1.5}


@pytest.mark.points(1)
@pytest.mark.parametrize("how", ["own", "shared", "locked"])
def test_a_record_is_the_old_one_or_the_new_one(lab: Lab, census: Census, tmp_path: Path, how: str) -> None:
    deaths = 0
    for number in census.numbers():
        directory = tmp_path / str(number)
        directory.mkdir()
        path, old = str(directory / "record.json"), {"format": 1, "old": True}
        write = records.write_locked if how == "locked" else records.write
        read = records.read_locked if how == "locked" else records.read
        write(path, old)
        end = lab.run("write_record", die_at=number, tops=(directory,), path=path, record=RECORD, how=how)
        with at(number, end):
            assert read(path, 1) in (old, RECORD)
            write(path, RECORD)
            assert read(path, 1) == RECORD
        if not end.died:
            break
        deaths += 1
    census.add("record", deaths)


def test_a_record_cut_anywhere_is_set_aside_and_never_believed(census: Census, tmp_path: Path) -> None:
    """A disk that lost the end of a file, at every byte of it."""
    whole = tmp_path / "whole"
    records.write(str(whole), RECORD)
    data = whole.read_bytes()
    for length in range(len(data)):
        path = tmp_path / f"cut-{length}"
        path.write_bytes(data[:length])
        with pytest.raises(RecordBroken):
            records.read(str(path), 1)
        assert records.read(str(path), 1) is None
        [aside] = tmp_path.glob(f"cut-{length}.broken-*")
        assert aside.read_bytes() == data[:length]
    census.add("torn record", len(data))
