"""exchange: what comes finds an empty directory and room; what goes is moved in once, from wherever it lies."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from nodexfer.errors import (
    DiskFull,
    EndpointFailed,
    NodeDirRemoved,
    NodexferError,
    PermissionRefused,
    TransferFailed,
)
from nodexfer.paths import RootPaths, ground
from nodexfer.staging import exchange, spool
from nodexfer.staging.client import owner
from nodexfer.staging.request import BatchItem, InItem, OutItem, Request
from tests.support.place import SITE, Place


def request(place: Place, direction: str = "in") -> Request:
    root = place.config.roots[0]
    ins, outs = (InItem(0, SITE, "/a", root),), (OutItem(0, SITE, "/a", root, False, 1, 1),)
    kind = {"direction": "in", "ins": ins} if direction == "in" else {"direction": "out", "outs": outs}
    return Request(id=spool.new_id(), job="j", owner=owner(), deadline=1e12, created=0.0, **kind)  # type: ignore[arg-type]


def prepare(place: Place, asked: Request, lease: int = 1) -> Path:
    exchanges, node_dir = place.exchanges(lease), place.config.node_dir
    items = exchange.places(asked, [BatchItem(0, False, "", "/a", 1000)], exchanges, node_dir)
    exchange.prepare(asked, items, exchanges, node_dir)
    return Path(os.path.dirname(items[0].local))


def test_what_an_earlier_attempt_left_is_not_taken_for_what_arrives(place: Place) -> None:
    asked = request(place)
    directory = prepare(place, asked)
    (directory / "0").mkdir()
    (directory / "0/of the first attempt").write_text("x")
    assert prepare(place, asked) == directory
    assert list(directory.iterdir()) == []


def test_what_can_not_fit_is_not_even_begun(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(NamedTuple):
        f_bavail: int = 999
        f_frsize: int = 1

    monkeypatch.setattr(os, "statvfs", lambda _: Full())
    with pytest.raises(DiskFull, match="1000 are needed for /a") as full:
        prepare(place, request(place))
    shown = full.value.next.removeprefix("df -h ")
    assert os.path.ismount(shown), "directories of ours go with the request"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EACCES, PermissionRefused),
        (errno.EROFS, PermissionRefused),
        (errno.EEXIST, TransferFailed),
        (errno.EIO, TransferFailed),
        (errno.ENOENT, NodeDirRemoved),
    ],
)
def test_a_directory_that_can_not_be_made_is_told_by_its_cause(
    place: Place, monkeypatch: pytest.MonkeyPatch, code: int, error: type[NodexferError]
) -> None:
    asked = request(place)
    directory, made = prepare(place, asked), os.mkdir

    def mkdir(path: str, *more: Any) -> None:
        if path != str(directory):
            return made(path, *more)
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(NodexferError) as caught:
        prepare(place, asked)
    assert type(caught.value) is error
    assert str(directory if error is not NodeDirRemoved else directory.parent) in caught.value.message


def test_outputs_are_moved_in_once_also_from_another_lease(place: Place) -> None:
    asked = request(place, "out")
    outgoing = Path(RootPaths(place.config.node_dir).make().outgoing(asked.id))
    outgoing.mkdir()
    (outgoing / "0").write_text("x")
    for lease in (1, 1, 2):
        assert (prepare(place, asked, lease) / "0").read_text() == "x"
    with pytest.raises(TransferFailed, match="is gone"):
        prepare(place, request(place, "out"))


def test_a_root_that_is_another_directory_to_the_job_is_not_served(place: Place, tmp_path: Path) -> None:
    """As with a private /tmp: nothing may be moved from or to the leader's."""
    root, node_dir = tmp_path / "root", place.config.node_dir
    root.mkdir()
    exchanges = {**place.exchanges(1), str(root): RootPaths.of(str(root), node_dir).make(1).exchange(1)}
    common = place.exchanges(1)[place.config.roots[0]]
    item = BatchItem(0, False, "", "/a", 1)
    for seen, top in ((ground(str(root), node_dir), exchanges[str(root)]), ("another", common)):
        asked = msgspec.structs.replace(request(place), ins=(InItem(0, SITE, "/a", str(root), seen),))
        [settled] = exchange.places(asked, [item], exchanges, node_dir)
        assert settled.local.startswith(f"{top}/")
    out = OutItem(0, SITE, "/a", str(root), False, 1, 1, ground="another")
    asked = msgspec.structs.replace(request(place, "out"), outs=(out,))
    with pytest.raises(EndpointFailed, match=f"sees another {root} than this job does; nothing was moved"):
        exchange.places(asked, [item], exchanges, node_dir)
