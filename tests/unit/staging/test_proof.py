"""What the service leaves out of a source without a word: found by a look at the source, or said not to be known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nodexfer.errors import PermissionRefused, TransferUnproven
from nodexfer.globus.protocol import Entry
from nodexfer.staging import archive, intents, look
from nodexfer.staging.bring import bring
from nodexfer.staging.client import Client
from nodexfer.staging.receipt import Receipt
from tests.support.place import SITE, Place

#: More than were once looked into.
MANY = 60


def tree(top: Path) -> None:
    for number in range(MANY):
        directory = top / f"{number % 7}/{number}"
        directory.mkdir(parents=True)
        (directory / "f").write_bytes(b"x" * number)
    deep = top.joinpath(*"abcdefghij" * 3)
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"x")


def stage_in(place: Place) -> Receipt:
    with place.desk():
        fetches = intents.exact_fetches([("site:/set", "set")], place.config, base=str(place.node))
        return bring(Client(*place.client()), fetches)


def test_every_file_of_a_large_tree_is_compared(place: Place) -> None:
    tree(place.site / "set")
    found = look.sizes(place.globus, SITE, "/set")
    assert found.whole
    assert found.files == {
        str(path.relative_to(place.site / "set")): path.stat().st_size
        for path in (place.site / "set").rglob("*")
        if path.is_file()
    }
    assert stage_in(place).warnings == ()


@pytest.mark.parametrize("where", ["6/55/link", "/".join("abcdefghij" * 3) + "/link"])
def test_a_link_far_down_is_named_and_not_left_out_in_silence(place: Place, where: str) -> None:
    tree(place.site / "set")
    (place.site / "set" / where).symlink_to("f")
    with pytest.raises(TransferUnproven, match=f"/set/{where} is there and was not moved"):
        stage_in(place)
    assert not (place.node / "set").exists()


def test_a_short_file_far_down_is_never_published(place: Place) -> None:
    tree(place.site / "set")
    place.globus.truncate.add("/set/6/55/f")
    with pytest.raises(TransferUnproven):
        stage_in(place)
    assert not (place.node / "set").exists()


@pytest.mark.parametrize("attribute", ["SIZED_DIRECTORIES", "_SIZED_SECONDS"])
def test_what_was_not_looked_into_is_said_in_the_receipt(
    place: Place, monkeypatch: pytest.MonkeyPatch, attribute: str
) -> None:
    tree(place.site / "set")
    monkeypatch.setattr(look, attribute, 6 if attribute == "SIZED_DIRECTORIES" else 0.0)
    done = stage_in(place)
    (warning,) = done.warnings
    seen = 6 if attribute == "SIZED_DIRECTORIES" else 0
    assert warning.startswith(f"/set has more than {seen} directories, and only so many were looked into: whether ")
    assert archive.find(place.config.home_paths, done.id).warnings == done.warnings


def test_so_is_what_can_not_be_listed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(place.site / "set")
    real: Callable[[str, str], Sequence[Entry]] = place.globus.ls

    def ls(collection: str, path: str) -> Sequence[Entry]:
        if path in ("/set/1/1", "/set/2/9"):
            raise PermissionRefused("No.", "")
        return real(collection, path)

    monkeypatch.setattr(place.globus, "ls", ls)
    found = look.sizes(place.globus, SITE, "/set")
    assert found.gaps == (
        "/set/1/1 and 1 more can not be listed: whether Globus left out symbolic links there is not known",
    )
    assert stage_in(place).warnings == found.gaps
