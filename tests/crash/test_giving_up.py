"""Deaths of who gives up while Globus is at work: the leader that answers, the command that calls its request off."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from nodexfer import procs
from nodexfer.errors import EndpointFailed
from nodexfer.identity import ProcessId
from nodexfer.node import work as waiting
from nodexfer.staging import client, spool, work
from nodexfer.staging.request import InItem, Request
from tests.crash.lab import Census, End, Lab, at
from tests.crash.scene import FLOWS, NEW, Scene, contents, each_death, new_place
from tests.support.place import SITE
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_SCAN_SECONDS", 0.02)


def under_way(scene: Scene) -> str:
    """The request that Globus has a task of. :raises AssertionError: not yet."""
    directories = waiting.requests(scene.place.config.node_paths)
    assert directories
    batch = spool.batch(directories[0])
    assert batch is not None
    assert batch.task
    return directories[0]


def see_it_ended(scene: Scene, lab: Lab) -> None:
    """By the next desk: no task goes on, nothing was published, nothing is left."""
    with scene.place.desk():
        eventually(lambda: not waiting.requests(scene.place.config.node_paths))
    assert [job.document.status for job in scene.place.globus.jobs.values()] == ["FAILED"]
    assert contents(scene.destination) == {}
    assert contents(scene.source) == NEW
    scene.see_nothing_left(lab)


@contextmanager
def asked_by_another(scene: Scene) -> Iterator[procs.Process]:
    """The request of a process, which lives on."""
    owner = procs.spawn([sys.executable, "-c", "input()"], stdin=procs.PIPE)
    try:
        process, place = ProcessId.of(owner.pid), scene.place
        known = msgspec.structs.replace(client.owner(), pid=process.pid, start=process.start)
        item, deadline = InItem(0, SITE, "/a", place.config.roots[0]), place.client(60.0).deadline
        request = Request(
            id=spool.new_id(),
            job=place.job.key,
            owner=known,
            direction="in",
            ins=(item,),
            deadline=deadline,
            created=0.0,
        )
        client.ask(place.client(), request)
        yield owner
    finally:
        owner.kill()
        owner.wait(5.0)
        owner.close()


def test_a_leader_dies_while_it_gives_up_and_then_the_command(lab: Lab, census: Census, tmp_path: Path) -> None:
    def die_at(number: int) -> End:
        scene = Scene(new_place(tmp_path / str(number)), FLOWS["in"])
        scene.place.globus.held = True
        with asked_by_another(scene):
            with scene.place.desk():
                directory = eventually(lambda: under_way(scene))
            end = lab.run("refuse", die_at=number, tops=scene.tops, environ=scene.place.environ, directory=directory)
        with at(number, end):
            see_it_ended(scene, lab)
        shutil.rmtree(scene.place.top)
        return end

    each_death(census, "leader: gives up", die_at)


@pytest.mark.parametrize("who", ["leader", "command"])
def test_a_command_dies_while_it_calls_off_what_its_leader_gave_up_or_it_was_told_to(
    lab: Lab, census: Census, tmp_path: Path, who: str
) -> None:
    def give_up(scene: Scene, enough: Path) -> None:
        with scene.place.desk():
            directory = eventually(lambda: under_way(scene))
            if who == "command":
                enough.touch()
                eventually(lambda: not waiting.requests(scene.place.config.node_paths))
        if who == "leader":
            waiting.refuse(directory, EndpointFailed("Lost, mended, and lost again."))

    def die_at(number: int) -> End:
        scene = Scene(new_place(tmp_path / str(number)), FLOWS["in"])
        scene.place.globus.held = True
        enough = scene.place.top / "enough"
        leader = threading.Thread(target=give_up, args=(scene, enough), daemon=True)
        leader.start()
        end = lab.run(
            "call_off",
            die_at=number,
            tops=scene.tops,
            environ=scene.place.environ,
            service=scene.place.globus.service,
            base=str(scene.place.node),
            pairs=scene.pairs,
            enough=str(enough),
        )
        leader.join(60.0)
        with at(number, end):
            assert end.died or end.said == ("EndpointFailed" if who == "leader" else "Interrupted")
            see_it_ended(scene, lab)
        shutil.rmtree(scene.place.top)
        return end

    each_death(census, f"command: calls off, given up by the {who}", die_at)
