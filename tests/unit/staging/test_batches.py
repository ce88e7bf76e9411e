"""batches: few tasks, nobody held back for nothing, and what of a task is whose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodexfer.globus.protocol import Moved
from nodexfer.staging import batches
from nodexfer.staging.request import BatchItem, MovedFile


def test_a_lone_request_goes_at_once() -> None:
    assert batches.wait_before_submit(0.0, 0, 0, company=False) == 0


def test_company_that_is_coming_is_waited_for_and_not_for_ever() -> None:
    first = batches.wait_before_submit(0.0, 0, 0, company=True)
    assert first is not None
    assert 0 < first <= 0.1
    assert batches.wait_before_submit(5.0, 2, 2, company=True) == 0


def test_what_would_only_queue_is_held_back() -> None:
    assert batches.wait_before_submit(1e9, 0, batches.ACTIVE_LIMIT, company=False) is None


@given(st.floats(0, 1e6), st.integers(0, 2), st.integers(0, 2), st.booleans())
def test_no_request_waits_longer_than_a_second_while_a_task_is_free(
    age: float, alike: int, more: int, company: bool
) -> None:
    moving = min(alike + more, 2)
    wait = batches.wait_before_submit(age, min(alike, moving), moving, company=company)
    assert wait is not None
    assert 0 <= wait <= max(1.0 - age, 0.0)


@given(st.lists(st.integers(1, 30_000), min_size=1), st.integers(1, 40_000))
def test_a_task_is_filled_up_to_the_limit_and_never_empty(sizes: list[int], limit: int) -> None:
    count = batches.fill(sizes, limit)
    assert count >= 1
    assert count == 1 or sum(sizes[:count]) <= limit
    assert count == len(sizes) or sum(sizes[: count + 1]) > limit


@given(st.lists(st.text(), max_size=50))
def test_halves_lose_nobody(names: list[str]) -> None:
    first, second = batches.halves(names)
    assert first + second == names
    assert 0 <= len(first) - len(second) <= 1


def test_a_label_tells_the_lease_and_is_short_enough() -> None:
    label = batches.label("e" * 36, 10**9, "s" * 36)
    assert label.startswith(batches.lease_mark("e" * 36, 10**9))
    assert len(label) <= 128
    assert not label.startswith(batches.lease_mark("e" * 36, 10**8))


ITEMS = {
    "r1": [BatchItem(0, False, "/x/1/r1/0", "/a", 7), BatchItem(1, True, "/x/1/r1/1", "/set", None)],
    "r11": [BatchItem(0, True, "/x/1/r11/0", "/set", None)],
}


def test_what_was_moved_is_told_apart_by_whole_components() -> None:
    moved = [
        Moved("/a", "/x/1/r1/0"),
        Moved("/set/b/c", "/x/1/r1/1/b/c"),
        Moved("/set/d", "/x/1/r11/0//d"),
        Moved("/else", "/x/1/r111/0"),
    ]
    assert batches.whose("in", ITEMS, moved) == {
        "r1": [MovedFile(0, "", 7), MovedFile(1, "b/c", None)],
        "r11": [MovedFile(0, "d", None)],
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Path: /x/1/r1/0", ["r1"]),
        ("Path: /x/1/r11/0/deep/file", ["r11"]),
        ("Error at /set", ["r1", "r11"]),
        ("nothing is named", []),
    ],
)
def test_the_longest_path_in_an_event_tells_whose_fault_it_is(text: str, names: list[str]) -> None:
    assert batches.blamed("in", ITEMS, text) == names
