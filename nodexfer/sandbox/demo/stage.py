"""Where the demonstration plays: its temporary directory, the environment of its jobs, the command in their PATH."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

from nodexfer.gcp.environment import passwd_name

#: What the jobs must not inherit: the user's own nodexfer and Globus settings, and a scheduler's job that we may be in.
_NOT_INHERITED = ("NODEXFER_", "GLOBUS_", "PBS_", "SLURM_", "PARSL_")


class Stage(NamedTuple):
    """``home`` plays the shared file system, ``node_dir`` lies on the node's own disk, ``site`` is the other side."""

    directory: str
    home: str
    node_dir: str
    site: str
    logs: str
    bin: str

    @classmethod
    def at(cls, directory: str) -> Stage:
        return cls(
            directory=directory,
            home=f"{directory}/home",
            node_dir=f"{directory}/local/nodexfer",
            site=f"{directory}/site",
            logs=f"{directory}/logs",
            bin=f"{directory}/bin",
        )

    def make(self) -> Stage:
        for path in (self.home, os.path.dirname(self.node_dir), self.site, self.logs, self.bin):
            os.makedirs(path, mode=0o700)
        command = f"{self.bin}/nodexfer"
        with open(command, "w", encoding="utf-8") as file:
            # The command of this very interpreter, installed or not, and not another one that PATH may hold.
            file.write(f'#!/bin/sh\nexec "{sys.executable}" -m nodexfer "$@"\n')
        os.chmod(command, 0o700)
        return self

    def configure(self, collections: Mapping[str, str]) -> None:
        """The user's config file: the collections, name -> id."""
        os.makedirs(f"{self.home}/.nodexfer", mode=0o700, exist_ok=True)
        with open(f"{self.home}/.nodexfer/config.toml", "w", encoding="utf-8") as file:
            for name, collection in collections.items():
                file.write(f'[collections.{name}]\nid = "{collection}"\n')

    def environment(self, sandbox: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, str]:
        """What a job of the user gets, its job id aside."""
        kept = {name: value for name, value in inherited.items() if not name.startswith(_NOT_INHERITED)}
        user = kept.get("USER") or kept.get("LOGNAME") or passwd_name()
        return {
            **kept,
            **sandbox,
            "HOME": self.home,
            "USER": user,
            "LOGNAME": user,
            "PATH": f"{self.bin}:{kept.get('PATH', '/usr/bin:/bin')}",
            "TMPDIR": os.path.dirname(self.node_dir),
            "NODEXFER_NODE_DIR": self.node_dir,
            "NODEXFER_ROOTS": os.path.dirname(self.node_dir),
            "NODEXFER_LINGER": "2",
            "NODEXFER_TIME": "120",
            "NODEXFER_DEMO_PYTHON": sys.executable,
            "NODEXFER_DEMO_DIRECTORY": self.directory,
        }
