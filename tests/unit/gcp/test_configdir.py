"""configdir: private copies, whole or not there; a setup key is in no message."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from nodexfer.errors import EndpointFailed, GcpMissing, NodeError, PoolEntryBroken
from nodexfer.gcp import configdir
from nodexfer.gcp.install import Program

ID = "1f3a5b7c-0000-4000-8000-0123456789ab"
LOGGED = """
os.mkdir(sys.argv[5] + "/lta")
open(sys.argv[5] + "/lta/register.log", "w").write("no " + sys.argv[3])
sys.exit(2)
"""
KEY = "deadbeef-1111-4222-8333-444455556666"


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    config = tmp_path / "node-1/config"
    (config / "lta").mkdir(parents=True)
    (config / "lta/client-id.txt").write_text(ID + "\n")
    (config / "lta/ftp-key2.pem").write_text("key")
    (config / "lta/config").write_text("SERVER=relay\n")
    (config / "lta/config-paths").write_text("~/,0,1\n")
    return config


def fake(tmp_path: Path, body: str) -> Program:
    path = tmp_path / "globusconnectpersonal"
    path.write_text(f"#!{sys.executable} -IS\nimport os, sys\n{body}\n")
    path.chmod(0o700)
    return Program(str(path), str(tmp_path))


def test_a_check_out_is_private_and_names_the_endpoint(entry: Path, tmp_path: Path) -> None:
    (entry / "lta/link").symlink_to("/etc/passwd")
    entry.joinpath("lta/ftp-key2.pem").chmod(0o644)
    working = tmp_path / "gcp-here"
    assert configdir.check_out(str(entry), str(working)) == ID
    modes = {name: stat.S_IMODE((working / name).stat().st_mode) for name in ("", "lta", "lta/ftp-key2.pem")}
    assert modes == {"": 0o700, "lta": 0o700, "lta/ftp-key2.pem": 0o600}
    assert not (working / "lta/link").is_symlink()


def test_a_check_out_replaces_what_an_older_one_left(entry: Path, tmp_path: Path) -> None:
    working = tmp_path / "gcp-here"
    for left in (working, tmp_path / "gcp-here.half"):
        (left / "lta").mkdir(parents=True)
        (left / "lta/old").touch()
    configdir.check_out(str(entry), str(working))
    assert not (working / "lta/old").exists()
    assert not (tmp_path / "gcp-here.half").exists()


def test_only_changed_files_come_back_and_never_an_empty_one(entry: Path, tmp_path: Path) -> None:
    working = tmp_path / "gcp-here"
    configdir.check_out(str(entry), str(working))
    assert configdir.check_in(str(working), str(entry)) == []
    (working / "lta/ftp-key2.pem").write_text("new key")
    (working / "lta/config").write_text("")
    (working / "lta/config-paths").write_text("/,0,1\n")
    (working / "lta/relay.log").write_text("chatter")
    (working / "lta/ftp-cert3.pem").write_text("a new one")
    assert sorted(configdir.check_in(str(working), str(entry))) == ["lta/ftp-cert3.pem", "lta/ftp-key2.pem"]
    assert (entry / "lta/ftp-key2.pem").read_text() == "new key"
    assert (entry / "lta/config").read_text() == "SERVER=relay\n"
    assert sorted(os.listdir(entry / "lta")) == [
        "client-id.txt",
        "config",
        "config-paths",
        "ftp-cert3.pem",
        "ftp-key2.pem",
    ]


def test_another_endpoints_files_never_come_back(entry: Path, tmp_path: Path) -> None:
    working = tmp_path / "gcp-here"
    configdir.check_out(str(entry), str(working))
    (working / "lta/client-id.txt").write_text(ID.replace("1", "2"))
    with pytest.raises(PoolEntryBroken, match="another endpoint"):
        configdir.check_in(str(working), str(entry))


@pytest.mark.parametrize("damage", ["gone", "no id", "half an id", "a link", "a file"])
def test_a_broken_entry_is_named_with_the_command_that_mends_it(entry: Path, tmp_path: Path, damage: str) -> None:
    if damage in ("gone", "a link", "a file"):
        entry.rename(tmp_path / "elsewhere")
    if damage == "a link":
        entry.symlink_to(tmp_path / "elsewhere")
    if damage == "a file":
        entry.touch()
    if damage == "no id":
        (entry / "lta/client-id.txt").unlink()
    if damage == "half an id":
        (entry / "lta/client-id.txt").write_text(ID[:20])
    with pytest.raises(PoolEntryBroken, match="pool entry node-1 is broken") as caught:
        configdir.check_out(str(entry), str(tmp_path / "gcp-here"))
    assert caught.value.next == "nodexfer pool remove node-1"
    assert not (tmp_path / "gcp-here").exists()


def test_an_entry_of_another_user_is_broken_for_us(
    entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GCP would refuse it, and its key is theirs."""
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    with pytest.raises(PoolEntryBroken, match=f"belongs to user id {us}"):
        configdir.check_out(str(entry), str(tmp_path / "gcp-here"))


def test_a_setup_makes_a_private_directory_and_gives_the_endpoint(tmp_path: Path) -> None:
    body = f"""
assert sys.argv[1:4] == ["-setup", "--setup-key", "{KEY}"] and sys.argv[4] == "-dir", sys.argv
assert sys.stdin.read() == ""
assert os.environ["PATH"] == "/usr/bin:/bin" and "SECRET" not in os.environ
os.mkdir(sys.argv[5] + "/lta")
open(sys.argv[5] + "/lta/client-id.txt", "w").write("{ID}")
"""
    target = tmp_path / "pool/config"
    found = configdir.setup(fake(tmp_path, body), KEY, str(target), environ={"HOME": "/", "USER": "u", "SECRET": "x"})
    assert found == ID
    assert stat.S_IMODE(target.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("body", "words", "seconds"),
    [
        ("print('Setup Code', sys.argv[3], 'not found'); sys.exit(1)", "Setup Code <setup key> not found", 30.0),
        (LOGGED, "exit code 2: no <setup key>", 30.0),
        ("import time; time.sleep(60)", "did not end within", 1.0),
    ],
)
def test_a_failed_setup_is_told_without_the_key(tmp_path: Path, body: str, words: str, seconds: float) -> None:
    import traceback

    with pytest.raises(EndpointFailed, match=words) as caught:
        configdir.setup(fake(tmp_path, body), KEY, str(tmp_path / "config"), timeout=seconds)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_a_program_that_can_not_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(GcpMissing, match="could not be started"):
        configdir.setup(Program(str(tmp_path / "none"), ""), KEY, str(tmp_path / "config"))


@pytest.mark.parametrize("call", ["lstat", "open"])
def test_what_can_not_be_read_now_is_no_broken_entry(
    entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    working = tmp_path / "gcp-here"
    configdir.check_out(str(entry), str(working))
    real = getattr(os, call)

    def refuse(path: str, *arguments: Any, **more: Any) -> Any:
        if str(path).startswith(str(entry)):
            raise OSError(errno.ESTALE, "Stale file handle", path)
        return real(path, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(NodeError, match="can not be used: Stale file handle") as caught:
            configdir.check_out(str(entry), str(working))
    assert str(entry) in caught.value.next
    assert configdir.endpoint_id(str(working)) == ID, "what was there before is there still"


def test_a_directory_in_the_place_of_the_id_is_named(entry: Path, tmp_path: Path) -> None:
    (entry / "lta/client-id.txt").unlink()
    (entry / "lta/client-id.txt").mkdir()
    with pytest.raises(NodeError, match=r"lta/client-id\.txt can not be used: Is a directory"):
        configdir.endpoint_id(str(entry))
    (entry / "lta/client-id.txt").rmdir()
    (entry / "lta/client-id.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PoolEntryBroken, match="is a symbolic link"):
        configdir.endpoint_id(str(entry))
