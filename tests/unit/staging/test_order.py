"""Who is served first when many wait."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from nodexfer.staging import intents, spool
from nodexfer.staging.bring import bring
from nodexfer.staging.send import send
from tests.support.place import ENDPOINT, Place
from tests.support.waiting import eventually


def all_looked_at(place: Place, count: int) -> bool:
    found = [spool.progress(path) for path in spool.directories(place.config.node_paths.spool)]
    return [progress and progress.state for progress in found] == ["waiting for the endpoint"] * count


@pytest.mark.parametrize("hurried", ["in", "out"])
def test_who_runs_out_of_time_first_is_served_first(place: Place, hurried: str) -> None:
    (place.site / "a").write_text("a")
    (place.node / "b").write_text("b")
    base = str(place.node)
    fetches = intents.fetches("site:/a", "here", place.config, base=base)
    sends = intents.exact_sends([("b", "site:/b")], place.config, base=base)
    seconds = {"in": 500.0, "out": 500.0, hurried: 100.0}
    with ThreadPoolExecutor(2) as threads, place.desk(serve=False) as inbox:
        one = threads.submit(bring, place.client(seconds["in"]), fetches)
        other = threads.submit(send, place.client(seconds["out"]), sends)
        eventually(lambda: all_looked_at(place, 2))
        place.serve(inbox)
        one.result(20)
        other.result(20)
    first = next(iter(place.globus.jobs.values())).submission
    assert (first.source_endpoint == ENDPOINT) == (hurried == "out")
