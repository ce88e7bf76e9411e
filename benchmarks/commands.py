"""What a command costs that thousands of job scripts type: whole processes, against ``python -c pass``."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.figures import Figure
from benchmarks.measure import command, files_opened, foreign, interleaved, medians, modules_imported, wait_for
from nodexfer.node.locks import taken
from nodexfer.paths import NodePaths
from nodexfer.sandbox.demo.stage import Stage
from nodexfer.scheduler import detect

ROUNDS = 15
COMMANDS = ("acquire", "release", "status")

#: globus-cli of today can not share an environment with us; the Makefile makes it one of its own.
GLOBUS = os.path.abspath(f"{os.path.dirname(__file__)}/../.venv-cli/bin/globus")


def figures() -> list[Figure]:
    directory = tempfile.mkdtemp(prefix="bench-")
    try:
        stage = Stage.at(directory).make()
        environ = {**stage.environment({}, os.environ), "NODEXFER_JOB_ID": "bench"}
        return [*_times(stage, environ), *_looks(directory, environ)]
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def nodexfer(*arguments: str) -> list[str]:
    """As the installed command does it, in the interpreter that measures."""
    return [sys.executable, "-m", "nodexfer", *arguments]


def _times(stage: Stage, environ: Mapping[str, str]) -> list[Figure]:
    keeper = NodePaths(stage.node_dir).keeper(detect(environ).key)
    cold = {**environ, "NODEXFER_JOB_ID": "bench-cold"}
    cold_keeper = NodePaths(stage.node_dir).keeper(detect(cold).key)

    def acquire_cold() -> float:
        wait_for(lambda: not taken(cold_keeper), 20, "the last keeper's end")
        return command(nodexfer("acquire"), cold)

    command(nodexfer("acquire"), environ)  # this hold keeps the keeper; each round's own is released by its round
    what: dict[str, Callable[[], float]] = {
        "python": lambda: command([sys.executable, "-c", "pass"], environ),
        **{name: partial(command, nodexfer(name), environ) for name in COMMANDS},
        "acquire, keeper started by it": acquire_cold,
        "release, keeper ended by it": lambda: command(nodexfer("release"), cold),
    }
    if os.path.exists(GLOBUS):
        what["globus"] = lambda: command([GLOBUS, "version"], environ)
    try:
        found = medians(interleaved(ROUNDS, what))
    finally:
        command(nodexfer("release", "--all"), environ)
        wait_for(lambda: not taken(keeper), 20, "the keeper's end")
    python = found.pop("python")
    globus = found.pop("globus", None)
    told = [
        Figure(f"nodexfer {name} / python -c pass", seconds / python, "x", 10.0 if "keeper" in name else 5.0)
        for name, seconds in found.items()
    ]
    if globus is None:
        return [*told, Figure("globus version", float("inf"), "x", 0.35, note="no .venv-cli: make venv-cli")]
    return told + [Figure(f"nodexfer {name} / globus version", found[name] / globus, "x", 0.35) for name in COMMANDS]


def _looks(directory: str, environ: Mapping[str, str]) -> list[Figure]:
    """Files opened and modules imported; the keeper runs."""
    told = []
    command(nodexfer("acquire"), environ)
    try:
        for name in COMMANDS:
            opened, how = files_opened(nodexfer(name), environ, directory)
            told.append(Figure(f"nodexfer {name}: files opened", opened, "files", 130, note=how))
        for name in COMMANDS:
            others = sorted(foreign(modules_imported(nodexfer(name), environ)))
            told.append(
                Figure(f"nodexfer {name}: imports beyond click and stdlib", len(others), "", 0, note=" ".join(others))
            )
    finally:
        command(nodexfer("release", "--all"), environ)
    return told
