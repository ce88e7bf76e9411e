"""auth: found without asking, believed only where it is private, renewed once for all."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nodexfer.config import Config, load
from nodexfer.errors import (
    ConfigInvalid,
    HomeFull,
    NodeError,
    NodexferError,
    PermissionRefused,
    SecretExposed,
    TokenExpired,
    TokenMissing,
)
from nodexfer.globus import auth
from nodexfer.globus.auth import ClientSecret, StoredToken, Token, find

SECRET = "the-secret-of-the-client"
ENVIRON = {"NODEXFER_CLIENT_ID": "an-id", "NODEXFER_CLIENT_SECRET": SECRET}


def settings(home: Path) -> Config:
    return load({"HOME": str(home), "NODEXFER_HOME": str(home)})


def write(path: Path, value: Any, mode: int = 0o600) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    path.chmod(mode)
    return path


def tokens(expires_in: float, **more: Any) -> dict[str, Any]:
    row = {
        "resource_server": "transfer.api.globus.org",
        "identity_id": "me",
        "scope": "all",
        "access_token": "first",
        "refresh_token": "again",
        "expires_at_seconds": int(time.time() + expires_in),
        "token_type": "Bearer",
        **more,
    }
    return {
        "data": {"DEFAULT": {"transfer.api.globus.org": row}},
        "format_version": "2.0",
        "globus-sdk.version": "4.9.1",
        "client_id": "an-app",
    }


def answer(refresh_token: str, app: str) -> Mapping[str, Any]:
    assert (refresh_token, app) == ("again", "an-app")
    return {"access_token": "second", "expires_in": 172800, "refresh_token": "once more"}


def never(refresh_token: str, app: str) -> Mapping[str, Any]:
    raise AssertionError("it was not to be renewed")


def test_the_environment_comes_before_the_file_and_the_file_before_a_stored_token(tmp_path: Path) -> None:
    write(tmp_path / "credentials.json", {"client_id": "from-file", "client_secret": SECRET})
    write(tmp_path / "tokens.json", tokens(3600))
    config = settings(tmp_path)
    from_environment = find(config, ENVIRON)
    assert isinstance(from_environment, ClientSecret)
    assert from_environment.client_id == "an-id"
    from_file = find(config, {})
    assert isinstance(from_file, ClientSecret)
    assert (from_file.client_id, from_file.secret) == ("from-file", SECRET)
    (tmp_path / "credentials.json").unlink()
    stored = find(config, {})
    assert isinstance(stored, StoredToken)
    assert (stored.read().value, stored.identity()) == ("first", "me")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "nothing to log in"),
        ({"NODEXFER_CLIENT_ID": "an-id"}, "NODEXFER_CLIENT_SECRET is not"),
        ({"NODEXFER_CLIENT_SECRET": SECRET}, "NODEXFER_CLIENT_ID is not"),
    ],
)
def test_what_is_missing_is_said_with_the_next_command(tmp_path: Path, environ: dict[str, str], words: str) -> None:
    with pytest.raises(TokenMissing, match=words) as caught:
        find(settings(tmp_path), environ)
    assert caught.value.next.startswith("export NODEXFER_CLIENT")
    assert SECRET not in str(caught.value)


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", ["credentials.json", "tokens.json"])
@pytest.mark.parametrize(
    ("expose", "words"),
    [
        (lambda path: path.chmod(0o640), "mode 640"),
        (lambda path: path.chmod(0o604), "mode 604"),
        (link, "symbolic link"),
        (directory, "not a file"),
    ],
)
def test_a_secret_that_is_not_ours_alone_is_not_used(
    tmp_path: Path, name: str, expose: Callable[[Path], None], words: str
) -> None:
    value = {"client_id": "x", "client_secret": SECRET} if name == "credentials.json" else tokens(3600)
    expose(write(tmp_path / name, value))
    with pytest.raises(SecretExposed, match=words) as caught:
        find(settings(tmp_path), {})
    assert name in caught.value.next


def test_somebody_elses_secret_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "credentials.json", {"client_id": "x", "client_secret": SECRET})
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(SecretExposed, match="belongs to user id"):
        auth.read_private(str(path))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("credentials.json", f'{{"client_id": "x", "client_secret": "{SECRET}"'),
        ("credentials.json", '["x"]'),
        ("credentials.json", '{"client_id": "x"}'),
        ("credentials.json", '{"client_id": "x", "client_secret": 7}'),
        ("tokens.json", "{}"),
        ("tokens.json", '{"data": {"DEFAULT": {"transfer.api.globus.org": {"access_token": 1}}}}'),
        ("tokens.json", '{"data": [1]}'),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named_and_not_quoted(tmp_path: Path, name: str, text: str) -> None:
    import traceback

    write(tmp_path / name, text)
    with pytest.raises(ConfigInvalid, match=name) as caught:
        find(settings(tmp_path), {})
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_token_for_another_service_is_none(tmp_path: Path) -> None:
    write(tmp_path / "tokens.json", {"data": {"DEFAULT": {"auth.globus.org": {}}}, "format_version": "2.0"})
    with pytest.raises(TokenMissing, match=r"no token for transfer\.api\.globus\.org"):
        find(settings(tmp_path), {})


def test_nothing_secret_is_shown_by_repr() -> None:
    assert SECRET not in repr(ClientSecret("an-id", SECRET, "here"))
    assert SECRET not in repr(Token(SECRET, 0.0))


def test_a_good_token_is_not_renewed_unless_the_service_refused_it(tmp_path: Path) -> None:
    path = write(tmp_path / "tokens.json", tokens(3600))
    stored = StoredToken(str(path))
    token = stored.read()
    assert stored.renewed(never) == token
    assert stored.renewed(answer, refused=token).value == "second"


def test_a_renewed_token_is_stored_privately_and_nothing_else_is_lost(tmp_path: Path) -> None:
    path = write(tmp_path / "tokens.json", tokens(10))
    before = os.umask(0)
    try:
        assert StoredToken(str(path)).renewed(answer).value == "second"
    finally:
        os.umask(before)
    stored = json.loads(path.read_text())
    row = stored["data"]["DEFAULT"]["transfer.api.globus.org"]
    assert (row["access_token"], row["refresh_token"], row["identity_id"]) == ("second", "once more", "me")
    assert row["expires_at_seconds"] > time.time() + 170000
    assert (stored["client_id"], stored["format_version"]) == ("an-app", "2.0")
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in os.listdir(tmp_path)}
    assert set(modes) - {"tokens.json", "tokens.json.lock"} == set()
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    ("change", "words"), [({"refresh_token": None}, "no refresh token"), ({"client_id": None}, "no client_id")]
)
def test_a_token_that_can_not_be_renewed_is_said_to_have_expired(
    tmp_path: Path, change: dict[str, None], words: str
) -> None:
    document = tokens(10)
    (document if "client_id" in change else document["data"]["DEFAULT"]["transfer.api.globus.org"]).update(change)
    stored = StoredToken(str(write(tmp_path / "tokens.json", document)))
    with pytest.raises(TokenExpired, match=words) as caught:
        stored.renewed(never)
    assert caught.value.next


def test_a_full_home_keeps_the_old_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "tokens.json", tokens(10))
    before = path.read_text()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HomeFull):
        StoredToken(str(path)).renewed(answer)
    assert path.read_text() == before
    assert set(os.listdir(tmp_path)) <= {"tokens.json", "tokens.json.lock"}


def test_what_one_that_died_with_our_number_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """The new token may be the only one that Auth still takes: it must be stored."""
    path = write(tmp_path / "tokens.json", tokens(10))
    write(tmp_path / f"tokens.json.{os.getpid()}", {})
    assert StoredToken(str(path)).renewed(answer).value == StoredToken(str(path)).read().value
    assert set(os.listdir(tmp_path)) <= {"tokens.json", "tokens.json.lock"}


def renew_in_a_process(path: str, log: str) -> None:
    def logged(refresh_token: str, app: str) -> Mapping[str, Any]:
        with open(log, "a", encoding="ascii") as file:
            file.write("renewed\n")
        return {"access_token": "second", "expires_in": 172800}

    assert StoredToken(path).renewed(logged).value == "second"


def test_of_many_processes_one_renews_the_token_for_all(tmp_path: Path) -> None:
    path = str(write(tmp_path / "tokens.json", tokens(10)))
    log = str(tmp_path / "log")
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=renew_in_a_process, args=(path, log)) for _ in range(8)]
    for child in children:
        child.start()
    for child in children:
        child.join(20)
    assert [child.exitcode for child in children] == [0] * 8
    assert Path(log).read_text() == "renewed\n"


def test_every_error_of_this_module_is_a_sentence_with_a_next_command(tmp_path: Path) -> None:
    with pytest.raises(NodexferError) as caught:
        find(settings(tmp_path), {})
    assert str(caught.value).endswith(".")
    assert caught.value.next


@pytest.mark.parametrize("call", ["open", "fstat", "read"])
@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EIO, NodeError), (errno.ESTALE, NodeError), (13, PermissionRefused)]
)
def test_a_secret_that_can_not_be_read_now_is_no_fault_of_what_is_written_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, kind: type[NodexferError]
) -> None:
    path = write(tmp_path / "credentials.json", {"client_id": "x", "client_secret": SECRET})

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(kind, match=f"{path} can not be used: {os.strerror(number)}") as caught:
            auth.read_private(str(path))
    assert caught.value.next == f"ls -ld {path}"
    assert auth.read_private(str(path)) is not None
