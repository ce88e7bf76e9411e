"""A block of Globus Compute: what holds its nodes, and what all of its functions share on them.

``worker_init`` runs once, on the block's first node; the wrapper is the manager's parent on every node. Neither may end
the block, since the endpoint would submit it again, and again: what fails is told once, and again by every function.

Of the standard library and ours only, like all that runs on every node.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from nodexfer import procs, scheduler
from nodexfer.config import load
from nodexfer.errors import ConfigInvalid, NodexferError
from nodexfer.identity import ProcessId
from nodexfer.integrations import shared
from nodexfer.integrations.sources import Source
from nodexfer.node import hold as holds
from nodexfer.node import quiet
from nodexfer.session import BROKEN, Node

#: Sources, as a shell has words: staged onto each node before its workers start.
COMMON = "NODEXFER_COMMON"
#: What starts the manager on a node; it stands in the endpoint's configuration, and is empty where we are not there.
WRAPPER = "NODEXFER_WRAPPER"


def ourselves() -> list[str]:
    """The argv of this very nodexfer. ``$NODEXFER_WRAPPER`` has it without quotes, which a shell would not take off."""
    command = procs.python("-m", "nodexfer")
    return command if shlex.join(command) == " ".join(command) else ["nodexfer"]


def set_up(environ: Mapping[str, str]) -> str:
    """Hold the batch host; lines for the block's own shell. The hold is given back when that shell ends.

    A trap that the user's lines have set is left alone: the hold goes with the script in any case, if a second later.

    :raises NodexferError: nothing is held; :func:`broken` has the lines for that.
    """
    config = load(environ)
    taken = holds.take(config, scheduler.detect(environ), script())
    command = " ".join(ourselves())
    variables = {**taken.variables, WRAPPER: f"{command} compute wrapper"}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    release = shlex.quote(f"{command} release {taken.id}")
    return "\n".join([*lines, f"unset {BROKEN}", f'[ -n "$(trap -p EXIT)" ] || trap {release} EXIT'])


def script() -> ProcessId | None:
    """The block's script: the topmost of our parents in our process group; None where we have that for ourselves.

    Parsl's LocalProvider starts it in a group of its own, but in the endpoint's session, whose leader lives longer.
    """
    parents, found, group = procs.parents_now(), os.getpid(), os.getpgrp()
    while (above := parents.get(found, 0)) > 1 and os.getpgid(above) == group:
        found = above
    return None if found == os.getpid() else ProcessId.of(found)


def broken(error: NodexferError) -> str:
    """Lines by which every function of the block raises ``error`` at once."""
    return f"unset {WRAPPER}; export {BROKEN}={shlex.quote(record(error))}"


def record(error: NodexferError) -> str:
    """What ``$NODEXFER_BROKEN`` says."""
    return json.dumps(error.as_record())


def key(one: Source) -> str:
    """What a shared input goes by on a node, for the functions of one block."""
    how = f"\0{one.extract}\0{one.expect}" if one.extract or one.expect else ""
    return hashlib.sha256(f"compute {one.url}{how}".encode(errors="surrogateescape")).hexdigest()[:32]


def wanted(sources: Sequence[Source]) -> dict[str, shared.Wanted]:
    """:raises SourceUnsupported: see :func:`file_name`."""
    return {key(one): shared.Wanted(one.url, file_name(one), one.extract, one.expect) for one in sources}


def plain(url: str) -> str:
    """One form for the same source: ``nodexfer://name/path`` is ``name:/path``, and no slash ends it.

    But that of a whole collection, whose path is the slash.
    """
    if url.startswith("nodexfer://"):
        name, _, path = url.removeprefix("nodexfer://").partition("/")
        url = f"{name}:/{path}"
    before, _, path = url.partition(":")
    stripped = path.rstrip("/")
    whole = stripped.count("/") < 3 if path.startswith("//") else not stripped
    return url if whole else f"{before}:{stripped}"


def name_of(url: str) -> str:
    """The file name of a source, here; "data" where it is a whole collection."""
    return url.partition(":")[2].rstrip("/").rpartition("/")[2] or "data"


def file_name(one: Source) -> str:
    """The name that it has here: what is in an archive, without the archive's suffix.

    :raises SourceUnsupported: it is not called like an archive.
    """
    if not one.extract:
        return name_of(one.url)
    from nodexfer.staging import unpack

    return unpack.stem(name_of(one.url))


def common(environ: Mapping[str, str]) -> list[str]:
    """:raises ConfigInvalid: a quotation mark is not closed."""
    try:
        return list(dict.fromkeys(map(plain, shlex.split(environ.get(COMMON, "")))))
    except ValueError as error:
        raise ConfigInvalid(f"${COMMON} can not be read: {error}.", f"unset {COMMON}") from error


@contextmanager
def held(environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Hold this node, with what is common staged and in use; the variables for the manager.

    :raises NodexferError: nothing is held.
    """
    config = load(environ)
    job = scheduler.detect(environ)
    taken = holds.take(config, job, procs.this())
    try:
        with shared.using(Node(config, job, taken.scratch, environ), wanted([Source(url) for url in common(environ)])):
            yield taken.variables
    finally:
        quiet.release(config, taken.id)
