"""Names that nothing can misread, and directories that are ours alone."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodexfer import paths
from nodexfer.errors import DiskFull, NodeDirRemoved, NodeDirUnsafe
from nodexfer.paths import HomePaths, NodePaths, RootPaths, check_private, ground, private_directory, safe_name


@given(st.text())
def test_a_safe_name_is_one_component_that_gcp_shells_and_globs_take_as_it_is(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name) <= paths.LONGEST_NAME
    assert set(name) <= paths.SAFE | {"="}
    assert not name.startswith(".")


@given(st.text(), st.text())
def test_different_texts_have_different_safe_names(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


def test_safe_names_are_readable_where_nothing_is_dangerous() -> None:
    assert safe_name("slurm-test-12.0") == "slurm-test-12.0"
    assert safe_name("pbs-server-1[3].0") == "pbs-server-1=5b=3=5d=.0"
    long = "x" * 300
    assert safe_name(long) != safe_name(long + "x")


def test_a_private_directory_is_made_for_us_alone_and_found_again(tmp_path: Path) -> None:
    path = str(tmp_path / "d")
    for _ in range(2):
        assert private_directory(path) == path
    assert os.stat(path).st_mode & 0o777 == 0o700


def test_a_link_a_file_and_an_open_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o750)
    with pytest.raises(NodeDirUnsafe, match="symbolic link"):
        private_directory(str(tmp_path / "link"))
    with pytest.raises(NodeDirUnsafe, match="not a directory"):
        private_directory(str(tmp_path / "file"))
    with pytest.raises(NodeDirUnsafe, match="mode 750") as caught:
        private_directory(str(tmp_path / "open"))
    assert caught.value.next == f"chmod 700 {tmp_path}/open"


def test_somebody_elses_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private_directory(str(tmp_path / "d"))
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(NodeDirUnsafe, match=f"belongs to user id {owner}, not to you"):
        check_private(str(tmp_path / "d"))


def test_what_is_gone_is_said_with_what_mends_it(tmp_path: Path) -> None:
    with pytest.raises(NodeDirRemoved, match="somebody removed it"):
        check_private(str(tmp_path / "d"))
    with pytest.raises(NodeDirRemoved, match="does not exist") as caught:
        private_directory(str(tmp_path / "a" / "b"))
    assert caught.value.next == f"mkdir -p {tmp_path}/a"


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EACCES, NodeDirUnsafe)]
)
def test_a_directory_that_can_not_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def refuse(path: str, mode: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", refuse)
        with pytest.raises(kind, match=str(tmp_path)):
            private_directory(str(tmp_path / "d"))


def test_making_a_nodes_directories_is_repeatable_and_all_are_private(tmp_path: Path) -> None:
    node = NodePaths(str(tmp_path / "n"))
    node.make()
    node.make()
    for directory in (node.node_dir, node.keepers, node.spool, node.jobs, node.logs):
        check_private(directory)
    assert node.keeper("a/b").startswith(f"{node.keepers}/")
    assert "/" not in node.scratch("a/b").removeprefix(f"{node.jobs}/")


def test_the_node_dir_serves_the_root_that_it_lies_on_and_no_other() -> None:
    uid = os.geteuid()
    assert RootPaths.of("/tmp", "/tmp/n").base == "/tmp/n"
    assert RootPaths.of("/", "/tmp/n").base == "/tmp/n"
    assert RootPaths.of("/tmp/n2", "/tmp/n").above == f"/tmp/n2/nodexfer-{uid}"
    assert RootPaths.of("/local/", "/tmp/n").above == f"/local/nodexfer-{uid}"
    assert RootPaths("/b").exchange(7) == "/b/exchange/7"


def test_two_places_do_not_share_a_directory_on_a_root_that_both_see(tmp_path: Path) -> None:
    first, second = tmp_path / "a/n", tmp_path / "b/n"
    for node in (first, second):
        node.mkdir(parents=True)
    root = tmp_path / "local"
    root.mkdir()
    bases = {RootPaths.of(str(root), str(node)).make(1).base for node in (first, first, second)}
    assert len(bases) == 2
    assert {os.path.dirname(base) for base in bases} == {f"{root}/nodexfer-{os.geteuid()}"}


def test_a_root_is_known_by_what_it_is_and_not_by_its_path(tmp_path: Path) -> None:
    node, root, moved = tmp_path / "n", tmp_path / "local", tmp_path / "moved"
    for directory in (node, root):
        directory.mkdir()
    first = ground(str(root), str(node))
    assert ground(str(root), str(node)) == first
    root.rename(moved)
    root.mkdir()
    assert ground(str(root), str(node)) != first
    assert ground(str(moved), str(node)) == first
    assert ground(str(tmp_path), str(node)) == ground("/", str(node)), "the node_dir is looked at"


def test_making_a_roots_directories_makes_the_leases_exchange(tmp_path: Path) -> None:
    root = RootPaths(str(tmp_path / "r")).make(3)
    check_private(root.exchange(3))
    check_private(os.path.dirname(root.outgoing("x")))


def test_a_pools_name_can_not_leave_its_directory() -> None:
    assert HomePaths("/h").pool("..") == "/h/pool/==.."
