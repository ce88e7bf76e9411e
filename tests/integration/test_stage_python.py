"""The Python side with the sandbox behind: threads of one process, processes of one job, one line."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

import nodexfer
from nodexfer import procs
from nodexfer.errors import DestinationExists, NodexferError, SourceMissing
from tests.support.holding import is_cleared
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually


@pytest.fixture
def user(box: Box, monkeypatch: pytest.MonkeyPatch) -> User:
    user = User(box)
    for name, value in {**user.environ, "NODEXFER_JOB_ID": "py"}.items():
        monkeypatch.setenv(name, value)
    return user


def test_a_node_stages_in_and_out_and_leaves_nothing(user: User) -> None:
    (user.site / "a").write_text("a")
    (user.site / "b").write_text("b")
    with nodexfer.hold() as node:
        receipt = node.stage_in(["site:/a", "site:/b"])
        assert (node.scratch / "a").read_text() == "a"
        (node.scratch / "c").write_text("c")
        node.stage_out({"c": "site:/deep/c", "a": "site:/deep/"})
        with pytest.raises(SourceMissing):
            node.stage_in("site:/gone")
    assert receipt.bytes == 2
    assert sorted(path.name for path in (user.site / "deep").iterdir()) == ["a", "c"]
    assert not node.scratch.exists()
    assert user.leftovers() == []
    eventually(lambda: is_cleared(user.config))


def test_what_is_refused_is_told_in_the_words_of_python(user: User) -> None:
    (user.site / "a").write_text("a")
    (user.site / "set").mkdir()
    with nodexfer.hold() as node:
        (node.scratch / "a").write_text("mine")
        (node.scratch / "set").mkdir()
        with pytest.raises(DestinationExists, match=r"Give overwrite=True, or another name\."):
            node.stage_in("site:/a")
        with pytest.raises(DestinationExists, match=r"on collection site; .* Give merge=True or overwrite=True, or"):
            node.stage_out({"set": "site:/set"})
        assert type(node).scratch.__doc__, "help(Node) tells of it"


def test_threads_of_one_process_hold_and_stage_beside_each_other(user: User) -> None:
    for number in range(5):
        (user.site / f"f{number}").write_text(str(number))
    failures: list[NodexferError] = []

    def work(number: int) -> None:
        try:
            with nodexfer.hold() as node:
                node.stage_in(f"site:/f{number}", f"in{number}")
                (node.scratch / f"in{number}").rename(node.scratch / f"out{number}")
                node.stage_out(f"out{number}", f"site:/out{number}")
        except NodexferError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [(user.site / f"out{number}").read_text() for number in range(5)] == list("01234")
    assert len({receipt["endpoint"] for receipt in user.receipts}) == 1
    eventually(lambda: is_cleared(user.config))


def test_one_line_for_one_file(user: User) -> None:
    (user.site / "a").write_text("a")
    receipt = nodexfer.stage_in("site:/a", user.root / "here")
    assert Path(receipt.files[0].destination).read_text() == "a"
    assert nodexfer.stage_out(str(user.root / "here"), "site:/back").state == "done"
    assert (user.site / "back").read_text() == "a"
    eventually(lambda: is_cleared(user.config))


def test_a_process_without_a_main_guard_stages_as_well(user: User) -> None:
    (user.site / "a").write_text("a")
    line = f"import nodexfer; print(nodexfer.stage_in('site:/a', {str(user.root / 'x')!r}).state)"
    done = procs.run([sys.executable, "-c", line], timeout=60, environ=dict(os.environ))
    assert done.out == "done\n", done.err


def test_the_endpoint_for_transfers_by_other_means(user: User) -> None:
    with nodexfer.hold(endpoint=True) as node:
        assert node.endpoint() == node.endpoint()
