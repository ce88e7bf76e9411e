"""A figure: what was measured, against its bar."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple


class Figure(NamedTuple):
    """``value`` and ``bar`` are in ``unit``: "x" is a multiple of the baseline that was measured in the same run.

    An infinite value is one that could not be measured here; ``note`` says what is missing.
    """

    name: str
    value: float
    unit: str
    bar: float
    sense: Literal["at most", "at least"] = "at most"
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.value <= self.bar if self.sense == "at most" else self.value >= self.bar

    def as_record(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": round(self.value, 4) if math.isfinite(self.value) else None,  # JSON has no infinity
            "unit": self.unit,
            "bar": self.bar,
            "ok": self.ok,
            "sense": self.sense,
            "note": self.note,
        }


def save(figures: Sequence[Figure], path: str) -> list[dict[str, Any]]:
    """Join ``figures`` with what the file holds: others' stay, those of the same name are replaced. The whole list."""
    records = {record["name"]: record for record in _read(path)}
    records.update({figure.name: figure.as_record() for figure in figures})
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        json.dump(list(records.values()), file, indent=1, ensure_ascii=False)
        file.write("\n")
    os.replace(f"{path}.part", path)
    return list(records.values())


def _read(path: str) -> list[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, ValueError):
        return []
    return [record for record in found if isinstance(record, dict) and "name" in record]


def table(figures: Sequence[Figure]) -> str:
    """Plain text, for terminals and for logs."""
    width = max((len(figure.name) for figure in figures), default=0)
    lines = [f"{'what':{width}}  {'measured':>11}  {'bar':>14}"]
    for figure in figures:
        bar = f"{figure.sense} {figure.bar:g}"
        value = f"{figure.value:.3g} {figure.unit}"
        lines.append(
            f"{figure.name:{width}}  {value:>11}  {bar:>14}  {'' if figure.ok else 'MISSED  '}{figure.note}".rstrip()
        )
    return "\n".join(lines)
