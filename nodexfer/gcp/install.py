"""Where the GCP program is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from nodexfer.config import Config
from nodexfer.errors import GcpMissing

NAME = "globusconnectpersonal"


class Program(NamedTuple):
    """``path`` as it is called; ``install_dir`` where its parts lie (the launcher follows its own link, as we do)."""

    path: str
    install_dir: str


def find(config: Config, environ: Mapping[str, str] | None = None) -> Program:
    """The configured program, else the one on PATH, else the newest ``~/globusconnectpersonal*/``.

    :raises GcpMissing: there is none, or the configured one can not be run.
    """
    environ = os.environ if environ is None else environ
    if config.gcp is not None:
        path = os.path.abspath(os.path.expanduser(config.gcp))
        if not _runnable(path):
            raise GcpMissing(
                f"The GCP program {path} ({config.source('gcp')}) does not exist or can not be run.", f"ls -l {path}"
            )
        return _program(path)
    for path in [*_on_path(environ), *_in_home(environ)]:
        if _runnable(path):
            return _program(path)
    raise GcpMissing(
        f"Globus Connect Personal was not found: {NAME} is neither configured (gcp), nor on PATH, nor in ~/{NAME}-*/.",
        "export NODEXFER_GCP=/path/to/globusconnectpersonal",
    )


def _program(path: str) -> Program:
    return Program(path, os.path.dirname(os.path.realpath(path)))


def _runnable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _on_path(environ: Mapping[str, str]) -> list[str]:
    """An empty or relative part of PATH is the working directory's, which may be anybody's."""
    return [f"{part}/{NAME}" for part in environ.get("PATH", "").split(":") if part.startswith("/")]


def _in_home(environ: Mapping[str, str]) -> list[str]:
    home = environ.get("HOME") or os.path.expanduser("~")
    try:
        names = [name for name in os.listdir(home) if name.startswith(NAME)]
    except OSError:
        return []
    return [f"{home}/{name}/{NAME}" for name in sorted(names, key=_version, reverse=True)]


def _version(name: str) -> list[int]:
    """``globusconnectpersonal-3.2.10`` is newer than ``-3.2.8``."""
    return [int(part) for part in name[len(NAME) :].lstrip("-").split(".") if part.isdigit()]
