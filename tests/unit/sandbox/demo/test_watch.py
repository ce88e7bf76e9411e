from __future__ import annotations

import json
import pathlib

import pytest

from nodexfer.sandbox.demo.watch import Move, Sighting, Watch, moves


def watch_with(tmp_path: pathlib.Path, *sightings: Sighting) -> Watch:
    watch = Watch(str(tmp_path))
    watch.sightings.extend(sightings)
    return watch


def seen(at: float, state: str, leader: str) -> Sighting:
    return Sighting(at, state, leader, "e", 1, 0.0)


def test_a_take_over_is_timed_from_the_kill_to_the_next_leader_and_to_its_readiness(tmp_path: pathlib.Path) -> None:
    watch = watch_with(
        tmp_path, seen(1, "ready", "a"), seen(10.004, "starting", "b"), seen(10.5, "ready", "b"), seen(12, "ready", "c")
    )
    found = watch.take_over("a", 10.0)
    assert found is not None
    assert found.by == "b"
    assert found.leads == pytest.approx(0.004)
    assert found.ready == pytest.approx(0.5)


def test_a_take_over_is_another_leader_under_the_same_lease(tmp_path: pathlib.Path) -> None:
    words = [("a", 0), ("a", 1), ("a", 1), ("b", 0), ("b", 1), ("a", 1), ("c", 2), ("", 0), ("d", 2)]
    watch = watch_with(tmp_path, *(Sighting(at, "ready", leader, "e", n, 0.0) for at, (leader, n) in enumerate(words)))
    assert watch.take_overs() == 3


def test_the_dead_leaders_own_last_word_is_no_take_over(tmp_path: pathlib.Path) -> None:
    watch = watch_with(tmp_path, seen(1, "ready", "a"), seen(10.001, "ready", "a"), seen(10.01, "starting", "b"))
    assert watch.take_over("a", 10.0) is None


def test_endpoint_records_are_seen_as_they_change(tmp_path: pathlib.Path) -> None:
    watch = Watch(str(tmp_path), period=0.001)
    watch.start()
    try:
        for number, leader in enumerate(("a", "b")):
            record = {"state": "ready", "keeper": leader, "endpoint_id": "e", "lease": 3}
            (tmp_path / "new").write_text(json.dumps(record))
            (tmp_path / "new").rename(tmp_path / "endpoint.json")
            while len(watch.sightings) <= number:
                assert watch.is_alive()
    finally:
        watch.stop()
    assert [sighting.leader for sighting in watch.sightings] == ["a", "b"]


def test_requests_under_way_are_read_and_those_that_are_over_are_not(tmp_path: pathlib.Path) -> None:
    spool = tmp_path / "spool" / "job"
    for name in ("1", "2", ".tmp-3"):
        (spool / name).mkdir(parents=True)
    (spool / "1" / "progress.json").write_text('{"state": "moving", "task": "t", "bytes_done": 5, "bytes_total": null}')
    (spool / "2" / "result.json").write_text("{}")
    assert moves(str(tmp_path), "job") == [Move("moving", "t", 5, 0)]
    assert moves(str(tmp_path), "no such job") == []
