"""A site collection serves its directory, all of it, and nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodexfer.sandbox.site import SiteStorage
from nodexfer.sandbox.storage import StorageError

AWKWARD = ["a b", "ä€𝄞", "100%", "a,b", "[x]", "-dash", "new\nline", "'quote'\"", ".hidden", "~", "bad\udcff"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


@pytest.fixture
def site(root: Path) -> SiteStorage:
    return SiteStorage(str(root))


def code(caught: pytest.ExceptionInfo[StorageError]) -> str:
    return caught.value.code


def write(site: SiteStorage, path: str, *blocks: bytes, offset: int = 0, mtime: float | None = None) -> list[int]:
    return list(site.write(path, offset, iter(blocks), mtime))


def test_what_is_written_is_read_listed_and_described(site: SiteStorage, root: Path) -> None:
    assert write(site, "/new/dir/file", b"abc", b"defg", mtime=1e9) == [3, 7, 7]
    assert (root / "new/dir/file").read_bytes() == b"abcdefg"
    found = site.stat("/new/dir/file")
    assert (found.name, found.type, found.size, found.modified) == ("file", "file", 7, 1e9)
    assert [entry.name for entry in site.ls("/new")] == ["dir"]
    assert site.ls("/new")[0].type == "dir"
    assert b"".join(site.read("/new/dir/file", 2)) == b"cdefg"


def test_awkward_names_survive(site: SiteStorage) -> None:
    for name in AWKWARD:
        write(site, f"/./{name}", name.encode(errors="surrogateescape"))
    assert sorted(entry.name for entry in site.ls("/")) == sorted(AWKWARD)
    for name in AWKWARD:
        assert b"".join(site.read(f"/./{name}", 0)) == name.encode(errors="surrogateescape")


def test_the_home_is_the_root(site: SiteStorage, root: Path) -> None:
    (root / "x").write_text("1")
    assert [entry.name for entry in site.ls("/~/")] == ["x"]
    assert site.stat("/").type == "dir"
    assert site.stat("/").name == "/"


def test_the_whole_machine_can_be_a_site(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    everything = SiteStorage("/")
    assert everything.stat(f"{tmp_path}/x").size == 1
    assert everything.stat("/").type == "dir"


@pytest.mark.parametrize("path", ["/../outside", "/a/../../outside", "/~/../outside"])
def test_dots_do_not_lead_out(site: SiteStorage, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").write_text("secret")
    with pytest.raises(StorageError) as caught:
        site.stat(path)
    assert code(caught) == "FILE_NOT_FOUND"


def operations(site: SiteStorage, path: str) -> Iterator[Callable[[], object]]:
    yield lambda: list(site.read(path, 0))
    yield lambda: write(site, path, b"x")
    yield lambda: site.checksum(path, "MD5")
    yield lambda: site.stat(path)


def test_links_do_not_lead_out(site: SiteStorage, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    (root / "file").symlink_to(outside / "file")
    (root / "dir").symlink_to(outside)
    for path in ("/file", "/dir/file"):
        for operation in operations(site, path):
            with pytest.raises(StorageError) as caught:
                operation()
            assert code(caught) == "PERMISSION_DENIED"
    for refused in (
        lambda: site.mkdir("/dir/new"),
        lambda: site.remove("/dir/file"),
        lambda: write(site, "/dir/new", b""),
    ):
        with pytest.raises(StorageError) as caught:
            refused()
        assert code(caught) == "PERMISSION_DENIED"
    assert (outside / "file").read_text() == "secret"
    assert os.listdir(outside) == ["file"]
    assert [(entry.name, entry.type) for entry in site.ls("/")] == [
        ("dir", "invalid_symlink"),
        ("file", "invalid_symlink"),
    ]


def test_links_inside_are_followed_and_shown(site: SiteStorage, root: Path) -> None:
    (root / "real").write_text("1234")
    (root / "link").symlink_to("real")
    (root / "dangling").symlink_to("nowhere")
    assert b"".join(site.read("/link", 0)) == b"1234"
    found = site.stat("/link")
    assert (found.type, found.size, found.link_target) == ("file", 4, "real")
    assert site.stat("/dangling").type == "invalid_symlink"
    site.remove("/link")
    assert (root / "real").exists()


def test_a_write_goes_on_where_the_last_one_was_confirmed(site: SiteStorage, root: Path) -> None:
    (root / "file").write_bytes(b"abcGARBAGE THAT NOBODY CONFIRMED")
    assert write(site, "/file", b"def", offset=3)[-1] == 6
    assert (root / "file").read_bytes() == b"abcdef"


def test_a_write_can_not_go_on_beyond_the_end(site: SiteStorage, root: Path) -> None:
    (root / "file").write_bytes(b"ab")
    with pytest.raises(StorageError) as caught:
        write(site, "/file", b"x", offset=3)
    assert code(caught) == "FILE_SIZE_CHANGED"


def test_a_source_that_breaks_leaves_what_was_written(site: SiteStorage, root: Path) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"first"
        raise StorageError("CONNECTION_RESET", "the source is gone")

    with pytest.raises(StorageError, match="CONNECTION_RESET"):
        list(site.write("/file", 0, blocks(), None))
    assert (root / "file").read_bytes() == b"first"


def test_errors_have_the_codes_of_the_service(site: SiteStorage, root: Path) -> None:
    (root / "dir").mkdir()
    (root / "dir/x").write_text("1")
    (root / "file").write_text("1")
    os.mkfifo(root / "fifo")
    cases: dict[str, list[Callable[[], object]]] = {
        "FILE_NOT_FOUND": [lambda: site.ls("/none"), lambda: site.mkdir("/none/x"), lambda: site.rename("/none", "/y")],
        "EXISTS": [lambda: site.mkdir("/dir"), lambda: site.mkdir("/file"), lambda: site.rename("/file", "/dir/x")],
        "NOT_A_DIRECTORY": [
            lambda: site.ls("/file"),
            lambda: site.stat("/file/x"),
            lambda: write(site, "/file/x", b""),
        ],
        "IS_A_DIRECTORY": [lambda: list(site.read("/dir", 0)), lambda: write(site, "/dir", b"")],
        "NOT_A_FILE": [lambda: list(site.read("/fifo", 0)), lambda: write(site, "/fifo", b"")],
        "INVALID_PATH_NAME": [lambda: site.ls("relative"), lambda: site.ls("/\0"), lambda: site.ls("/" + "x" * 300)],
        "ENDPOINT_ERROR": [lambda: site.remove("/dir"), lambda: site.checksum("/file", "NONE")],
    }
    for expected, refused in cases.items():
        for operation in refused:
            with pytest.raises(StorageError) as caught:
                operation()
            assert code(caught) == expected


def test_directories_and_files_are_made_renamed_and_removed(site: SiteStorage, root: Path) -> None:
    site.mkdir("/a/")
    site.rename("/a", "/b")
    write(site, "/b/x", b"")
    site.remove("/b/x")
    site.remove("/b")
    assert os.listdir(root) == []


def test_checksums_are_of_the_bytes_on_disk(site: SiteStorage, root: Path) -> None:
    data = os.urandom(3_000_000)
    (root / "file").write_bytes(data)
    assert site.checksum("/file", "MD5") == hashlib.md5(data).hexdigest()
    assert site.checksum("/file", "SHA-256") == hashlib.sha256(data).hexdigest()


def test_nothing_is_left_open(site: SiteStorage, root: Path) -> None:
    (root / "file").write_text("1")
    before = set(os.listdir("/proc/self/fd"))
    for path in ("/file", "/none", "/"):
        for operation in operations(site, path):
            with contextlib.suppress(StorageError):
                operation()
    reader = site.read("/file", 0)
    next(reader)
    reader.close()  # type: ignore[attr-defined]
    assert set(os.listdir("/proc/self/fd")) <= before
