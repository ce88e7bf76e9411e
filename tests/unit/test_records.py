"""Records: whole or not at all, a broken one set aside, a newer one respected."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodexfer import records
from nodexfer.errors import (
    DiskFull,
    HomeFull,
    NodeDirRemoved,
    NodeError,
    PermissionRefused,
    RecordBroken,
    RecordNewer,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(body=st.dictionaries(st.text(), JSON))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, body: dict[str, object]) -> None:
    path = str(tmp_path_factory.getbasetemp() / "record.json")
    record = body | {"format": 1}
    records.write(path, record)
    assert records.read(path, 1) == record


def test_a_record_is_private_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    for shared in (False, True):
        records.write(str(path), {"format": 1}, shared=shared)
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["r.json"]


def test_no_record_is_none(tmp_path: Path) -> None:
    assert records.read(str(tmp_path / "none"), 1) is None


@pytest.mark.parametrize(
    "text",
    [b"", b'{"format": 1', b"[]", b"{}", b'{"format": "1"}', b'{"format": true}', b'"\xff"', b"[" * 100_000],
)
def test_a_broken_record_is_set_aside_with_the_reason(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(text)
    with pytest.raises(RecordBroken, match="it was set aside as"):
        records.read(str(path), 1)
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("r.json.broken-")
    assert aside.read_bytes() == text
    assert records.read(str(path), 1) is None


def test_two_broken_records_in_one_second_are_both_kept(tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / "r").write_text("x")
        with pytest.raises(RecordBroken):
            records.read(str(tmp_path / "r"), 1)
    assert len(os.listdir(tmp_path)) == 2


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def make_directory(path: Path) -> None:
    path.mkdir()


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


@pytest.mark.parametrize("make", [make_fifo, make_link, make_directory, make_socket])
def test_something_else_in_a_records_place_neither_blocks_nor_is_followed(
    tmp_path: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name has at most 107 bytes
    make(Path("r"))
    with pytest.raises(RecordBroken):
        records.read(str(tmp_path / "r"), 1)
    assert not os.path.lexists(tmp_path / "r")


def test_a_newer_record_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"format": 2, "unknown": 1}')
    with pytest.raises(RecordNewer, match=r"format 2, this one knows 1"):
        records.read(str(path), 1)
    assert path.read_text() == '{"format": 2, "unknown": 1}'


def test_an_unknown_field_is_no_reason_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "r").write_text('{"format": 1, "of_later": 1}')
    assert records.read(str(tmp_path / "r"), 1) == {"format": 1, "of_later": 1}


@pytest.mark.parametrize(("shared", "kind"), [(False, DiskFull), (True, HomeFull)])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_on_a_full_disk_the_old_record_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool, kind: type[Exception], number: int
) -> None:
    path = str(tmp_path / "r")
    records.write(path, {"format": 1, "old": True})

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(kind, match="No space is left"):
            records.write(path, {"format": 1}, shared=shared)
    assert records.read(path, 1) == {"format": 1, "old": True}
    assert os.listdir(tmp_path) == ["r"]


def test_a_directory_removed_under_us_is_named(tmp_path: Path) -> None:
    with pytest.raises(NodeDirRemoved, match="somebody removed it"):
        records.write(str(tmp_path / "gone" / "r"), {"format": 1})


@pytest.mark.parametrize("torn", [b"", b'{"format":1,"a', b"[]"])
def test_a_first_record_that_is_half_written_never_was(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "r.json"
    (tmp_path / "r.json.new").write_bytes(torn)
    assert records.read_locked(str(path), 1) is None
    assert os.listdir(tmp_path) == []
    records.write_locked(str(path), {"format": 1})
    assert records.read_locked(str(path), 1) == {"format": 1}


def test_a_new_record_whose_writer_died_before_it_had_its_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    records.write(f"{path}.new", {"format": 1, "new": True})
    assert records.read_locked(str(path), 1) == {"format": 1, "new": True}
    assert os.listdir(tmp_path) == ["r.json"]


def test_an_old_record_stands_whatever_there_is_of_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    records.write_locked(str(path), {"format": 1, "old": True})
    (tmp_path / "r.json.new").write_bytes(b'{"form')
    assert records.read_locked(str(path), 1) == {"format": 1, "old": True}


def test_a_broken_record_takes_what_there_is_of_a_new_one_with_it(tmp_path: Path) -> None:
    """Nobody knows which of the two came first: the next one starts anew."""
    path = tmp_path / "r.json"
    path.write_bytes(b"{")
    records.write(f"{path}.new", {"format": 1})
    with pytest.raises(RecordBroken):
        records.read_locked(str(path), 1)
    assert records.read_locked(str(path), 1) is None


def test_a_new_record_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    records.write(str(tmp_path / "r.json.new"), {"format": 2})
    with pytest.raises(RecordNewer):
        records.read_locked(str(tmp_path / "r.json"), 1)
    assert os.listdir(tmp_path) == ["r.json.new"]


# -- what can not be read is not broken


@pytest.fixture(params=[errno.EIO, errno.ESTALE, errno.EACCES, errno.ELOOP], ids=errno.errorcode.get)
def refused(request: pytest.FixtureRequest) -> Callable[..., int]:
    """In the place of a system call: what a file system says that is not well."""

    def refuse(*arguments: object) -> int:
        where = [argument for argument in arguments[:1] if isinstance(argument, str)]
        raise OSError(request.param, os.strerror(request.param), *where)

    return refuse


@pytest.mark.parametrize("call", ["open", "fstat", "read"])
@pytest.mark.parametrize("reader", [records.read, records.read_locked])
def test_what_can_not_be_read_now_is_named_and_stays_where_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., int],
    call: str,
    reader: Callable[[str, int], object],
) -> None:
    path = tmp_path / "r.json"
    records.write(str(path), {"format": 1})
    records.write(f"{path}.new", {"format": 1, "new": True})
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refused)
        with pytest.raises(OSError, match=r"r\.json") as caught:
            reader(str(path), 1)
    assert caught.value.filename == str(path)
    assert sorted(os.listdir(tmp_path)) == ["r.json", "r.json.new"]
    assert reader(str(path), 1) == {"format": 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_a_record_that_we_may_not_read_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    records.write(str(path), {"format": 1}, mode=0)
    with pytest.raises(PermissionError):
        records.read(str(path), 1)
    assert os.listdir(tmp_path) == ["r.json"]


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.EIO, NodeError, "/a/r can not be used: Input/output error (so says its file system"),
        (errno.ESTALE, NodeError, "Stale file handle"),
        (errno.EISDIR, NodeError, "Is a directory"),
        (errno.EACCES, PermissionRefused, "/a/r can not be used: Permission denied."),
        (errno.ENOENT, None, ""),
        (errno.EBADF, None, ""),
    ],
)
def test_an_error_of_a_file_system_names_the_file_and_what_to_look_at(
    number: int, kind: type[Exception] | None, words: str
) -> None:
    found = records.of_a_file_system(OSError(number, os.strerror(number), "/a/r"))
    assert type(found) is (kind or type(None))
    assert found is None or (words in found.message and found.next == "ls -ld /a/r")
    assert records.of_a_file_system(OSError(number, os.strerror(number))) is None
    assert records.of_a_file_system(ValueError()) is None
