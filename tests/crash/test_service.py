"""Deaths of a desk between any two requests to the service: the sandbox, by HTTP, and a GCP that moves the bytes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nodexfer.config import load
from nodexfer.node import work as waiting
from nodexfer.scheduler import Job
from nodexfer.staging.client import Client
from tests.crash.lab import Census, End, Lab, at
from tests.crash.scene import FLOWS, Command, Scene, each_death
from tests.support.place import Place
from tests.support.sandbox import Box, Gcp
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


class RealPlace(Place):
    """Its node lies where GCP may move, its site is a directory of the sandbox's site."""

    def __init__(self, top: Path, box: Box, gcp: Gcp) -> None:
        self.top = top
        self.box = box
        self.gcp = gcp
        self.node, self.site = gcp.root / top.name, box.site / top.name
        for directory in (top, top / "home", top / "other", self.node, self.site):
            directory.mkdir()
        (top / "home/config.toml").write_text(f'[collections.site]\nid = "{box.site_id}"\nroot_path = "/{top.name}"\n')
        self.config = load({"HOME": str(top / "home"), **self.environ})
        self.config.node_paths.make()
        self.job = Job("local", "host", "1", 0)
        self.said = []

    @property
    def environ(self) -> Mapping[str, str]:
        return {**super().environ, **self.box.sandbox.environment, "NODEXFER_SERVICE_TIMEOUT": "10"}

    def client(self, seconds: float = 40.0, **fields: Any) -> Client:
        return Client(self.config, self.job, time.time() + seconds, self.environ, **fields)

    def remove(self) -> None:
        for directory in (self.top, self.node, self.site):
            shutil.rmtree(directory)


class RealScene(Scene):
    place: RealPlace

    def serve_in_a_child(self, lab: Lab, over: Path, *, lease: int = 1, die_at: int = 0) -> End:
        return lab.run(
            "serve",
            die_at=die_at,
            tops=self.tops,
            environ=self.place.environ,
            socket="",
            endpoint=self.place.gcp.endpoint,
            lease=lease,
            exchanges=self.place.exchanges(lease),
            over=str(over),
        )


def transfers(transfer: Any) -> int:
    """How many the service has ever had."""
    return sum(1 for _ in transfer.paginated.task_list(limit=1000, query_params={"filter": "type:TRANSFER"}).items())


@pytest.mark.points(60)
@pytest.mark.parametrize("name", ["in", "out, overwrite"])
def test_the_next_desk_goes_on_where_one_died_at_the_service(
    lab: Lab, census: Census, tmp_path: Path, name: str, box: Box, make_gcp: Callable[[], Gcp], transfer: Any
) -> None:
    gcp = make_gcp()

    def die_at(number: int) -> End:
        place = RealPlace(tmp_path / f"at-{number}", box, gcp)
        scene = RealScene(place, FLOWS[name])
        over = place.top / "over"
        before = transfers(transfer)
        command = Command(scene, over)
        eventually(lambda: waiting.requests(place.config.node_paths))
        end = scene.serve_in_a_child(lab, over, die_at=number)
        with at(number, end):
            if end.died:
                scene.serve_in_a_child(lab, over)
            scene.see_it_done(command.result())
            assert transfers(transfer) == before + 1
            scene.see_nothing_left(lab)
        place.remove()
        return end

    each_death(census, f"service: {name}", die_at)
