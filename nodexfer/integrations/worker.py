"""The worker's side: this process's hold of its node, taken once and kept as long as the process lives.

A worker of Parsl or of Globus Compute runs thousands of functions. Each of them wants the node held and none may end
the hold, since the next one finds its shared inputs in the same scratch. So the process holds: when it ends, however,
the keeper sees it, and with the last worker of a job its scratch and its endpoint go.

Of the standard library and of ours only: this runs where neither parsl nor globus_sdk has to be installed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from nodexfer import procs, scheduler
from nodexfer.config import Config, load
from nodexfer.node import hold as holds
from nodexfer.node import quiet
from nodexfer.session import Node, refuse_broken

#: What the submit side's description of work looks like. A worker that knows another number says so.
FORMAT = 2

#: Another value of one of these is another node or another job: a test, a notebook, a batch script in a batch script.
_TELLING = (
    *("HOME", "NODEXFER_HOME", "NODEXFER_CONFIG", "NODEXFER_NODE_DIR", "NODEXFER_POOL"),
    *("NODEXFER_JOB_ID", "SLURM_JOB_ID", "SLURM_RESTART_COUNT", "PBS_JOBID"),
)


class _Held(NamedTuple):
    node: Node
    config: Config
    hold: str


_lock = threading.Lock()
_held: dict[object, _Held] = {}


def _after_fork() -> None:
    """A child is another process: it holds nothing, and whoever had the lock is not there."""
    global _lock
    _lock = threading.Lock()
    _held.clear()


os.register_at_fork(after_in_child=_after_fork)


def node(settings: Mapping[str, Any] | None = None) -> Node:
    """This process's hold; taken by the first call (0.3 ms, 60 ms with a keeper to start), looked at by the others.

    :param settings: keys of the configuration, which take precedence over environment and file.
    :raises KeeperFailed, NodeError, ConfigInvalid: nothing is held; the next call tries again.
    """
    settings = settings or {}
    key = (repr(sorted(settings.items())), *(os.environ.get(name) for name in _TELLING))
    held = _held.get(key)
    if held is not None and os.path.isdir(held.node.scratch):
        return held.node
    with _lock:
        held = _held.get(key)
        if held is None or not os.path.isdir(held.node.scratch):  # the node_dir was removed: our hold went with it
            held = _held[key] = _take(settings)
        return held.node


def _take(settings: Mapping[str, Any]) -> _Held:
    refuse_broken(os.environ)
    config = load(os.environ, **settings)
    job = scheduler.detect(os.environ)
    taken = holds.take(config, job, procs.this())
    return _Held(Node(config, job, taken.scratch, os.environ), config, taken.id)


def release() -> None:
    """Give back what this process holds, before it ends: for programs that live on, as a notebook does.

    With the last hold of the job, its scratch and all that was shared in it go.
    """
    with _lock:
        found = list(_held.values())
        _held.clear()
    for held in found:
        quiet.release(held.config, held.hold)
