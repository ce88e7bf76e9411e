"""manifest: pairs from a file, and lines that are no pairs named by their number."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodexfer.errors import SourceMissing, UrlMalformed
from nodexfer.staging.manifest import Pair, parse, read


def test_both_forms_in_one_file() -> None:
    lines = [b'{"source": "site:/a\\tb", "destination": "x"}', b"", b"site:/ c\td \r", b"#1\tone"]
    assert parse(lines, "m") == [Pair("site:/a\tb", "x"), Pair("site:/ c", "d "), Pair("#1", "one")]


@pytest.mark.parametrize(
    "line",
    [
        b"one column",
        b"a\tb\tc",
        b"a\t",
        b"\xff\tb",
        b'{"source": "a"}',
        b'{"source": "a", "destination": 3}',
        b'{"source": "a", "destination": "b", "size": 1}',
        b"{",
    ],
)
def test_a_bad_line_is_named_by_its_number(line: bytes) -> None:
    with pytest.raises(UrlMalformed, match="m, line 2"):
        parse([b"good\tgood", line], "m")


def test_an_empty_and_a_missing_manifest_are_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    with pytest.raises(UrlMalformed, match="names nothing"):
        read(str(tmp_path / "empty"))
    with pytest.raises(SourceMissing, match="can not be read"):
        read(str(tmp_path / "gone"))
