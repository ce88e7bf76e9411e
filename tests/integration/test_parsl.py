"""Parsl apps find their files on the node: real executors, real bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from parsl.data_provider.files import File

from nodexfer.errors import SourceUnsupported, TransferUnproven, UrlMalformed
from nodexfer.integrations import shared
from nodexfer.integrations.parsl import Source
from tests.support import apps
from tests.support.parsl import BASH, LONG, everywhere, htex, local, named, threads, workflow
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LONG), BASH]


def by_id(user: User, path: str) -> File:
    return File(f"globus://{user.box.site_id}/{path}")


def received(user: User) -> list[str]:
    """The sources of all that was brought."""
    return sorted(f["source"] for one in user.receipts if one["direction"] == "in" for f in one["files"])


@everywhere
def test_inputs_are_there_and_outputs_arrive(user: User, tmp_path: Path, make: Callable[..., Any]) -> None:
    """By name and by UUID, several at a time, in every argument that Parsl looks at; bash apps with their streams."""
    (user.site / "one.txt").write_text("one")
    (user.site / "two.txt").write_text("two")
    (user.site / "tree/below").mkdir(parents=True)
    (user.site / "tree/below/leaf").write_text("leaf")
    with workflow(user, tmp_path / "run", make()):
        several = apps.upper(
            inputs=[named("one.txt"), by_id(user, "two.txt")],
            outputs=[File(f"globus://{user.box.other_id}/new/1.txt"), named("new/2.txt")],
        )
        anywhere = apps.content(named("one.txt"), inputs=[named("two.txt")], keyword=by_id(user, "one.txt"))
        tree = apps.copy_tree(named("tree/"), outputs=[named("copies/tree/")])
        streams = apps.concatenate(
            inputs=[named("one.txt"), named("two.txt")],
            outputs=[named("both.txt")],
            stdout=named("logs/out"),
            stderr=by_id(user, "logs/err"),
        )
        process, inputs, outputs = several.result(LONG)
        assert all(path.startswith(f"{user.root}/") for path in inputs + outputs)
        assert (process == os.getpid()) is (make is threads)
        assert (user.other / "new/1.txt").read_text() == "ONE"
        assert (user.site / "new/2.txt").read_text() == "TWO"
        assert anywhere.result(LONG) == ["one", "two", "one"]
        assert tree.result(LONG) == ["below"]
        assert (user.site / "copies/tree/below/leaf").read_text() == "leaf"
        assert streams.result(LONG) == 0
        assert (user.site / "both.txt").read_text() == "onetwo"
        assert (user.site / "logs/out").read_text() == "said\n"
        assert (user.site / "logs/err").read_text().endswith("told\n")
        # The app is over: nothing of its own is left, but what is shared.
        assert not [name for path in (user.root / "nodexfer/jobs").iterdir() for name in path.glob("parsl-*")]


@everywhere
def test_names_are_taken_as_they_are_written(user: User, tmp_path: Path, make: Callable[..., Any]) -> None:
    """What a URL's parser would take for something else: blanks, percent signs, queries, fragments, brackets."""
    names = ["a b.txt", "a%20b.txt", "what?.txt", "nr#1.txt", "x[1].txt", "colon:s.txt", "ä.txt", "semi;colon.txt"]
    for name in names:
        (user.site / name).write_text(name)
    with workflow(user, tmp_path / "run", make()):
        done = apps.upper(inputs=[named(name) for name in names], outputs=[named(f"out/{name}") for name in names])
        _, inputs, outputs = done.result(LONG)
        assert [os.path.basename(path) for path in inputs] == names
        assert [os.path.basename(path) for path in outputs] == names
        assert {path.name: path.read_text() for path in (user.site / "out").iterdir()} == {
            name: name.upper() for name in names
        }


@everywhere
def test_an_output_is_an_input_further_on(user: User, tmp_path: Path, make: Callable[..., Any]) -> None:
    """Without a transfer on the node that has it, and never a stale copy of what was at its URL before."""
    (user.site / "text").write_text("first")
    with workflow(user, tmp_path / "run", make(overwrite=True)):
        before = apps.content(named("text"))
        assert before.result(LONG) == ["first"]
        written = apps.writes("second", outputs=[named("text")])
        again = apps.upper(inputs=[written.outputs[0]], outputs=[named("capitals")])
        last = apps.content(again.outputs[0], written.outputs[0], named("text"))
        assert last.result(LONG) == ["SECOND", "second", "second"]
        if not shared.has_room(str(user.root)):
            pytest.skip("this disk has no room to keep what perhaps nobody wants")
    assert received(user) == [f"globus://{user.box.site_id}/text"]


@everywhere
def test_an_archive_is_there_as_what_is_in_it_and_a_checksum_is_compared(
    user: User, tmp_path: Path, make: Callable[..., Any]
) -> None:
    """For two apps by one transfer; the same archive as a plain file is another input; sources stay as they are."""
    data = {"deep/a": os.urandom(3000), "deep/b": b""}
    checksum = user.archive("set.tar.gz", data)
    (user.site / "plain").write_text("plain")
    packed = Source("nodexfer://site/set.tar.gz", extract=True, expect=checksum.upper())
    plain = Source("nodexfer://site/plain", expect=f"sha256:{hashlib.sha256(b'plain').hexdigest()}")
    with workflow(user, tmp_path / "run", make()):
        found = [apps.tree(inputs=[packed, named("set.tar.gz")]) for _ in range(2)]
        other = apps.upper(inputs=[plain], outputs=[named("out")])
        wrong = apps.tree(inputs=[Source("nodexfer://site/set.tar.gz", extract=True, expect=f"md5:{'0' * 32}")])
        for future in found:
            (unpacked, members), (file, _) = future.result(LONG)
            assert (os.path.basename(unpacked), members) == ("set", data)
            assert os.path.basename(file) == "set.tar.gz"
        assert other.result(LONG)[1]
        assert (user.site / "out").read_text() == "PLAIN"
        error = wrong.exception(LONG)
        assert isinstance(error, TransferUnproven), error
        assert "has the md5 checksum" in str(error)
        assert packed.local_path is None
    archive = f"globus://{user.box.site_id}/set.tar.gz"
    assert [source for source in received(user) if "set" in source] == [archive, archive]


def test_what_can_not_be_an_archive_or_a_checksum_is_told_where_it_is_written(user: User, tmp_path: Path) -> None:
    with pytest.raises(SourceUnsupported, match="not called like an archive"):
        Source("nodexfer://site/set.h5", extract=True)
    with pytest.raises(UrlMalformed, match="32 hexadecimal digits"):
        Source("nodexfer://site/set.h5", expect="md5:1")
    with pytest.raises(UrlMalformed, match="is not globus:"):
        Source("/site/set.tar", extract=True)
    with workflow(user, tmp_path / "run", threads()), pytest.raises(TypeError, match=r"set\.tar is an output"):
        apps.writes("", outputs=[Source("nodexfer://site/set.tar")])


def test_a_node_s_workers_share_a_transfer_and_an_endpoint(user: User, tmp_path: Path) -> None:
    (user.site / "shared").write_text("shared")
    with workflow(user, tmp_path / "run", htex(workers=4)):
        found = [apps.upper(inputs=[named("shared")], outputs=[named(f"out/{number}")]) for number in range(12)]
        processes = {future.result(LONG)[0] for future in found}
        assert len(processes) > 1
    assert received(user) == [f"globus://{user.box.site_id}/shared"]
    assert len({one["endpoint"] for one in user.receipts}) == 1


def test_two_blocks_on_a_node_have_one_endpoint(user: User, tmp_path: Path) -> None:
    (user.site / "shared").write_text("shared")
    with workflow(user, tmp_path / "run", htex(workers=1, provider=local(2))):
        managers: set[int] = set()

        def both() -> bool:
            found = [apps.parents(inputs=[named("shared")]) for _ in range(4)]
            managers.update(future.result(LONG)[1] for future in found)
            return len(managers) == 2

        eventually(both, LONG / 2)
        sent = [apps.upper(inputs=[named("shared")], outputs=[named(f"out/{number}")]) for number in range(4)]
        for future in sent:
            future.result(LONG)
    assert received(user) == [f"globus://{user.box.site_id}/shared"]
    assert len({one["endpoint"] for one in user.receipts}) == 1
    status = user.box.sandbox.status()["gcp"]
    assert max(status["user_live_max"].values()) == 1
