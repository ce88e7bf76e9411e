"""entries: what is wrong with an entry is said beside it, and reading changes nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from nodexfer.errors import NodexferError, PoolEntryBroken, PoolMissing
from nodexfer.pool import entries
from nodexfer.pool.entries import read_pool
from tests.unit.pool.support import ID, add_entry, config


def test_a_pool_lists_its_entries_by_name(tmp_path: Path) -> None:
    add_entry(tmp_path, "node-2", 2)
    add_entry(tmp_path, "node-1", 1)
    (tmp_path / "pool/default/waiting").mkdir()
    (tmp_path / "pool/default/.half").mkdir()
    found = read_pool(config(tmp_path).home_paths, "default")
    assert [(entry.name, entry.endpoint_id, entry.broken) for entry in found] == [
        ("node-1", f"{ID}1", None),
        ("node-2", f"{ID}2", None),
    ]


def test_no_pool_and_an_empty_pool_are_missing(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(PoolMissing, match="no endpoint") as caught:
            read_pool(config(tmp_path).home_paths, "default")
        assert caught.value.next.startswith("nodexfer pool create")
        (tmp_path / "pool/default").mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("record gone", "no record.json"),
        ("record cut", "not a whole record"),
        ("newer", "newer nodexfer"),
        ("half made", "never finished"),
        ("config gone", "missing or damaged"),
        ("another", "another endpoint's"),
    ],
)
def test_a_broken_entry_says_what_is_wrong_and_how_it_is_mended(tmp_path: Path, damage: str, words: str) -> None:
    directory = add_entry(tmp_path, "node-1")
    record = directory / "record.json"
    whole = json.loads(record.read_text())
    match damage:
        case "record gone":
            record.unlink()
        case "record cut":
            record.write_text(record.read_text()[:20])
        case "newer":
            record.write_text(json.dumps({**whole, "format": 2}))
        case "half made":
            record.write_text(json.dumps({**whole, "complete": False}))
        case "config gone":
            shutil.rmtree(directory / "config")
        case "another":
            (directory / "config/lta/client-id.txt").write_text(f"{ID}7")
    before = sorted(path.name for path in directory.iterdir())
    (entry,) = read_pool(config(tmp_path).home_paths, "default")
    error = entry.error()
    assert words in str(error)
    assert "node-1" in str(error)
    assert error.next == "nodexfer pool remove node-1"
    assert sorted(path.name for path in directory.iterdir()) == before


@pytest.mark.parametrize("name", ["record.json", "config/lta/client-id.txt"])
def test_what_can_not_be_read_is_not_broken_and_is_named(tmp_path: Path, name: str) -> None:
    """A directory in its place: the file system says EISDIR, also to root."""
    directory = add_entry(tmp_path, "node-1")
    (directory / name).rename(directory / "kept")
    (directory / name).mkdir()
    (entry,) = read_pool(config(tmp_path).home_paths, "default")
    assert (entry.broken, entry.usable) == (None, False)
    error = entry.error()
    assert not isinstance(error, PoolEntryBroken)
    assert error.message.startswith(f"{directory}/{name} can not be used: Is a directory")
    assert error.next == f"ls -ld {directory}/{name}"
    (directory / name).rmdir()
    (directory / "kept").rename(directory / name)
    assert read_pool(config(tmp_path).home_paths, "default")[0].usable


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_passing_error_of_the_file_system_leaves_an_entry_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    directory = add_entry(tmp_path, "node-1")

    def refuse(path: str, mode: str) -> Any:
        raise OSError(number, os.strerror(number), path)

    with monkeypatch.context() as patch:
        patch.setattr(entries, "open", refuse, raising=False)
        (entry,) = read_pool(config(tmp_path).home_paths, "default")
    assert (entry.broken, entry.usable) == (None, False)
    assert f"{directory}/record.json can not be used: {os.strerror(number)}" in str(entry.error())
    assert read_pool(config(tmp_path).home_paths, "default")[0].usable


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_pool_that_can_not_be_listed_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    add_entry(tmp_path, "node-1")

    def refuse(path: str) -> Any:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(OSError, match="default") as caught:
        read_pool(config(tmp_path).home_paths, "default")
    assert not isinstance(caught.value, NodexferError)
