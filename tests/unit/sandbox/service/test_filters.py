"""The query language of lists."""

from __future__ import annotations

import pytest

from nodexfer.sandbox.service import filters
from nodexfer.sandbox.service.errors import ApiError

ROWS = [
    {"name": "a.txt", "type": "file", "size": 3, "time": "2026-01-01T00:00:00+00:00"},
    {"name": "B[1].txt", "type": "file", "size": 1, "time": "2026-01-02T00:00:00+00:00"},
    {"name": "dir", "type": "dir", "size": 2, "time": None},
]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ([], ["a.txt", "B[1].txt", "dir"]),
        (["name:a.txt"], ["a.txt"]),
        (["name:=a.txt"], ["a.txt"]),
        (["name:!a.txt"], ["B[1].txt", "dir"]),
        (["name:~*.TXT"], ["a.txt", "B[1].txt"]),
        (["name:~b[1]*"], ["B[1].txt"]),
        (["name:!~*.txt"], ["dir"]),
        (["type:file/size:1,2"], ["B[1].txt"]),
        (["type:dir", "name:a.txt"], ["a.txt", "dir"]),
        (["time:2026-01-02,"], ["B[1].txt"]),
        (["time:,2026-01-01T12:00:00Z"], ["a.txt"]),
    ],
)
def test_filters(wanted: list[str], names: list[str]) -> None:
    assert [row["name"] for row in filters.select(ROWS, wanted)] == names


@pytest.mark.parametrize("wanted", ["nonsense", "colour:red", "time:yesterday"])
def test_a_filter_that_makes_no_sense_is_a_400(wanted: str) -> None:
    with pytest.raises(ApiError) as refused:
        filters.select(ROWS, [wanted])
    assert refused.value.status == 400


def test_order_by_several_fields() -> None:
    assert [row["size"] for row in filters.order(ROWS, "type,size DESC")] == [2, 3, 1]
    with pytest.raises(ApiError):
        filters.order(ROWS, "size SIDEWAYS")


def test_only_the_fields_that_were_asked_for() -> None:
    row = {"DATA_TYPE": "task", "task_id": "1", "label": "x"}
    assert filters.fields(row, "task_id") == {"DATA_TYPE": "task", "task_id": "1"}
    assert filters.fields(row, None) == row


@pytest.mark.parametrize(("text", "value"), [(None, 10), ("5", 5), ("5000", 1000)])
def test_counts(text: str | None, value: int) -> None:
    assert filters.number(text, 10, 1000) == value
    for wrong in ("-1", "many"):
        with pytest.raises(ApiError):
            filters.number(wrong, 10, 1000)
