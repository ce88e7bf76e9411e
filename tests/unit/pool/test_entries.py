"""entries: what is wrong with an entry is said beside it, and reading changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nodexfer.errors import PoolMissing
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
        ("record cut", "can not be read"),
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
