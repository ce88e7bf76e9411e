"""plan: the rules of cp, and what can not be."""

from __future__ import annotations

import pytest

from nodexfer.errors import DestinationExists, UrlMalformed
from nodexfer.staging.location import Local, Remote
from nodexfer.staging.plan import Pairing, distinct_sends, exact_fetches, fetches, sends


def remote(path: str, *, slash: bool = False) -> Remote:
    return Remote("c", path, slash, path)


def local(path: str, *, slash: bool = False) -> Local:
    return Local(path, slash, path)


@pytest.mark.parametrize(
    ("sources", "slash", "is_there", "expected"),
    [
        (["/a"], False, False, ["/d"]),
        (["/a"], True, False, ["/d/a"]),
        (["/a"], False, True, ["/d/a"]),
        (["/a", "/b/c"], False, False, ["/d/a", "/d/c"]),
    ],
)
def test_a_directory_is_gone_into(sources: list[str], slash: bool, is_there: bool, expected: list[str]) -> None:
    found = fetches([remote(path) for path in sources], local("/d", slash=slash), lambda _: is_there)
    assert [fetch.destination for fetch in found] == expected


def test_an_exact_plan_goes_into_a_directory_only_by_a_slash() -> None:
    pairs = [Pairing(remote("/a"), local("/tmp")), Pairing(remote("/b"), local("/x", slash=True))]
    assert [fetch.destination for fetch in exact_fetches(pairs)] == ["/tmp", "/x/b"]


@pytest.mark.parametrize("paths", [["/x/a", "/y/a"], ["/x/a", "/x/b", "/z/a"]])
def test_two_sources_can_not_become_one(paths: list[str]) -> None:
    with pytest.raises(DestinationExists, match="/d/a"):
        fetches([remote(path) for path in paths], local("/d"), lambda _: True)


def test_one_destination_can_not_lie_inside_another() -> None:
    pairs = [("/a", "/d/x"), ("/b", "/d/x.y"), ("/c", "/d/x/y")]
    with pytest.raises(DestinationExists, match="inside"):
        exact_fetches([Pairing(remote(source), local(where)) for source, where in pairs])


def test_a_collections_root_has_no_name_to_take_along() -> None:
    with pytest.raises(UrlMalformed, match="no name"):
        fetches([remote("/")], local("/d", slash=True))
    assert fetches([remote("/")], local("/d"), lambda _: False)[0].destination == "/d"


def test_nothing_is_no_plan() -> None:
    with pytest.raises(UrlMalformed):
        fetches([], local("/d"))
    with pytest.raises(UrlMalformed):
        sends([], remote("/d"))


def test_whether_a_far_destination_is_a_directory_is_left_to_the_desk_only_where_it_matters() -> None:
    assert [(s.destination.path, s.into) for s in sends([local("/a")], remote("/d"))] == [("/d", True)]
    assert [(s.destination.path, s.into) for s in sends([local("/a")], remote("/d", slash=True))] == [("/d/a", False)]
    assert [(s.destination.path, s.into) for s in sends([local("/a")], remote("/d"), exact=True)] == [("/d", False)]
    both = sends([local("/a"), local("/x/b")], remote("/d"))
    assert [(s.destination.path, s.into) for s in both] == [("/d/a", False), ("/d/b", False)]
    assert sends([local("/a")], remote("/"))[0].destination.path == "/a"


def test_outputs_of_one_name_are_refused() -> None:
    with pytest.raises(DestinationExists):
        distinct_sends(sends([local("/x/a"), local("/y/a")], remote("/d")))
