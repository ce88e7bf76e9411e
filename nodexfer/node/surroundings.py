"""What a keeper has for settings: the environment of the command that took its job's first hold.

It can not learn of what a script exports later. So where a keeper says that something is not set, and the command that
asked it has it, the command's user is told that, and what mends it: the same advice again would not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from nodexfer.config import Config
from nodexfer.errors import (
    EndpointNotOurs,
    GcpMissing,
    NodexferError,
    PoolMissing,
    ServiceUnreachable,
    SetupError,
    TokenExpired,
    TokenMissing,
)
from nodexfer.gcp import install
from nodexfer.identity import pid_namespace
from nodexfer.node import hold, registry

_FILES = ("NODEXFER_CONFIG", "NODEXFER_HOME", "HOME")
_LOGIN = ("NODEXFER_CLIENT_ID", "NODEXFER_CLIENT_SECRET", "GLOBUS_SDK_")
#: The variables, or how their names begin, on which each error may rest.
_CAUSES: dict[type[NodexferError], tuple[str, ...]] = {
    SetupError: ("NODEXFER_", "HOME"),
    GcpMissing: ("NODEXFER_GCP", "PATH", *_FILES),
    PoolMissing: ("NODEXFER_POOL", *_FILES),
    EndpointNotOurs: (*_LOGIN, "NODEXFER_POOL", *_FILES),
    TokenMissing: (*_LOGIN, *_FILES),
    TokenExpired: (*_LOGIN, *_FILES),
    ServiceUnreachable: ("GLOBUS_SDK_",),
}
#: What a hold sets itself.
_OF_A_HOLD = ("NODEXFER_HOLD", "NODEXFER_JOB", "NODEXFER_SCRATCH", "NODEXFER_ROOT", "NODEXFER_ENDPOINT_ID")


def explained(config: Config, job: str, error: NodexferError) -> NodexferError:
    """The error that ``job``'s keeper gave, or the same with what of its settings is another one here.

    Values are not told: there are secrets among them. Reads a file or two; raises nothing.
    """
    names = [name for cls, some in _CAUSES.items() if isinstance(error, cls) for name in some]
    if not names:
        return error
    try:
        if isinstance(error, GcpMissing):
            install.find(config)  # else it is missing here as well
        others = _others(config, job, names)
        mend = _mend(config, job) if others else ""
    except (NodexferError, OSError):
        return error
    if not others:
        return error
    said = "So says the job's keeper, whose settings are those of the command that took the job's first hold;"
    return type(error)(f"{error.message} {said} since then {_and(others)} changed.", mend)


def _others(config: Config, job: str, names: Sequence[str]) -> list[str]:
    """What is another one here. Nothing where the keeper is gone, or in a pid namespace that is not ours."""
    keeper = registry.read_keeper(config.node_paths.keeper(job))
    if keeper is None or keeper.process.namespace != pid_namespace() or not keeper.process.alive:
        return []
    found = different(hold.environment(config), _environment_of(keeper.process.pid), names)
    if config.file is not None and os.stat(config.file).st_mtime > keeper.since:
        found.append(config.file)
    return found


def different(ours: Mapping[str, str], theirs: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Of the variables that are so called, or begin so, those with another value; '' counts as not set."""

    def asked(name: str) -> bool:
        return name not in _OF_A_HOLD and any(
            name == word or (word.endswith("_") and name.startswith(word)) for word in names
        )

    return sorted(
        name for name in {*ours, *theirs} if asked(name) and (ours.get(name) or "") != (theirs.get(name) or "")
    )


def _environment_of(pid: int) -> dict[str, str]:
    """As it was when the process was started."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        pairs = [os.fsdecode(line).partition("=") for line in file.read().split(b"\0") if line]
    return {name: value for name, _, value in pairs}


def _mend(config: Config, job: str) -> str:
    """What ends the keeper, and brings one with the settings of now."""
    if os.environ.get("NODEXFER_HOLD"):
        return 'nodexfer release; eval "$(nodexfer acquire)"'
    with registry.Transaction(config.node_paths) as table:
        lasting = [found for found in table.of(job) if found.owner is None]
    return "; ".join(f"nodexfer release {found.id}" for found in lasting) or "nodexfer status"


def _and(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} has"
    return f"{', '.join(names[:-1])} and {names[-1]} have"
