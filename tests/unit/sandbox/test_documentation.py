"""docs/sandbox.md names every fault and every switch, with its fields and its default."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from nodexfer.sandbox.faults import KINDS
from nodexfer.sandbox.switches import Switches

TEXT = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_faults(kind: str) -> None:
    row = re.search(rf"^\| `{kind}` \| ([^|]*)\|", TEXT, re.MULTILINE)
    assert row, f"{kind} is missing"
    assert {name.strip() for name in row[1].split(",")} - {""} == KINDS[kind]


@pytest.mark.parametrize("field", msgspec.structs.fields(Switches), ids=lambda field: field.name)
def test_switches(field: msgspec.structs.FieldInfo) -> None:
    [row] = [line for line in TEXT.splitlines() if line.startswith("|") and f"`{field.name}`" in line.split("|")[1]]
    names = re.findall(r"`(\w+)`", row.split("|")[1])
    values = [value.split("(")[0].strip() for value in row.split("|")[2].split(",")]
    value = values[names.index(field.name)] if len(values) == len(names) else values[0]
    assert value == str(field.default).lower().removesuffix(".0")
