"""What the stand-in's programs know: ``etc/sandbox.json`` of the installation, and the files of a config directory."""

from __future__ import annotations

import json
import os
import sys
from typing import NamedTuple

ROOT_REFUSED = "Running Globus Connect Personal as root is not supported"


class Settings(NamedTuple):
    """See :func:`nodexfer.sandbox.standin.installation.install`."""

    url: str
    relay_host: str
    relay_port: int
    relay_unix: str | None
    address: str
    allow_root: bool
    connect_seconds: float
    report_seconds: float
    reconnect_seconds: float


def read(here: str) -> Settings:
    with open(f"{here}/etc/sandbox.json", encoding="utf-8") as file:
        return Settings(**json.load(file))


def refuses_root(settings: Settings) -> bool:
    """Says it, too."""
    if os.geteuid() != 0 or settings.allow_root:
        return False
    print(ROOT_REFUSED, file=sys.stderr)
    return True


def secret(config_dir: str) -> str:
    """What proves to the relay which endpoint this is.

    :raises PermissionError: others may read the key (the real one's ssh refuses it then).
    """
    path = f"{config_dir}/lta/ftp-key2.pem"
    with open(path, encoding="ascii") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise PermissionError(f"Permissions {mode:04o} for '{path}' are too open.")
        return "".join(line.strip() for line in file if not line.startswith("-----"))


def endpoint(config_dir: str) -> str:
    with open(f"{config_dir}/lta/client-id.txt", encoding="ascii") as file:
        return file.read().strip()
