"""Deaths of a desk and of a command in the middle of a request: nothing lost, nothing twice, nothing left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nodexfer.clock import Deadline
from nodexfer.node import work as waiting
from nodexfer.staging import fence, work
from nodexfer.staging.receipt import read as read_receipt
from tests.crash.lab import Census, End, Lab, at
from tests.crash.scene import FLOWS, NEW, Command, Scene, contents, each_death, new_place, see_receipts
from tests.support.place import ENDPOINT
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.mark.points(25)
@pytest.mark.parametrize("lease", [1, 2], ids=["same-lease", "next-lease"])
@pytest.mark.parametrize("name", [name for name in FLOWS if name not in ("in, overwrite", "in, merge")])
def test_the_next_desk_goes_on_where_a_desk_has_died(
    lab: Lab, census: Census, tmp_path: Path, name: str, lease: int
) -> None:
    def die_at(number: int) -> End:
        scene = Scene(new_place(tmp_path / str(number)), FLOWS[name])
        over = scene.place.top / "over"
        command = Command(scene, over)
        eventually(lambda: waiting.requests(scene.place.config.node_paths))
        end = scene.serve_in_a_child(lab, over, die_at=number)
        with at(number, end):
            if end.died and lease > 1:
                scene.lease = lease
                fence.fence(scene.place.globus, ENDPOINT, lease, Deadline(5.0))
            if end.died:
                scene.serve_in_a_child(lab, over, lease=lease)
            receipt = command.result()
            scene.see_it_done(receipt)
            assert scene.transfers <= lease
            assert scene.place.globus.calls.count("submit") <= 3
            scene.see_nothing_left(lab)
        shutil.rmtree(scene.place.top)
        return end

    each_death(census, f"desk: {name}", die_at)


@pytest.mark.points(20)
@pytest.mark.parametrize("name", FLOWS)
def test_a_command_that_dies_can_be_given_again(
    lab: Lab, census: Census, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_SCAN_SECONDS", 0.02)
    flow = FLOWS[name]

    def die_at(number: int) -> End:
        scene = Scene(new_place(tmp_path / str(number)), flow)
        paths = scene.place.config.node_paths
        with scene.place.desk():
            end = scene.stage_in_a_child(lab, flow.flags, number)
            with at(number, end):
                if end.died:
                    eventually(lambda: not waiting.requests(paths))
                    scene.see_no_halves()
                    assert contents(scene.source) == NEW
                    end_again = scene.stage_in_a_child(lab, {**flow.flags, "overwrite": True})
                else:
                    end_again = end
                receipt = read_receipt(end_again.said["path"])
                assert receipt is not None
                scene.see_it_done(receipt)
        with at(number, end):
            scene.see_nothing_left(lab)
            see_receipts(scene, end)
        shutil.rmtree(scene.place.top)
        return end

    each_death(census, f"command: {name}", die_at)
