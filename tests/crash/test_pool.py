"""Deaths while endpoints are made and taken away: what is left can be removed, and nothing stays at the service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from nodexfer.config import load
from nodexfer.pool.entries import read_entry
from tests.crash.lab import Census, End, Lab, at
from tests.crash.scene import each_death
from tests.support.sandbox import Box

pytestmark = pytest.mark.slow


class Home:
    """A home for each death, with one service for all."""

    def __init__(self, top: Path, box: Box) -> None:
        top.mkdir()
        self.top = top
        self.box = box

    @property
    def environ(self) -> Mapping[str, str]:
        return {**self.box.sandbox.environment, "NODEXFER_HOME": str(self.top), "USER": "tester"}

    @property
    def pool(self) -> Path:
        return Path(load(self.environ).home_paths.pool("default"))

    def entries(self) -> list[str]:
        return sorted(name for name in os.listdir(self.pool) if not name.startswith(".")) if self.pool.exists() else []

    def endpoints(self) -> int:
        """Those that a user has made, at the service."""
        found = self.box.sandbox.status()["endpoints"]
        return sum(one["name"].startswith("p-") for one in found)

    def see_nothing(self) -> None:
        assert self.entries() == []
        assert self.endpoints() == 0


@pytest.mark.points(20)
def test_an_endpoint_half_made_can_be_removed_and_made_again(
    lab: Lab, census: Census, tmp_path: Path, box: Box
) -> None:
    def die_at(number: int) -> End:
        home = Home(tmp_path / str(number), box)
        end = lab.run("create", die_at=number, tops=(home.top,), environ=home.environ)
        with at(number, end):
            for name in home.entries():
                assert (read_entry(str(home.pool / name)).broken is None) <= (home.endpoints() == 1)
                lab.run("remove", environ=home.environ, name=name)
            home.see_nothing()
            assert lab.run("create", environ=home.environ).said == ["p-1"]
            assert read_entry(str(home.pool / "p-1")).broken is None
            assert home.endpoints() == 1
            lab.run("remove", environ=home.environ, name="p-1")
            home.see_nothing()
            assert os.listdir(home.pool) == []
        return end

    each_death(census, "pool create", die_at)


@pytest.mark.points(12)
def test_an_endpoint_half_removed_can_be_removed(lab: Lab, census: Census, tmp_path: Path, box: Box) -> None:
    def die_at(number: int) -> End:
        home = Home(tmp_path / str(number), box)
        lab.run("create", environ=home.environ)
        end = lab.run("remove", die_at=number, tops=(home.top,), environ=home.environ, name="p-1")
        with at(number, end):
            lab.run("remove", environ=home.environ, name="p-1")
            home.see_nothing()
            # What was hidden before it was removed goes with the next one.
            lab.run("create", environ=home.environ)
            lab.run("remove", environ=home.environ, name="p-1")
            home.see_nothing()
            assert os.listdir(home.pool) == []
        return end

    each_death(census, "pool remove", die_at)
