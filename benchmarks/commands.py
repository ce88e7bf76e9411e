"""What a command costs that thousands of job scripts type: whole processes, against ``python -c pass``."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping

from benchmarks.figures import Figure
from benchmarks.measure import (
    command,
    command_output,
    files_opened,
    foreign,
    interleaved,
    medians,
    modules_imported,
    wait_for,
)
from nodexfer.node.locks import taken
from nodexfer.paths import NodePaths
from nodexfer.sandbox.demo.stage import Stage
from nodexfer.sandbox.demo.watch import read_json
from nodexfer.scheduler import detect

ROUNDS = 15
COMMANDS = ("acquire", "release", "status")

#: globus-cli of today can not share an environment with us; the Makefile makes it one of its own.
GLOBUS = os.path.abspath(f"{os.path.dirname(__file__)}/../.venv-cli/bin/globus")


def figures() -> list[Figure]:
    directory = tempfile.mkdtemp(prefix="bench-")
    try:
        stage = Stage.at(directory).make()
        environ = stage.environment({}, os.environ)
        return [*_times(stage, environ), *_looks(stage, environ)]
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def nodexfer(*arguments: str) -> list[str]:
    """The installed command of the interpreter that measures."""
    installed = f"{os.path.dirname(sys.executable)}/nodexfer"
    return [installed, *arguments] if os.path.exists(installed) else module(*arguments)


def module(*arguments: str) -> list[str]:
    """The same for those that look into the interpreter."""
    return [sys.executable, "-m", "nodexfer", *arguments]


class Shell:
    """A job's shell: what ``eval "$(nodexfer acquire)"`` would leave in it."""

    def __init__(self, stage: Stage, environ: Mapping[str, str], job: str) -> None:
        self.environ = {**environ, "NODEXFER_JOB_ID": job}
        self.holds: list[str] = []
        self._key = detect(self.environ).key
        self._paths = NodePaths(stage.node_dir)

    def acquire(self) -> float:
        seconds, printed = command_output(nodexfer("acquire"), self.environ)
        found = re.search(r"NODEXFER_HOLD=\W?(\w+)", printed)
        if found is None:
            raise RuntimeError(f"acquire printed {printed!r}")
        self.holds.append(found[1])
        return seconds

    def release(self) -> float:
        return command(nodexfer("release"), self.with_hold(self.holds.pop()))

    def with_hold(self, hold: str) -> dict[str, str]:
        return {**self.environ, "NODEXFER_HOLD": hold}

    def status(self) -> float:
        return command(nodexfer("status"), self.environ)

    def wait_without_keeper(self) -> None:
        wait_for(lambda: not taken(self._paths.keeper(self._key)), 20, "the keeper's end")

    def end(self) -> None:
        """Release every hold of the job, those of commands that were looked into as well."""
        for hold, record in read_json(self._paths.registry).get("holds", {}).items():
            if record["job"] == self._key:
                command(nodexfer("release"), self.with_hold(hold))
        self.wait_without_keeper()


def _times(stage: Stage, environ: Mapping[str, str]) -> list[Figure]:
    warm, cold = Shell(stage, environ, "bench"), Shell(stage, environ, "bench-cold")

    def acquire_cold() -> float:
        cold.wait_without_keeper()
        return cold.acquire()

    warm.acquire()  # this hold keeps the keeper; each round takes and releases one of its own
    what: dict[str, Callable[[], float]] = {
        "python": lambda: command([sys.executable, "-c", "pass"], environ),
        "acquire": warm.acquire,
        "release": warm.release,
        "status": warm.status,
        "acquire, keeper started by it": acquire_cold,
        "release, keeper ended by it": cold.release,
    }
    if os.path.exists(GLOBUS):
        what["globus"] = lambda: command([GLOBUS, "version"], environ)
    try:
        found = medians(interleaved(ROUNDS, what))
    finally:
        warm.end()
        cold.end()
    return _ratios(found)


def _ratios(found: dict[str, float]) -> list[Figure]:
    python = found.pop("python")
    globus = found.pop("globus", None)
    told = [
        Figure(
            f"nodexfer {name} / python -c pass",
            seconds / python,
            "x",
            10.0 if "keeper" in name else 5.0,
            note=f"{seconds * 1e3:.0f} against {python * 1e3:.0f} ms",
        )
        for name, seconds in found.items()
    ]
    if globus is None:
        return [*told, Figure("nodexfer / globus version", float("inf"), "x", 0.35, note="no .venv-cli")]
    return told + [Figure(f"nodexfer {name} / globus version", found[name] / globus, "x", 0.35) for name in COMMANDS]


def _looks(stage: Stage, environ: Mapping[str, str]) -> list[Figure]:
    """Files opened and modules imported; the keeper runs."""
    told = []
    shell = Shell(stage, environ, "bench")
    for _ in range(4):
        shell.acquire()
    try:
        for name in COMMANDS:
            own = shell.with_hold(shell.holds.pop()) if name == "release" else shell.environ
            opened, how = files_opened(nodexfer(name), own, stage.directory)
            told.append(Figure(f"nodexfer {name}: files opened", opened, "files", 130, note=how))
        for name in COMMANDS:
            own = shell.with_hold(shell.holds.pop()) if name == "release" else shell.environ
            others = sorted(foreign(modules_imported(module(name), own)))
            figure = Figure(f"nodexfer {name}: modules beyond click and stdlib", len(others), "", 0)
            told.append(figure._replace(note=" ".join(others)))
    finally:
        shell.end()
    return told
