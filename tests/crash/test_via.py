"""Deaths of a command, of its child, and of both, on the route via the site's own collection."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from nodexfer.config import load
from nodexfer.staging.receipt import read as read_receipt
from tests.crash.lab import Census, End, Lab, at
from tests.crash.link import linked
from tests.crash.scene import FLOWS, NEW, Scene, contents, each_death, new_place, see_receipts
from tests.support.place import Place

pytestmark = pytest.mark.slow

#: The site's own collection: it shows the home as /users/me.
HOME = "55555555-5555-4555-8555-555555555555"


def place_with_a_way(top: Path) -> Place:
    place = new_place(top)
    with (top / "home/config.toml").open("a") as file:
        file.write(f'[collections.home]\nid = "{HOME}"\nroot_path = "/users/me"\nlocal_path = "{top}/home"\n')
    (top / "users").mkdir()
    (top / "users/me").symlink_to(top / "home")
    place.globus.collections[HOME] = str(top)
    place.config = load({"HOME": str(top / "home"), **place.environ})
    return place


class ViaScene(Scene):
    @property
    def area(self) -> Path:
        return self.place.top / "home/via"

    def stage_by_via(self, lab: Lab, flags: Mapping[str, bool], whose: str = "", die_at: int = 0) -> End:
        """When it is over, so is its child: both have the zygote's pipe."""
        socket = str(self.place.top / "s")
        with linked(self.place.globus, socket):
            end = lab.run(
                "by_via",
                die_at=die_at if whose == "command" else 0,
                tops=self.tops,
                environ=self.place.environ,
                socket=socket,
                direction=self.flow.direction,
                base=str(self.place.node),
                pairs=self.pairs,
                flags=dict(flags),
                whose=whose,
                child_dies_at=0 if whose == "command" else die_at,
            )
        return end._replace(died=end.died or bool(end.said["died"]), last=end.last or end.said["died"])

    def an_hour_later(self) -> None:
        """What was never written whole is nobody's by then."""
        for directory in self.area.glob("*"):
            if not (directory / "errand.json").exists():
                os.utime(directory, (1, 1))


@pytest.mark.points(11)
@pytest.mark.parametrize("whose", ["command", "child", "both"])
@pytest.mark.parametrize("name", FLOWS)
def test_the_next_one_by_the_route_via_takes_up_what_a_death_has_left(
    lab: Lab, census: Census, tmp_path: Path, name: str, whose: str
) -> None:
    flow = FLOWS[name]

    def die_at(number: int) -> End:
        scene = ViaScene(place_with_a_way(tmp_path / str(number)), flow)
        end = scene.stage_by_via(lab, flow.flags, whose, number)
        with at(number, end):
            if end.died:
                scene.see_no_halves()
                assert contents(scene.source) == NEW
                assert end.said is None or "error" in end.said, "a success whose child has died"
                if whose == "command":
                    assert [job for job in scene.place.globus.jobs.values() if not job.document.over] == []
                scene.an_hour_later()
                last = scene.stage_by_via(lab, {**flow.flags, "overwrite": True})
            else:
                last = end
            assert "receipt" in last.said, last.said
            receipt = read_receipt(last.said["receipt"]["path"])
            assert receipt is not None
            scene.see_it_done(receipt)
            assert scene.transfers <= 2
            assert not scene.area.exists()
            scene.see_nothing_left(lab)
            see_receipts(scene, end)
        shutil.rmtree(scene.place.top)
        return end

    each_death(census, f"via, {whose}: {name}", die_at)
