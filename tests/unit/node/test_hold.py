"""Taking a hold: there, or not there; whatever interrupts it."""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from nodexfer import procs
from nodexfer.config import Config, load
from nodexfer.errors import DiskFull
from nodexfer.node import hold, registry
from tests.support.holding import holds, job


@pytest.fixture
def config() -> Iterator[Config]:
    """No keeper is started here."""
    with mock.patch.object(hold, "start_keeper"):
        yield load()


def interrupted_after(what: Callable[..., Any]) -> Callable[..., Any]:
    def interrupted(*arguments: Any, **options: Any) -> Any:
        what(*arguments, **options)
        raise KeyboardInterrupt

    return interrupted


INSTANTS = [
    (registry.Table, "add"),
    (registry.Transaction, "_write"),
    (registry.Transaction, "__exit__"),
    (hold, "private_directory"),
    (hold, "start_keeper"),
    (hold, "_tell_all"),
]


@pytest.mark.parametrize(("owner", "name"), INSTANTS, ids=[name for _, name in INSTANTS])
def test_an_interrupted_take_leaves_no_hold(config: Config, owner: Any, name: str) -> None:
    """A script that is told of no hold would keep it until its end."""
    once = iter([interrupted_after(getattr(owner, name))])
    usual = getattr(owner, name)

    def first(*arguments: Any, **options: Any) -> Any:
        return next(once, usual)(*arguments, **options)

    with mock.patch.object(owner, name, first), pytest.raises(KeyboardInterrupt):
        hold.take(config, job())
    assert holds(config) == []


def test_what_is_taken_is_there(config: Config) -> None:
    taken = hold.take(config, job(), procs.this())
    assert [found.id for found in holds(config)] == [taken.id]


def test_where_nothing_can_be_written_that_is_what_is_said(config: Config) -> None:
    failing = mock.patch.object(registry.Transaction, "_write", side_effect=DiskFull("First."))
    with failing, pytest.raises(DiskFull, match=r"First\."):
        hold.take(config, job())
    assert holds(config) == []


@pytest.mark.parametrize("what", ["os.open", "nodexfer.procs.spawn"])
def test_a_keeper_that_can_not_be_started_leaves_no_descriptor_open(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of Parsl tries again for each of its functions."""
    config = load()
    config.node_paths.make()

    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    gc.collect()  # what others left open and let go
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(what, refuse)
    with pytest.raises(OSError, match="No space left"):
        hold.start_keeper(config, job(), procs.this())
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) <= len(before)
