"""An archive is somebody else's data: what comes out of it, and what does not."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nodexfer.errors import DeadlinePassed, NodexferError, SourceUnsupported, TransferUnproven, UrlMalformed
from nodexfer.staging import unpack

LATER = time.time() + 1e6


def tar(path: Path, *members: tarfile.TarInfo | tuple[str, bytes], mode: str = "w:gz") -> str:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size, info.mode = len(member[1]), 0o644
                archive.addfile(info, io.BytesIO(member[1]))
    return str(path)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def contents(top: Path) -> dict[str, bytes]:
    return {str(p.relative_to(top)): p.read_bytes() for p in sorted(top.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(("suffix", "mode"), [("tar", "w"), ("tar.gz", "w:gz"), ("tar.bz2", "w:bz2"), ("txz", "w:xz")])
def test_files_and_directories_come_out(suffix: str, mode: str, tmp_path: Path) -> None:
    name = f"data.{suffix}"
    archive = tar(tmp_path / name, special("top", tarfile.DIRTYPE), ("top/a b", b"1"), ("./c", b""), mode=mode)
    assert unpack.unpack(archive, str(tmp_path / "new"), name, LATER) == 2
    assert contents(tmp_path / "new") == {"top/a b": b"1", "c": b""}


def test_a_zip_comes_out_too_and_a_program_stays_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        info = zipfile.ZipInfo("bin/run")
        info.external_attr = 0o100755 << 16
        archive.writestr(info, b"#!/bin/sh\n")
        archive.writestr("empty/", b"")
    assert unpack.unpack(str(tmp_path / "d.zip"), str(tmp_path / "new"), "d.zip", LATER) == 1
    assert os.access(tmp_path / "new/bin/run", os.X_OK)
    assert (tmp_path / "new/empty").is_dir()


@pytest.mark.parametrize(
    "member",
    [
        ("../out", b"x"),
        ("/abs", b"x"),
        ("a/../../out", b"x"),
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard", tarfile.LNKTYPE, "a"),
        special("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda member: member[0] if isinstance(member, tuple) else member.name,
)
def test_what_leads_out_or_is_no_file_is_refused_by_name(
    member: tarfile.TarInfo | tuple[str, bytes], tmp_path: Path
) -> None:
    archive = tar(tmp_path / "d.tgz", ("a", b"1"), member)
    with pytest.raises(SourceUnsupported, match=r"d\.tgz"):
        unpack.unpack(archive, str(tmp_path / "new"), "d.tgz", LATER)
    assert sorted(os.listdir(tmp_path)) == ["d.tgz", "new"]
    assert contents(tmp_path / "new") == {"a": b"1"}


def test_a_file_that_is_in_it_twice_is_refused(tmp_path: Path) -> None:
    archive = tar(tmp_path / "d.tar", ("a", b"1"), ("a", b"2"), mode="w")
    with pytest.raises(SourceUnsupported, match="a is in it twice"):
        unpack.unpack(archive, str(tmp_path / "new"), "d.tar", LATER)


@pytest.mark.parametrize("name", ["d.tar.gz", "d.zip"])
def test_a_damaged_archive_is_never_unpacked_in_silence(name: str, tmp_path: Path) -> None:
    if name == "d.zip":
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("a", os.urandom(10_000))
    else:
        tar(tmp_path / name, ("a", os.urandom(10_000)))
    whole = (tmp_path / name).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"no archive", whole[:5000] + b"????" + whole[5004:]):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(TransferUnproven, match=name):
            unpack.unpack(str(tmp_path / name), str(tmp_path / os.urandom(4).hex()), name, LATER)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_that_is_cut_between_its_members_is_not_taken_for_whole(mode: str, tmp_path: Path) -> None:
    name = "d.tar" if mode == "w" else "d.tgz"
    tar(tmp_path / "whole.tar", ("a", b"1" * 100), ("b", b"2" * 100), mode="w")
    whole = (tmp_path / "whole.tar").read_bytes()
    second = 2 * tarfile.BLOCKSIZE
    broken = whole[:second] + b"?" * tarfile.BLOCKSIZE + whole[second + tarfile.BLOCKSIZE :]
    for damaged in (whole[:second], whole[: second + 100], whole[: 2 * second], broken):
        (tmp_path / name).write_bytes(damaged if mode == "w" else gzip.compress(damaged))
        with pytest.raises(TransferUnproven, match=f"{name} is damaged"):
            unpack.unpack(str(tmp_path / name), str(tmp_path / os.urandom(4).hex()), name, LATER)


def test_a_cut_tar_is_refused_by_each_tarfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Security releases of Python (Debian's 3.11.2-6+deb12u9) ask a ``frombuf`` of their own for a header."""
    frombuf = tarfile.TarInfo.frombuf.__func__  # type: ignore[attr-defined]

    def fromtarfile(cls: type[tarfile.TarInfo], archive: tarfile.TarFile) -> tarfile.TarInfo:
        assert archive.fileobj is not None
        found: Any = frombuf(cls, archive.fileobj.read(tarfile.BLOCKSIZE), archive.encoding, archive.errors)
        found.offset = archive.fileobj.tell() - tarfile.BLOCKSIZE
        return found._proc_member(archive)  # type: ignore[no-any-return]

    monkeypatch.setattr(tarfile.TarInfo, "fromtarfile", classmethod(fromtarfile))
    whole = Path(tar(tmp_path / "d.tar", ("a", b"1"), ("b", b"2"), mode="w"))
    assert unpack.unpack(str(whole), str(tmp_path / "new"), "d.tar", LATER) == 2
    whole.write_bytes(whole.read_bytes()[: 2 * tarfile.BLOCKSIZE])
    with pytest.raises(TransferUnproven, match=r"d\.tar is damaged"):
        unpack.unpack(str(whole), str(tmp_path / "cut"), "d.tar", LATER)


def test_a_zip_of_which_any_bit_is_flipped_is_unpacked_whole_or_not_at_all(tmp_path: Path) -> None:
    """A longer comment of one entry swallows those behind it, and all that is left is sound."""
    archive, files = tmp_path / "d.zip", {name: name.encode() * 9 for name in ("a", "b")}
    with zipfile.ZipFile(archive, "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    whole = archive.read_bytes()
    refused = 0
    for at in range(whole.find(b"PK\1\2"), len(whole)):
        for bit in range(8):
            archive.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            new = tmp_path / f"{at}-{bit}"
            try:
                unpack.unpack(str(archive), str(new), "d.zip", LATER)
            except NodexferError:
                refused += 1
            else:
                assert contents(new) == files, (at - len(whole), bit)
    assert refused > 300


def test_a_zip_may_have_more_entries_than_its_shorter_record_can_say(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as packed:
        for number in range(65_540):
            packed.writestr(f"{number}/", b"")
    assert sum(1 for _ in unpack._of_zip(str(tmp_path / "d.zip"), "d.zip")) == 65_540


@pytest.mark.parametrize("field", ["password", "method"])
def test_a_zip_that_can_not_be_read_says_so_in_a_sentence(field: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("a", b"1")
    content = bytearray((tmp_path / "d.zip").read_bytes())
    central = content.find(b"PK\1\2")
    for at in (6, central + 8) if field == "password" else (8, central + 10):  # flags, method
        content[at] = 1 if field == "password" else 99
    (tmp_path / "d.zip").write_bytes(content)
    with pytest.raises(SourceUnsupported, match=r"d\.zip is not unpacked: .*(password|method).*without --extract"):
        unpack.unpack(str(tmp_path / "d.zip"), str(tmp_path / "new"), "d.zip", LATER)


def test_it_ends_by_its_deadline(tmp_path: Path) -> None:
    archive = tar(tmp_path / "d.tar", ("a", b"1"), mode="w")
    with pytest.raises(DeadlinePassed):
        unpack.unpack(archive, str(tmp_path / "new"), "d.tar", time.time() - 1)
    with pytest.raises(DeadlinePassed):
        unpack.refuse_other(archive, "d.tar", "md5:" + "0" * 32, time.time() - 1)


def test_a_checksum_is_that_of_the_contents(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"data")
    for algorithm in ("md5", "sha256"):
        wanted = hashlib.new(algorithm, b"data").hexdigest()
        unpack.refuse_other(str(tmp_path / "f"), "site:/f", f"{algorithm}:{wanted.upper()}", LATER)
        with pytest.raises(TransferUnproven, match="site:/f has the"):
            unpack.refuse_other(str(tmp_path / "f"), "site:/f", f"{algorithm}:{wanted[::-1]}", LATER)


@pytest.mark.parametrize("text", ["", "abc", "crc:00", "md5:zz", "sha256:00", "md5:" + "g" * 32])
def test_a_checksum_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UrlMalformed, match="is not"):
        unpack.parse_checksum(text)


def test_the_name_without_its_suffix() -> None:
    assert [unpack.stem(name) for name in ("/x/a.b.tar.gz", "c.tgz", "d.zip")] == ["a.b", "c", "d"]
    for name in ("/x/a.h5", ".zip", "tar.gz.x"):
        with pytest.raises(SourceUnsupported, match="not called like an archive"):
            unpack.stem(name)
