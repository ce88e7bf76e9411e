"""need: how much is to come, told before it moves, as far as a few calls tell it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nodexfer.errors import PermissionRefused
from nodexfer.staging import intents, need, spool, via_area, via_site, via_task
from nodexfer.staging.bring import bring
from nodexfer.staging.request import BatchItem, Need, Progress
from nodexfer.staging.via_errand import Errand
from tests.support.place import SITE, Place
from tests.support.waiting import eventually
from tests.unit.staging.test_resume import there
from tests.unit.staging.test_take_up import Following, _request

__all__ = ["there"]


def fill(top: Path, below: int) -> None:
    """A file of 10 bytes in it, and in each of ``below`` directories one of 100."""
    for number in range(below):
        (top / f"d{number}").mkdir(parents=True)
        (top / f"d{number}/f").write_bytes(bytes(100))
    (top / "f").write_bytes(bytes(10))


def item(name: str, size: int | None = None) -> BatchItem:
    return BatchItem(0, size is None, "", f"/{name}", size)


def test_files_are_counted_without_a_call_and_directories_by_one_each(place: Place) -> None:
    fill(place.site / "set", 3)
    assert need.of(place.globus, SITE, [item("a", 5), item("b", 6)]) == Need(bytes=11, files=2)
    assert place.globus.calls == []
    assert need.of(place.globus, SITE, [item("a", 5), item("set")]) == Need(bytes=315, files=5)
    assert place.globus.calls.count("ls") == 4


def test_what_takes_too_many_calls_or_is_refused_is_at_least(place: Place) -> None:
    for name in ("set", "other"):
        fill(place.site / name, 9)
    found = need.of(place.globus, SITE, [item("set"), item("other")], 8)
    assert (found.least, found.files, found.bytes) == (True, 8, 620)
    assert place.globus.calls.count("ls") == 8
    place.globus.errors["ls"] = [PermissionRefused("no", "")]
    assert need.of(place.globus, SITE, [item("set"), item("a", 5)]) == Need(bytes=5, files=1, least=True)


@pytest.mark.parametrize("measure", [True, False])
def test_who_wants_to_know_is_told_while_it_moves_and_nobody_else_pays_for_it(place: Place, measure: bool) -> None:
    fill(place.site / "set", 2)
    place.globus.held = True
    news: list[Progress] = []
    fetches = intents.fetches("site:/set", "here", place.config, base=str(place.node))
    who = place.client(on_progress=news.append)._replace(measure=measure)
    with place.desk():
        waiting = Following(lambda: bring(who, fetches))
        eventually(lambda: any(one.task is not None and (one.need is not None) == measure for one in news))
        assert place.globus.calls.count("ls") == 1 + (3 if measure else 0), "the first has seen that the desk is ready"
        place.globus.held = False
        waiting.result()
    assert {one.need for one in news} <= {None, Need(bytes=210, files=3)}


def test_of_two_collections_the_sum_is_told(place: Place) -> None:
    fill(place.site / "set", 2)
    (place.top / "other/deep").mkdir()
    (place.top / "other/deep/f").write_bytes(bytes(1000))
    place.globus.held = True
    news: list[Progress] = []
    fetches = intents.fetches("site:/set", "here/", place.config, base=str(place.node))
    fetches += intents.fetches("other:/f", "there", place.config, base=str(place.node))
    who = place.client(on_progress=news.append)._replace(measure=True)
    with place.desk():
        waiting = Following(lambda: bring(who, fetches))
        eventually(lambda: Need(bytes=1210, files=4) in [one.need for one in news])
        place.globus.held = False
        waiting.result()


def test_by_the_route_via_it_is_told_before_the_task_is_submitted(there: Place) -> None:
    fill(there.site / "set", 2)
    news: list[tuple[Progress, int]] = []
    base = _request(there, "r1", measure=True)
    request = msgspec.structs.replace(base, ins=(msgspec.structs.replace(base.ins[0], path="/set"),))
    directory = via_area.make(via_area.find(there.config), request)

    def tell(progress: Progress) -> None:
        news.append((progress, len(there.globus.jobs)))

    site = via_site.must_cover(there.config, directory)
    via_task.carry(Errand(there.globus, site, request, f"{directory}/data", directory, "task.json", "label", tell))
    assert [jobs for one, jobs in news if one.need == Need(bytes=210, files=3)] == [0]
    assert spool.read(directory, "errand.json", via_area.Order) is not None
