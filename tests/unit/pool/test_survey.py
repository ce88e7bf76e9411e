"""What status says of the pool."""

from __future__ import annotations

from pathlib import Path

from nodexfer.pool import lease
from nodexfer.pool.survey import survey
from nodexfer.pool.waiting import Queue
from tests.unit.pool.support import ME, add_entry, config


def test_a_pool_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    found = survey(config(tmp_path))
    assert (found["endpoints"], found["waiting"], found["turns"]) == ([], [], [])


def test_who_holds_an_endpoint_is_named_and_the_others_are_free(tmp_path: Path) -> None:
    held, _ = add_entry(tmp_path, "p-1", 1), add_entry(tmp_path, "p-2", 2)
    assert lease.take(str(held), 1, ME, "id", 300.0) is not None
    first, second = survey(config(tmp_path))["endpoints"]
    assert (first["name"], first["state"], first["host"], first["job"]) == ("p-1", "held", ME.host, ME.job)
    assert (second["name"], second["state"], second["host"]) == ("p-2", "free", None)


def test_who_waits_is_named_as_long_as_it_waits(tmp_path: Path) -> None:
    add_entry(tmp_path, "p-1")
    known = config(tmp_path)
    with Queue(known.home_paths.pool("default"), ME) as queue:
        queue.join()
        (waiter,) = survey(known)["waiting"]
        assert (waiter["host"], waiter["job"], waiter["place"]) == (ME.host, ME.job, ME.place)
    assert survey(known)["waiting"] == []


def test_what_was_passed_over_is_told_until_it_is_taken_again(tmp_path: Path) -> None:
    directory = str(add_entry(tmp_path, "p-1"))
    mine = lease.take(directory, 1, ME, "id", 300.0)
    assert mine is not None
    lease.give_back(mine._replace(trouble="Task t does not end."))
    (one,) = survey(config(tmp_path))["endpoints"]
    assert (one["state"], one["trouble"]) == ("free", "Task t does not end.")
    assert lease.take(directory, 2, ME, "id", 300.0) is not None
    (one,) = survey(config(tmp_path))["endpoints"]
    assert (one["state"], one["trouble"]) == ("held", "")
