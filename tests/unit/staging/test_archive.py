"""archive and ``nodexfer receipts``: what was moved is found again, and described."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nodexfer.cli import main
from nodexfer.errors import ReceiptUnknown
from nodexfer.paths import HomePaths
from nodexfer.staging import archive, receipt
from nodexfer.staging.receipt import Program, Receipt, ReceiptFile, Trouble
from tests.support.source import ROOT

#: Three receipts in two months, oldest first.
CREATED = {"r1": 1_790_000_000.0, "r2": 1_795_000_000.0, "r2b": 1_795_000_001.0}


@pytest.fixture
def paths() -> HomePaths:
    found = HomePaths(f"{os.environ['HOME']}/.nodexfer")
    for name, created in CREATED.items():
        files = tuple(ReceiptFile(f"globus://site/{n}", f"/tmp/x/{n}", 1000, "sha256:00") for n in range(30))
        asked = Receipt(id=name, direction="in", job="local-h-1.0", host="h", created=created, files=files, bytes=30000)
        if name == "r2b":
            trouble = Trouble("TIMEOUT", "Slow.")
            asked = Receipt(id=name, direction="out", job="j", host="h", created=created, troubles=(trouble,))
        receipt.write(found, asked)
    Path(found.receipts, "2026-09", "broken.json").write_text("{")
    Path(found.receipts, "2026-09", "newer.json").write_text('{"format": 99}')
    Path(found.receipts, "stray").write_text("no month")
    return found


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["receipts", *arguments]) == 0
    return capsys.readouterr().out


def test_the_newest_come_first_and_what_is_no_receipt_is_left_out(paths: HomePaths) -> None:
    assert [found.id for found in archive.newest(paths)] == ["r2b", "r2", "r1"]
    assert [found.id for found in archive.newest(paths, 1)] == ["r2b"]


def test_a_receipt_is_found_by_the_beginning_of_its_id_or_by_its_file(paths: HomePaths) -> None:
    assert archive.find(paths, "r1").id == "r1"
    assert archive.find(paths, archive.find(paths, "r1").path).id == "r1"
    for name in ("r", "r9", "", "broken", "newer"):
        with pytest.raises(ReceiptUnknown):
            archive.find(paths, name)


def test_the_published_schema_is_that_of_the_code() -> None:
    published = (ROOT / "docs/receipt.schema.json").read_text()
    now = json.dumps(archive.schema(), indent=2, ensure_ascii=False) + "\n"
    assert published == now, "nodexfer receipts schema > docs/receipt.schema.json"


def test_every_field_of_a_receipt_is_in_the_schema(paths: HomePaths) -> None:
    fields = set(archive.schema()["$defs"]["Receipt"]["properties"])
    assert fields == set(archive.find(paths, "r1").as_record())


def test_the_list_is_a_table_or_data(paths: HomePaths, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, "list", "--limit", "2").splitlines()
    assert [line.split()[-1] for line in lines] == ["ID", "r2b", "r2"]
    assert max(map(len, lines)) <= 80
    rows = json.loads(told(capsys, "list", "--json"))
    assert [(row["id"], row["files"], row["state"]) for row in rows] == [
        ("r2b", 0, "asked"),
        ("r2", 30, "asked"),
        ("r1", 30, "asked"),
    ]


def test_one_is_shown_for_people_or_whole(paths: HomePaths, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "show", "r1")
    assert "globus://site/0\n  -> /tmp/x/0\n  1000 B, sha256:00\n" in text
    assert "... and 10 more" in text
    assert "trouble   TIMEOUT: Slow." in told(capsys, "show")
    record = json.loads(told(capsys, "show", "r1", "--json"))
    assert len(record["files"]) == 30


def test_what_was_salvaged_is_told_with_what_to_type(paths: HomePaths, capsys: pytest.CaptureFixture[str]) -> None:
    salvaged = Receipt(
        id="r3",
        state="salvaged",
        direction="out",
        job="j",
        host="h",
        created=1_795_000_002.0,
        verify="checksum",
        program=Program(exit_code=143, stopped=True, on_exit={"/tmp/x": "always"}),
        salvage="/home/u/salvage/r3",
        unsaved=("/tmp/y",),
    )
    receipt.write(paths, salvaged)
    lines = told(capsys, "show", "r3").splitlines()
    for line in (
        "program   exit code 143, stopped for time",
        "policy    /tmp/x: on always",
        "salvage   /home/u/salvage/r3",
        "next      nodexfer resume r3",
        "not saved /tmp/y",
        "verified  by checksum",
    ):
        assert line in lines


def test_without_any_the_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["receipts", "show"]) == 15
    assert json.loads(told(capsys, "list", "--json")) == []
