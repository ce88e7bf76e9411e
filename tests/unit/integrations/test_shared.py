"""One brings what many want: who waits, who fails, who tries again."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nodexfer.errors import DeadlinePassed, DiskFull, Interrupted, NodexferError, SourceMissing
from nodexfer.integrations import shared
from nodexfer.integrations.shared import Wanted
from nodexfer.integrations.sources import Source, requests
from tests.support.waiting import eventually


class Node:
    """Brings what does not begin with "bad"; ``gate`` holds it up until it is set."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.asked: list[dict[str, str]] = []
        self.options: list[dict[str, Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.ends = 1e12
        self.error: NodexferError | None = None

    def client(self) -> Any:
        return SimpleNamespace(deadline=self.ends)

    def stage_in(self, sources: Mapping[str, str], **options: Any) -> Any:
        self.asked.append(dict(sources))
        self.options.append(options)
        assert self.gate.wait(60)
        if self.error is not None:
            raise self.error
        for source in sources:
            if source.startswith("bad"):
                raise SourceMissing(f"{source} is not there.", "")
        for source, path in sources.items():
            Path(path).write_text(source)
        return SimpleNamespace(as_record=lambda: {"files": sorted(sources)})


def roomy(_: str) -> Any:
    return SimpleNamespace(f_bavail=80, f_bfree=90, f_blocks=100)


@pytest.fixture
def node(tmp_path: Path) -> Any:
    return Node(tmp_path)


def wanted(*sources: str) -> dict[str, Wanted]:
    return {f"key-of-{source}": Wanted(source, f"{source}.txt") for source in sources}


class Worker:
    """Wants ``sources`` in a thread of its own; ``outcome`` is the texts that it saw, or the error."""

    def __init__(self, node: Any, *sources: str) -> None:
        self.outcome: Any = None
        self._node, self._sources = node, sources
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with shared.using(self._node, wanted(*self._sources)) as found:
                self.outcome = [Path(path).read_text() for path in found.paths.values()]
        except NodexferError as error:
            self.outcome = error

    def result(self) -> Any:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.outcome


def waits(worker: Worker, node: Node, key: str) -> None:
    """Until the worker has looked at the lock of ``key``: it waits in the same process, so by its open files."""
    lock = f"{node.scratch}/shared/{key}.lock"

    def opened() -> int:
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return sum(os.path.realpath(link) == lock for link in links)

    eventually(lambda: opened() >= 2)


def test_what_is_there_is_not_brought_again(node: Any) -> None:
    for _ in range(2):
        with shared.using(node, wanted("a", "b")) as found:
            assert [Path(found.paths[f"key-of-{name}"]).read_text() for name in "ab"] == ["a", "b"]
    assert len(node.asked) == 1
    assert sorted(node.asked[0]) == ["a", "b"]


def test_only_who_brought_it_has_the_receipt(node: Any) -> None:
    with shared.using(node, wanted("a")) as first, shared.using(node, wanted("a", "b")) as second:
        assert first.receipts == [{"files": ["a"]}]
        assert second.receipts == [{"files": ["b"]}]


def test_what_was_brought_before_an_error_is_told_and_there_for_the_next_one(node: Any) -> None:
    """What has a checksum has a request of its own."""
    plain = wanted("a", "b")
    several = {**plain, "c": Wanted("c", "c"), "d": Wanted("bad", "d", extract=True, expect="md5:1")}
    with pytest.raises(SourceMissing) as caught, shared.using(node, several):
        pass
    assert caught.value.receipts == ({"files": ["a", "b", "c"]},)
    with shared.using(node, plain) as found:
        assert found.receipts == []
    assert [sorted(asked) for asked in node.asked] == [["a", "b", "c"], ["bad"]]
    assert node.options == [{}, {"extract": True, "expect": "md5:1"}]


def test_as_few_requests_as_can_be() -> None:
    md5 = "md5:1"
    several = [Source("a"), Source("b"), Source("c", True), Source("a", True), Source("d", True, md5)]
    several += [Source("e", False, md5), Source("f", False, md5)]
    found = [(sorted(urls), own) for urls, own in requests(dict.fromkeys(several))]
    assert found == [
        (["a", "b"], {}),
        (["a", "c"], {"extract": True}),
        (["d"], {"extract": True, "expect": md5}),
        (["e"], {"expect": md5}),
        (["f"], {"expect": md5}),
    ]


def test_who_comes_meanwhile_waits_for_it(node: Any) -> None:
    node.gate.clear()
    first = Worker(node, "a")
    eventually(lambda: node.asked)
    others = [Worker(node, "a"), Worker(node, "a", "b")]
    waits(others[0], node, "key-of-a")
    node.gate.set()
    assert first.result() == ["a"]
    assert others[0].result() == ["a"]
    assert others[1].result() == ["a", "b"]
    assert [sorted(asked) for asked in node.asked] == [["a"], ["b"]]


def test_who_waited_while_it_failed_fails_alike(node: Any) -> None:
    node.gate.clear()
    first = Worker(node, "bad")
    eventually(lambda: node.asked)
    second = Worker(node, "bad", "a")
    waits(second, node, "key-of-bad")
    node.gate.set()
    for worker in (first, second):
        assert isinstance(worker.result(), SourceMissing)
        assert "bad is not there" in str(worker.result())
    assert len(node.asked) == 1


def test_a_failure_by_what_the_waiter_does_not_want_is_not_the_waiter_s(node: Any) -> None:
    node.gate.clear()
    first = Worker(node, "a", "bad")
    eventually(lambda: node.asked)
    second = Worker(node, "a")
    waits(second, node, "key-of-a")
    node.gate.set()
    assert isinstance(first.result(), SourceMissing)
    assert second.result() == ["a"]


def test_an_interrupt_is_nobody_else_s(node: Any) -> None:
    node.gate.clear()
    node.error = Interrupted("Interrupted.", "")
    first = Worker(node, "a")
    eventually(lambda: node.asked)
    second = Worker(node, "a")
    waits(second, node, "key-of-a")
    node.gate.set()
    assert isinstance(first.result(), Interrupted)
    assert isinstance(second.result(), Interrupted)  # its own
    assert len(node.asked) == 2


def test_the_next_one_tries_again(node: Any) -> None:
    node.error = SourceMissing("Not yet.", "")
    assert isinstance(Worker(node, "a").result(), SourceMissing)
    node.error = None
    assert Worker(node, "a").result() == ["a"]


def test_nobody_waits_beyond_the_end_of_the_job(node: Any) -> None:
    node.gate.clear()
    node.ends = 0.0
    first = Worker(node, "a")
    eventually(lambda: node.asked)
    assert isinstance(Worker(node, "a").result(), DeadlinePassed)
    node.gate.set()
    assert first.result() == ["a"]


def test_orders_of_keys_do_not_lock_each_other_out(node: Any) -> None:
    names = [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")]
    found = [Worker(node, *order) for order in names * 5]
    assert all(sorted(worker.result()) == ["a", "b", "c"] for worker in found)
    assert len(node.asked) == 1


def test_who_waits_for_one_lock_has_none_that_comes_later(node: Any) -> None:
    (node.scratch / "shared").mkdir()
    with open(node.scratch / "shared/key-of-a.lock", "w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        worker = Worker(node, "b", "a")
        waits(worker, node, "key-of-a")
        assert not (node.scratch / "shared/key-of-b.lock").exists()
    assert worker.result() == ["b", "a"]


def test_what_is_shared_can_not_be_written_to(node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree/below").mkdir(parents=True)
    (tmp_path / "tree/below/file").write_text("x")
    (tmp_path / "tree/link").symlink_to("below/file")
    os.makedirs(f"{node.scratch}/shared")
    monkeypatch.setattr(os, "statvfs", roomy)
    assert shared.keep(node, "kept", str(tmp_path / "tree"))
    with shared.using(node, {"kept": Wanted("t", "tree"), **wanted("a")}) as found:
        for path in (found.paths["key-of-a"], f"{found.paths['kept']}/below/file"):
            assert stat.S_IMODE(os.stat(path).st_mode) & 0o222 == 0
        # A directory without write permission could not be removed any more.
        assert os.stat(f"{found.paths['kept']}/below").st_mode & 0o200


def test_an_output_is_kept_unless_something_is_there(
    node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", roomy)
    with shared.using(node, wanted("a")) as found:
        (tmp_path / "a.txt").write_text("another")
        assert not shared.keep(node, "key-of-a", str(tmp_path / "a.txt"))
        assert Path(found.paths["key-of-a"]).read_text() == "a"
    assert not shared.keep(node, "key-of-a", str(tmp_path / "a.txt"))  # nor where nobody uses it
    assert Path(found.paths["key-of-a"]).read_text() == "a"


class SmallNode(Node):
    """Has room for two inputs."""

    def stage_in(self, sources: Mapping[str, str], **options: Any) -> Any:
        there = [path for path in (self.scratch / "shared").glob("*/*") if not path.parent.name.startswith(".")]
        if len(there) + len(sources) > 2:
            self.asked.append({})
            raise DiskFull("No space is left.", "")
        return super().stage_in(sources, **options)


def test_what_nobody_uses_makes_room_for_what_is_wanted(tmp_path: Path) -> None:
    node: Any = SmallNode(tmp_path)
    with shared.using(node, wanted("used")) as used:
        with shared.using(node, wanted("unused")) as unused:
            pass
        with shared.using(node, wanted("new")) as new:
            assert Path(new.paths["key-of-new"]).read_text() == "new"
            assert Path(used.paths["key-of-used"]).read_text() == "used"
            assert not os.path.exists(unused.paths["key-of-unused"])
            # Where all is in use, it is said.
            with pytest.raises(DiskFull), shared.using(node, wanted("more")):
                pass
    assert not list((tmp_path / "shared").glob(".gone*"))
    # What was removed is brought again.
    with shared.using(node, wanted("unused")) as again:
        assert Path(again.paths["key-of-unused"]).read_text() == "unused"


def test_an_output_is_not_kept_where_less_is_free_than_used(
    node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "out").write_text("out")
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=39, f_bfree=60, f_blocks=100))
    assert not shared.keep(node, "kept", str(tmp_path / "out"))
    assert (tmp_path / "out").exists()
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=40, f_bfree=60, f_blocks=100))
    assert shared.keep(node, "kept", str(tmp_path / "out"))


def test_what_is_removed_the_moment_it_is_let_go_is_brought_again(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    removals = [True, False]

    def removed(path: str) -> None:
        if removals.pop(0):
            os.unlink(path)

    monkeypatch.setattr(shared, "write_protect", removed)
    with shared.using(node, wanted("a")) as found:
        assert Path(found.paths["key-of-a"]).read_text() == "a"
    assert len(node.asked) == 2
