"""register: ``-setup``. Turns a one-time key into the files of a config directory."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pwd
import sys
import time
import uuid
from typing import Any, TextIO
from urllib.parse import urlsplit

from nodexfer.sandbox.standin import settings

_OPTIONS = ("--setup-key", "--description", "-n", "--owner")
_TIMEOUT = 60.0


class _Failed(Exception):
    """The text is what GCP says."""


def main(here: str, argv: list[str]) -> int:
    """CONFIGDIR [--setup-key] KEY [options]"""
    known = settings.read(here)
    if settings.refuses_root(known):
        return 1
    config_dir, *words = argv
    try:
        key = _key(words)
        os.makedirs(f"{config_dir}/lta", mode=0o700, exist_ok=True)
        with open(f"{config_dir}/lta/register.log", "a", encoding="utf-8") as log:
            _register(known.url, key, f"{config_dir}/lta", log)
    except (_Failed, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _key(words: list[str]) -> str:
    key = ""
    words = [word for word in words if word != "--no-gui"]
    while words:
        word = words.pop(0)
        if word in _OPTIONS:
            if not words:
                raise _Failed(f"{word} needs a value")
            value = words.pop(0)
            key = value if word == "--setup-key" else key
        elif word.startswith("-"):
            raise _Failed(f"unknown option {word}")
        else:
            key = word
    return key or _log_in()


def _log_in() -> str:
    """Without a key the real one opens an OAuth2 login. The sandbox has no browser: it takes a setup key for a code."""
    print("Globus Connect Personal needs you to log in to continue the setup process.\n")
    print(
        "Please visit this URL, or use a setup key of the sandbox as code:\nEnter the auth code: ", end="", flush=True
    )
    code = sys.stdin.readline().strip()
    if not code:
        raise _Failed("No auth code was entered.")
    print("== starting endpoint setup")
    return code


def _register(url: str, key: str, lta: str, log: TextIO) -> None:
    _note(log, "registering")
    try:
        answer = _post(f"{url.rstrip('/')}/sandbox/register", {"setup_key": key})
    except _Refused:
        _note(log, "Setup Code not found")  # the key itself is a secret, and logs are passed around
        raise _Failed(f"Setup Code {key} not found") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        _note(log, f"failed: {error}")
        raise _Failed(f"Registration failed: {error}") from error
    _write(lta, answer)
    _note(log, f"registered endpoint {answer['endpoint_id']}")
    print(f"registered new endpoint, id: {answer['endpoint_id']}")
    print("setup completed successfully")


def _note(log: TextIO, text: str) -> None:
    log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


class _Refused(Exception):
    """The service does not take the key."""


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_TIMEOUT)
    try:
        connection.request("POST", parts.path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if 400 <= answer.status < 500:
        raise _Refused
    if answer.status >= 300:
        raise http.client.HTTPException(f"the service answered {answer.status}")
    return dict(json.loads(text))


def _write(lta: str, answer: dict[str, Any]) -> None:
    """The files that ``-start`` and the SDK's LocalGlobusConnectPersonal read, credentials readable by nobody else."""
    secret = str(answer["relay_secret"])
    subject = f"/C=US/O=Globus Consortium/OU=Globus Connect User/CN={_common_name(answer)}"
    _file(lta, "ftp-key2.pem", f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n", 0o600)
    certificate = base64.b64encode(str(answer["endpoint_id"]).encode()).decode()
    _file(lta, "ftp-cert2.pem", f"-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n", 0o600)
    _file(lta, "config", f"SERVER={answer['relay_host']}\nSERVER_PORT={answer['relay_port']}\n", 0o644)
    _file(lta, "gridmap", f'"{subject}" {_user()}\n', 0o644)
    _file(lta, "client-id.txt", str(answer["endpoint_id"]), 0o644)


def _file(lta: str, name: str, text: str, mode: int) -> None:
    temporary = f"{lta}/{name}.tmp"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(temporary, f"{lta}/{name}")


def _common_name(answer: dict[str, Any]) -> str:
    """``u_`` and 26 letters of base 32 for an identity's UUID, the form that the SDK reads back."""
    try:
        return "u_" + base64.b32encode(uuid.UUID(str(answer["owner"])).bytes).decode().rstrip("=").lower()
    except ValueError:
        return str(answer.get("owner_name") or answer["owner"])


def _user() -> str:
    """As getpass.getuser: a name from the environment, else from the password file, else there is no setup."""
    for name in ("LOGNAME", "USER"):
        if value := os.environ.get(name):
            return value
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise _Failed(f"there is no user name for uid {os.getuid()}: set USER") from None
