"""Archives: staged in as what is in them, whole or not at all; by either route."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

import nodexfer
from nodexfer.errors import DestinationExists, SourceUnsupported, TransferUnproven, UrlMalformed
from tests.support.holding import is_cleared
from tests.support.holding import nodexfer as command
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually


@pytest.fixture
def user(box: Box, monkeypatch: pytest.MonkeyPatch) -> User:
    user = User(box)
    for name, value in {**user.environ, "NODEXFER_JOB_ID": "py"}.items():
        monkeypatch.setenv(name, value)
    return user


def put(user: User, members: dict[str, bytes]) -> str:
    """set.tar.gz at the site; its checksum."""
    top = Path(os.environ["HOME"]) / "packed"
    for name, data in members.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
    (top / "run").chmod(0o755)
    with tarfile.open(user.site / "set.tar.gz", "w:gz") as archive:
        for name in members:
            archive.add(top / name, name)
    return "sha256:" + hashlib.sha256((user.site / "set.tar.gz").read_bytes()).hexdigest()


def contents(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_an_archive_becomes_the_directory_of_what_is_in_it(user: User) -> None:
    members = {"run": b"#!/bin/sh\n", "deep/er/f": os.urandom(3000)}
    checksum = put(user, members)
    with nodexfer.hold() as node:
        receipt = node.stage_in("site:/set.tar.gz", extract=True, expect=checksum)
        assert contents(node.scratch / "set") == members
        assert os.access(node.scratch / "set/run", os.X_OK)
        assert not os.access(node.scratch / "set/deep/er/f", os.X_OK)
        done = command("stage-in", "--extract", "--expect", checksum, "site:/set.tar.gz", f"{node.scratch}/other")
        assert done.code == 0, done
        assert contents(node.scratch / "other") == members
        assert sorted(os.listdir(node.scratch)) == ["other", "set"]
    (file,) = receipt.files
    assert (file.destination, file.checksum) == (str(node.scratch / "set"), checksum)
    assert user.leftovers() == []
    eventually(lambda: is_cleared(user.config))


def test_what_is_not_as_expected_is_not_published(user: User) -> None:
    checksum = put(user, {"run": b""})
    (user.site / "plain.tar").write_bytes(b"no archive" * 1000)
    (user.site / "directory.zip").mkdir()
    (user.site / "data.h5").write_bytes(b"")
    with nodexfer.hold() as node:
        with pytest.raises(TransferUnproven, match=r"site:/set\.tar\.gz has the sha256 checksum"):
            node.stage_in("site:/set.tar.gz", extract=True, expect="sha256:" + "0" * 64)
        with pytest.raises(TransferUnproven, match=r"site:/plain\.tar is damaged"):
            node.stage_in("site:/plain.tar", extract=True)
        with pytest.raises(SourceUnsupported, match=r"site:/directory\.zip is a directory"):
            node.stage_in("site:/directory.zip", extract=True)
        with pytest.raises(SourceUnsupported, match="not called like an archive"):
            node.stage_in("site:/data.h5", extract=True)
        with pytest.raises(UrlMalformed, match="of one source"):
            node.stage_in(["site:/set.tar.gz", "site:/data.h5"], expect=checksum)
        (node.scratch / "set").mkdir()
        with pytest.raises(DestinationExists, match="set exists"):
            node.stage_in("site:/set.tar.gz", extract=True)
        assert os.listdir(node.scratch) == ["set"]
    assert [receipt["state"] for receipt in user.receipts] == []
    assert user.leftovers() == []


def test_by_the_sites_own_collection_too(user: User) -> None:
    user.configure(
        f'[collections.site]\nid = "{user.box.site_id}"\nlocal_path = "{user.site}"\n'
        f'[collections.other]\nid = "{user.box.other_id}"\n'
    )
    with tarfile.open(user.other / "s.tar", "w") as archive:
        archive.add(__file__, "here.py")
    with nodexfer.hold() as node:
        receipt = node.stage_in("other:/s.tar", extract=True, route="via")
        assert receipt.route == "via"
        assert contents(node.scratch / "s") == {"here.py": Path(__file__).read_bytes()}
    assert user.leftovers() == []
