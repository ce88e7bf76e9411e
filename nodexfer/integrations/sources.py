"""One source each, with what is to be done with its contents: :meth:`nodexfer.session.Node.stage_in` has that for all.

Of the standard library only: submit sides and workers import this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

Where = TypeVar("Where")


class Source(NamedTuple):
    """An input of :func:`nodexfer.staged` of which there is more to say than its URL.

    ``extract``: it is an archive, and the function gets the directory of what is in it. ``expect``: its checksum,
    ``"sha256:HEX"`` or ``"md5:HEX"``; where it has another one, the function does not run.
    """

    url: str
    extract: bool = False
    expect: str | None = None


def requests(wanted: Mapping[Source, Where]) -> Iterator[tuple[dict[str, Where], dict[str, Any]]]:
    """As few requests as can bring all of it: sources by their URL, and the options that are theirs.

    A checksum is that of one source, which has a request of its own.
    """
    found: dict[tuple[bool, str | None, str], dict[str, Where]] = {}
    for one, where in wanted.items():
        found.setdefault((one.extract, one.expect, one.url if one.expect else ""), {})[one.url] = where
    for (extract, expect, _), sources in found.items():
        yield sources, {**({"extract": True} if extract else {}), **({"expect": expect} if expect else {})}
