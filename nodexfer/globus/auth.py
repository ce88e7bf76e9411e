"""Whose token, and from where; nothing is ever asked. Found in this order:

1. ``NODEXFER_CLIENT_ID`` and ``NODEXFER_CLIENT_SECRET`` in the environment;
2. ``<home>/credentials.json``: ``{"client_id": ..., "client_secret": ...}``;
3. ``<home>/tokens.json``: a stored token, in the format of globus-sdk's JSONTokenStorage (format_version 2.0, first
   namespace that has a token for transfer.api.globus.org). Its refresh token, if it has one, needs the id of the
   native app that got it: in ``NODEXFER_CLIENT_ID``, or as a further top-level key ``"client_id"`` of the file.

A file is believed only when it is ours alone: mode 0600, our own, no link.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from nodexfer import records
from nodexfer.config import Config
from nodexfer.errors import ConfigInvalid, HomeFull, SecretExposed, TokenExpired, TokenMissing
from nodexfer.globus.codes import SET_CLIENT

RESOURCE_SERVER = "transfer.api.globus.org"
#: A token is renewed when it has less than this to live, in seconds.
MARGIN_SECONDS = 60.0
LOCK_SECONDS = 60.0
LIMIT_BYTES = 1024 * 1024


class Token(NamedTuple):
    """``expires`` in seconds since the epoch."""

    value: str
    expires: float

    @property
    def good(self) -> bool:
        return self.expires - time.time() > MARGIN_SECONDS

    def __repr__(self) -> str:
        return f"Token(expires={self.expires})"


class ClientSecret(NamedTuple):
    """A service account, or another confidential client. ``source`` says where it was found."""

    client_id: str
    secret: str
    source: str

    def __repr__(self) -> str:
        return f"ClientSecret({self.client_id}, from {self.source})"


#: A refresh token and the id of the app in, the answer of Globus Auth out (``access_token``, ``expires_in``...).
Refresh = Callable[[str, str], Mapping[str, Any]]


class StoredToken:
    """``tokens.json``. Many processes of many nodes read it; who renews it does so under a lock beside it."""

    def __init__(self, path: str, client_id: str | None = None) -> None:
        self.source = path
        self._client_id = client_id
        self.read()

    def read(self) -> Token:
        """:raises TokenMissing, SecretExposed, ConfigInvalid: there is none that can be used."""
        row = self._row(self._document())
        return Token(str(row["access_token"]), float(row["expires_at_seconds"]))

    def identity(self) -> str | None:
        """Whose it is, where the file says so."""
        found = self._row(self._document()).get("identity_id")
        return str(found) if found else None

    def renewed(self, refresh: Refresh, refused: Token | None = None) -> Token:
        """A good token: what another process has stored meanwhile, else a new one, stored before it is used.

        A death between the answer and the rename loses a refresh token only where Auth has replaced it.

        :param refused: one that the service did not accept although it looked good.
        :raises TokenExpired: it can not be renewed: no refresh token, or no id of its app.
        :raises HomeFull: the new one could not be stored.
        """
        with self._locked():
            document = self._document()
            row = self._row(document)
            token = Token(str(row["access_token"]), float(row["expires_at_seconds"]))
            if token.good and token != refused:
                return token
            app = self._client_id or document.get("client_id")
            if not row.get("refresh_token") or not app:
                why = (
                    "no refresh token" if not row.get("refresh_token") else "no client_id to use its refresh token with"
                )
                raise TokenExpired(f"The stored token in {self.source} has expired, and there is {why}.", SET_CLIENT)
            answer = refresh(str(row["refresh_token"]), str(app))
            row["access_token"] = str(answer["access_token"])
            row["expires_at_seconds"] = int(time.time() + float(answer["expires_in"]))
            row["refresh_token"] = answer.get("refresh_token") or row["refresh_token"]
            self._store(document)
            return Token(row["access_token"], row["expires_at_seconds"])

    def _document(self) -> dict[str, Any]:
        found = read_private(self.source)
        if found is None:
            raise TokenMissing(f"The stored token in {self.source} is gone.", SET_CLIENT)
        return found

    def _row(self, document: Mapping[str, Any]) -> dict[str, Any]:
        try:
            for namespace in document["data"].values():
                row = namespace.get(RESOURCE_SERVER)
                if row is not None:
                    float(row["expires_at_seconds"])
                    return dict_of(row)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigInvalid(
                f"{self.source} is not in the format of globus-sdk's JSONTokenStorage.", f"rm {self.source}"
            ) from error
        raise TokenMissing(f"{self.source} has no token for {RESOURCE_SERVER}.", SET_CLIENT)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        try:
            with FileLock(f"{self.source}.lock", timeout=LOCK_SECONDS, mode=0o600):
                yield
        except Timeout as error:
            raise TokenExpired(
                f"Another process has held {self.source}.lock for {LOCK_SECONDS:g} s to renew the token.",
                f"rm {self.source}.lock",
            ) from error

    def _store(self, document: Mapping[str, Any]) -> None:
        temporary = f"{self.source}.{os.getpid()}"
        _remove(temporary)  # of one that died with our number: who has the lock is the only one
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(document, file)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, self.source)
        except OSError as error:
            _remove(temporary)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise HomeFull(
                    f"No space is left for {self.source}.", f"df -h {os.path.dirname(self.source)}"
                ) from error
            raise


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def dict_of(row: Any) -> dict[str, Any]:
    """``row`` itself, so that a change to it is one of its document. :raises TypeError: it is no object."""
    if not isinstance(row, dict) or not isinstance(row.get("access_token"), str):
        raise TypeError
    return row


def find(config: Config, environ: Mapping[str, str]) -> ClientSecret | StoredToken:
    """What we have to show to Globus Auth. Reads at most two small files; asks nobody.

    :raises TokenMissing: there is nothing.
    :raises SecretExposed: a file with a secret is not ours alone.
    :raises ConfigInvalid: a file does not have its form.
    """
    client_id, secret = environ.get("NODEXFER_CLIENT_ID"), environ.get("NODEXFER_CLIENT_SECRET")
    if client_id and secret:
        return ClientSecret(client_id, secret, "NODEXFER_CLIENT_ID and NODEXFER_CLIENT_SECRET")
    if secret:
        raise TokenMissing(
            "NODEXFER_CLIENT_SECRET is set, and NODEXFER_CLIENT_ID is not.", "export NODEXFER_CLIENT_ID=..."
        )
    paths = config.home_paths
    found = read_private(paths.credentials)
    if found is not None:
        pair = found.get("client_id"), found.get("client_secret")
        if not all(isinstance(word, str) and word for word in pair):
            raise ConfigInvalid(
                f'{paths.credentials} must be {{"client_id": "...", "client_secret": "..."}}.',
                f"${{EDITOR:-vi}} {paths.credentials}",
            )
        return ClientSecret(str(pair[0]), str(pair[1]), paths.credentials)
    if os.path.lexists(paths.tokens):
        return StoredToken(paths.tokens, client_id)
    if client_id:
        raise TokenMissing(
            "NODEXFER_CLIENT_ID is set, and NODEXFER_CLIENT_SECRET is not.", "export NODEXFER_CLIENT_SECRET=..."
        )
    raise TokenMissing(
        f"There is nothing to log in to Globus with: neither NODEXFER_CLIENT_ID and NODEXFER_CLIENT_SECRET, nor "
        f"{paths.credentials}, nor {paths.tokens}.",
        SET_CLIENT,
    )


def read_private(path: str) -> dict[str, Any] | None:
    """The JSON object in a file that only we can read; None where there is none.

    :raises SecretExposed: it is a link, somebody else's, or open to others: it may be known by now.
    :raises ConfigInvalid: it is no JSON object.
    :raises NodexferError: it can not be read now (:func:`nodexfer.records.unusable`).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SecretExposed(
                f"{path} is a symbolic link; a secret must lie there itself.", f"ls -l {path}"
            ) from error
        raise records.unusable(error, path) from error
    try:
        _check_private(path, os.fstat(descriptor))
        text = os.read(descriptor, LIMIT_BYTES)
    except OSError as error:
        raise records.unusable(error, path) from error
    finally:
        os.close(descriptor)
    try:
        found = json.loads(text)
    except ValueError:
        # From None: the error carries the text, and the text is the secret.
        raise ConfigInvalid(f"{path} is not JSON.", f"${{EDITOR:-vi}} {path}") from None
    if not isinstance(found, dict):
        raise ConfigInvalid(f"{path} is not a JSON object.", f"${{EDITOR:-vi}} {path}")
    return found


def _check_private(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SecretExposed(f"{path} is not a file.", f"ls -ld {path}")
    if found.st_uid != os.geteuid():
        raise SecretExposed(f"{path} belongs to user id {found.st_uid}, not to you.", f"ls -l {path}")
    if found.st_mode & 0o077:
        raise SecretExposed(
            f"{path} holds a secret and can be read or written by others (mode {found.st_mode & 0o777:o}); whoever "
            "did may use it, so consider it known.",
            f"chmod 600 {path}",
        )
