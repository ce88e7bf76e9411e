"""Sizes and times, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodexfer import units


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("4096", 4096),
        ("512 B", 512),
        ("10K", 10240),
        ("10k", 10240),
        ("64MiB", 64 * 2**20),
        ("1.5 GB", 1_500_000_000),
        ("2T", 2 * 2**40),
        ("1kB", 1000),
    ],
)
def test_a_size_is_read(text: str, count: int) -> None:
    assert units.parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1 XB", "1e3", "1.2.3", "1 M iB", "0x10"])
def test_what_is_no_size_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 4096, 10K"):
        units.parse_bytes(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (64 * 2**20, "64.0 MiB"),
        (2**20 - 1, "1.0 MiB"),
        (2**50, "1.0 PiB"),
        (3e18, "2664.5 PiB"),
    ],
)
def test_a_size_is_written_with_one_decimal(count: float, text: str) -> None:
    assert units.format_bytes(count) == text


@given(st.integers(0, 2**60))
def test_a_written_size_reads_as_nearly_the_same(count: int) -> None:
    assert units.parse_bytes(units.format_bytes(count)) == pytest.approx(count, rel=0.06)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300", 300), ("90s", 90), ("0.5", 0.5), ("5m", 300), ("1h30m", 5400), ("2d", 172800), (" 1d1h1m1s ", 90061)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "m", "-5", "1m1h", "5 minutes", "inf", "1:00"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 300, 90s"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3600, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (183600, "2 d 03 h"),
    ],
)
def test_a_duration_is_written_in_two_units_at_most(seconds: float, text: str) -> None:
    assert units.format_duration(seconds) == text


def test_a_rate_is_a_size_a_second() -> None:
    assert units.format_rate(5.1 * 2**20) == "5.1 MiB/s"
