"""The names inside one sandbox directory (0700).

sandbox.json      what it is: id, ports, sites, the client's credentials, switches given at its start (0600)
admin-token       what every ``/sandbox/`` request must carry (0600)
state.db          accounts, endpoints, tasks, faults: what survives a restart
server.lock       held by the server for life
server.json       where the server listens, written when it does
server.log        what the server has to say
gcp/              the stand-in's installation
compute/          Globus Compute: state.db, the broker's files, and a sitecustomize for its clients
"""

from __future__ import annotations

import os
import secrets
from typing import Any

from nodexfer import records
from nodexfer.errors import SecretExposed
from nodexfer.paths import private_directory

FORMAT = 1


class Layout:
    """Making the object touches nothing."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.description = f"{directory}/sandbox.json"
        self.admin_token = f"{directory}/admin-token"
        self.state = f"{directory}/state.db"
        self.lock = f"{directory}/server.lock"
        self.running = f"{directory}/server.json"
        self.log = f"{directory}/server.log"
        self.gcp = f"{directory}/gcp"
        self.compute = f"{directory}/compute"

    def make(self) -> Layout:
        """Make the directory (parents too) private, and a random admin token.

        :raises nodexfer.errors.NodeDirUnsafe: it is somebody else's, a symbolic link, or open to others.
        """
        _make_parents(os.path.dirname(self.directory))
        private_directory(self.directory)
        for path in (self.state, self.log, self.lock):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            descriptor = os.open(self.admin_token, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return self
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32))
        return self

    def read_admin_token(self) -> str:
        """:raises FileNotFoundError: there is no sandbox. :raises SecretExposed: others can read the token."""
        with open(self.admin_token, encoding="ascii") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise SecretExposed(f"{self.admin_token} can be read by others.", f"chmod 600 {self.admin_token}")
            return file.read().strip()

    def describe(self) -> dict[str, Any]:
        """The record ``sandbox.json``, {} where there is none yet."""
        return records.read(self.description, FORMAT) or {}

    def read_running(self) -> dict[str, Any] | None:
        return records.read(self.running, FORMAT)


def _make_parents(directory: str) -> None:
    """Private as well: the first of them may be ``~/.nodexfer``."""
    if not os.path.isdir(directory):
        _make_parents(os.path.dirname(directory))
        private_directory(directory)
