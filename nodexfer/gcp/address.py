"""Whether a GCP of this user runs on this node: who owns the per-user address.

GCP lets one instance of a user run on a host, whatever ``-dir`` says, by binding a Unix socket whose name carries the
uid: an abstract one in 2.3.5 (``gc-ctrl.py``: ``"\\0/org/globusonline/globusconnect%s/uid=%d"``, the ``%s`` being the
last argument of the command), one at ``/tmp/globusconnect_<uid>.sock`` in a copy of 3.2.8. Both are in /proc/net/unix
for as long as somebody holds them, also where another /tmp hides the file, and looking there disturbs nobody:
binding the address to see whether it is free, as ``-status`` does, would make a start at that moment fail.
"""

from __future__ import annotations

import os
from typing import Literal

from nodexfer.config import Config

TABLE = "/proc/net/unix"
#: The address of GCP as it comes; another prefix is a sandbox's, which has nothing at a path in /tmp.
REAL = "/org/globusonline/globusconnect"


def holder(config: Config) -> Literal["free", "in use"]:
    """Whether the address is held now: by us or by anybody else with this uid in this network namespace."""
    return "in use" if sockets(config.gcp_address) else "free"


def sockets(prefix: str, table: str = TABLE) -> frozenset[int]:
    """The inodes of the sockets that hold the address; normally one or none."""
    with open(table, encoding="utf-8", errors="replace") as file:
        return parse(file.read(), prefix, os.getuid())


def parse(text: str, prefix: str, uid: int) -> frozenset[int]:
    """Read proc_net_unix(5): ``Num RefCount Protocol Flags Type St Inode [Path]``; an abstract name begins with "@".

    The part of an abstract name between ``prefix`` and ``/uid=`` is one word: a longer prefix is another address.
    """
    found = set()
    for line in text.splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) == 8 and _is_address(fields[7], prefix, uid):
            found.add(int(fields[6]))
    return frozenset(found)


def _is_address(name: str, prefix: str, uid: int) -> bool:
    if name == f"/tmp/globusconnect_{uid}.sock":  # noqa: S108 (a name of GCP's, compared and never opened)
        return prefix == REAL
    start, end = f"@{prefix}", f"/uid={uid}"
    middle = name[len(start) : -len(end)]
    return name.startswith(start) and name.endswith(end) and len(name) >= len(start) + len(end) and "/" not in middle


def held_by(inodes: frozenset[int], pids: list[int]) -> bool:
    """Whether one of these processes has one of these sockets open (proc(5), ``/proc/<pid>/fd``)."""
    names = {f"socket:[{inode}]" for inode in inodes}
    return any(not names.isdisjoint(_open_files(pid)) for pid in pids)


def _open_files(pid: int) -> set[str]:
    directory = f"/proc/{pid}/fd"
    try:
        return {_target(f"{directory}/{name}") for name in os.listdir(directory)}
    except OSError:  # ended meanwhile, or not ours to look at
        return set()


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # closed meanwhile
        return ""
