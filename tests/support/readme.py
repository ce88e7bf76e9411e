"""The README as data: its code blocks, and the parts between ``<!-- name -->`` and ``<!-- /name -->``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tests.support.source import ROOT

README = ROOT / "README.md"

_BLOCK = re.compile(
    r"(?:<!-- (?P<marker>[^>]+?) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Snippet(NamedTuple):
    """A fenced block. ``marker`` is the comment right above it, as ``file: pbs/single.pbs``, or ''."""

    language: str
    marker: str
    text: str
    line: int


def snippets(path: Path = README) -> list[Snippet]:
    text = path.read_text(encoding="utf-8")
    return [
        Snippet(match["language"], match["marker"] or "", match["text"], text.count("\n", 0, match.start("text")) + 1)
        for match in _BLOCK.finditer(text)
    ]


def part(name: str, path: Path = README) -> str:
    """What stands between the two comments; '' where it is empty.

    :raises LookupError: the README has no such part.
    """
    match = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", path.read_text(encoding="utf-8"), re.DOTALL)
    if match is None:
        raise LookupError(f"{path} has no part {name!r}")
    return match[1].strip()
