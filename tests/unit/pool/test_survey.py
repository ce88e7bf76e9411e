"""What status says of the pool."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nodexfer.errors import NodeError
from nodexfer.pool import lease, manage
from nodexfer.pool.entries import read_pool
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


def test_what_can_not_be_read_is_not_called_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = add_entry(tmp_path, "p-1")
    known = config(tmp_path)

    def refuse(path: str) -> Any:
        raise OSError(errno.EIO, "Input/output error", path)

    with monkeypatch.context() as patch:
        patch.setattr(lease, "top", refuse)
        (one,) = survey(known)["endpoints"]
        assert (one["state"], one["trouble"][: len(str(directory))]) == ("unreadable", str(directory))
        described = manage.describe(read_pool(known.home_paths, "default")[0])
        assert (described["state"], described["trouble"]) == ("unreadable", one["trouble"])
    (directory / "record.json").rename(directory / "kept")
    (directory / "record.json").mkdir()
    (one,) = survey(known)["endpoints"]
    assert one["state"] == "unreadable"
    assert f"{directory}/record.json can not be used: Is a directory" in one["trouble"]
    described = manage.describe(read_pool(known.home_paths, "default")[0])
    assert (described["state"], described["broken"], described["trouble"]) == ("unreadable", None, one["trouble"])


def test_a_pool_that_can_not_be_listed_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr("nodexfer.pool.survey.read_pool", refuse)
    found = survey(config(tmp_path))
    assert found["endpoints"] == []
    assert found["trouble"].startswith(f"{tmp_path}/pool/default can not be used: Stale file handle")


@pytest.mark.parametrize("name", ["record.json", "config/lta/client-id.txt"])
def test_an_endpoint_of_which_nothing_is_known_now_is_not_removed(tmp_path: Path, name: str) -> None:
    """Neither here nor at the service, which is not even asked."""
    directory = add_entry(tmp_path, "p-1")
    (directory / name).rename(directory / "kept")
    (directory / name).mkdir()
    before = sorted(directory.rglob("*"))
    for globus in (None, SimpleNamespace()):
        with pytest.raises(NodeError, match=f"{name} can not be used: Is a directory"):
            manage.remove(config(tmp_path), globus, "p-1")
    assert sorted(directory.rglob("*")) == before
