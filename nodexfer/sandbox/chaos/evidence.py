"""What is kept of a run that went wrong, so that it can be explained without being seen a second time.

    story, ledger      what was done to whom, and what the jobs' commands have said
    processes          who lived then: state, what it waited for in the kernel, its command line
    tasks.json         what the service knew: every task with its events, and the files of those that were not over
    place-N/           the node_dir with its logs, without the data; place-N/listing names those, too
    logs/              the jobs' logs
    server.log         the sandbox's

Every Python process of the places writes where each of its threads stands to its own log first (:func:`trace`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from typing import Any

from nodexfer import procs
from nodexfer.identity import ProcessId
from nodexfer.sandbox.demo import leftovers

#: Read by every Python that has its directory in PYTHONPATH, before anything else (site).
_TRACED = "import faulthandler, signal, sys\nif sys.stderr: faulthandler.register(signal.SIGUSR2)\n"
#: Seconds that all of them get to write it.
_DUMP_SECONDS = 1.0
#: What may be large, and was compared elsewhere; keys.
_LEFT_OUT = ("jobs", "exchange", "outgoing", "gcp-")
_LARGEST = 1024 * 1024


def trace(directory: str, environ: dict[str, str]) -> dict[str, str]:
    """``environ`` for Python processes that say where they stand, at SIGUSR2."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with open(f"{directory}/sitecustomize.py", "w", encoding="utf-8") as file:
        file.write(_TRACED)
    return {**environ, "PYTHONPATH": ":".join(filter(None, (directory, environ.get("PYTHONPATH"))))}


def gather(directory: str, node_dirs: Sequence[str], sessions: Collection[int], story: Sequence[str]) -> str:
    """Write ``<directory>/evidence``, and say where it is. What was gathered before is more, and is left as it is."""
    top = f"{directory}/evidence"
    if os.path.isdir(top):
        return top
    os.mkdir(top, 0o700)
    found = leftovers.processes(directory, sessions)
    with open(f"{top}/processes", "w", encoding="utf-8") as file:
        file.writelines(f"{_standing(one.pid)}  {' '.join(one.words.split())}\n" for one in found)
    asked = [one.pid for one in found if _dump(one.pid)]
    time.sleep(_DUMP_SECONDS if asked else 0.0)
    _write(f"{top}/story", "".join(f"{line}\n" for line in story))
    _write(f"{top}/tasks.json", json.dumps(_tasks(f"{directory}/sandbox/state.db"), indent=1))
    for path, name in (("ledger", "ledger"), ("sandbox/server.log", "server.log")):
        _copy(f"{directory}/{path}", f"{top}/{name}")
    _copy_tree(f"{directory}/logs", f"{top}/logs")
    for number, node_dir in enumerate(node_dirs):
        _copy_tree(node_dir, f"{top}/place-{number}")
        _write(f"{top}/place-{number}/listing", "".join(f"{line}\n" for line in _listing(node_dir)))
    return top


def take_out(evidence: str, where: str, seed: int) -> str:
    """Move it out of a directory that is about to be removed, into ``where``; its new name."""
    new = tempfile.mkdtemp(prefix=f"nodexfer-chaos-seed-{seed}-", dir=where)
    os.rename(evidence, new)
    return new


def _standing(pid: int) -> str:
    """proc(5): pid, parent, state, and where in the kernel it waits."""
    stat = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return " ".join([str(pid), *(stat[1::-1] or "??"), _read(f"/proc/{pid}/wchan") or "-"])


def _dump(pid: int) -> bool:
    """Ask it where it stands; only one that listens: others would die of it."""
    for line in _read(f"/proc/{pid}/status").splitlines():
        name, _, value = line.partition(":")
        if name == "SigCgt" and int(value, 16) >> (signal.SIGUSR2 - 1) & 1:
            try:
                return procs.signal(ProcessId.of(pid), signal.SIGUSR2)
            except ProcessLookupError:
                return False
    return False


def _tasks(path: str) -> list[dict[str, Any]]:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            query = "SELECT body FROM documents WHERE kind = ? ORDER BY id"
            tasks = [json.loads(body) for (body,) in store.execute(query, ("task",))]
            for task in tasks:
                if task["status"] == "ACTIVE":
                    rows = store.execute(query, (f"files/{task['id']}",))
                    task["files_known"] = [json.loads(body) for (body,) in rows]
    except sqlite3.Error as error:
        return [{"error": str(error)}]
    return sorted(tasks, key=lambda task: float(task["requested"]))


def _copy_tree(top: str, destination: str) -> None:
    os.makedirs(destination, mode=0o700, exist_ok=True)
    for where, directories, names in os.walk(top):
        below = os.path.relpath(where, top)
        if below == ".":
            directories[:] = [name for name in directories if not name.startswith(_LEFT_OUT)]
        os.makedirs(f"{destination}/{below}", mode=0o700, exist_ok=True)
        for name in names:
            _copy(f"{where}/{name}", f"{destination}/{below}/{name}")


def _listing(top: str) -> Iterator[str]:
    for where, _, names in os.walk(top):
        for name in names:
            try:
                seen = os.lstat(f"{where}/{name}")
            except OSError:
                continue
            yield f"{time.strftime('%H:%M:%S', time.gmtime(seen.st_mtime))} {seen.st_size:9} {where}/{name}"


def _copy(source: str, destination: str) -> None:
    """A small file that is one, and is still there."""
    try:
        if os.path.isfile(source) and os.path.getsize(source) <= _LARGEST:
            shutil.copyfile(source, destination)
    except OSError:
        pass


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
