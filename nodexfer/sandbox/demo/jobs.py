"""The five jobs: scripts as a user writes them, each started as a scheduler does, in a session of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from nodexfer import procs
from nodexfer.procs import Process
from nodexfer.sandbox.demo.site import SHARED, Site
from nodexfer.sandbox.demo.stage import Stage
from nodexfer.scheduler import detect

_PROGRAM = '"$NODEXFER_DEMO_PYTHON" -m nodexfer.sandbox.demo.program "$WITNESS"'

#: The whole job in one command.
_RUN = f"""\
set -e
nodexfer run --in "site:/runs/$NUMBER=own" --in "site:/{SHARED}=reference.bin" \\
    --out "results=site:/results/$NUMBER" -- {_PROGRAM}
"""

#: Step by step, with a directory.
_STEPS = f"""\
set -e
eval "$(nodexfer acquire)"
nodexfer stage-in "site:/runs/$NUMBER" "$NODEXFER_SCRATCH/own"
nodexfer stage-in "site:/{SHARED}" "$NODEXFER_SCRATCH/"
{_PROGRAM}
nodexfer stage-out "$NODEXFER_SCRATCH/results" "site:/results/$NUMBER"
nodexfer release
"""

#: Step by step, with a list of files.
_MANIFEST = f"""\
set -e
eval "$(nodexfer acquire)"
cd "$NODEXFER_SCRATCH"
mkdir own
nodexfer stage-in --manifest "$MANIFEST"
{_PROGRAM}
nodexfer stage-out results "site:/results/$NUMBER"
nodexfer release
"""

SCRIPTS: Mapping[int, str] = {1: _RUN, 2: _RUN, 3: _STEPS, 4: _MANIFEST, 5: _STEPS}


class Job:
    """One job. ``attempt`` counts: a job that was killed is submitted again, under a new job id, as a user would."""

    def __init__(self, number: int, stage: Stage, site: Site, environment: Mapping[str, str]) -> None:
        self.number = number
        self.attempt = 0
        self.sessions: list[int] = []
        self.process: Process | None = None
        self._stage = stage
        self._site = site
        self._environment = environment
        self.started = self.ended = 0.0

    @property
    def id(self) -> str:
        return f"demo-{self.number}" if self.attempt < 2 else f"demo-{self.number}-again"

    @property
    def script(self) -> str:
        """What its user has written."""
        return SCRIPTS[self.number]

    @property
    def key(self) -> str:
        """By what nodexfer knows it."""
        return detect(self.environment).key

    @property
    def witness(self) -> str:
        return f"{self._stage.logs}/{self.id}.witness"

    @property
    def log(self) -> str:
        return f"{self._stage.logs}/{self.id}.log"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **self._environment,
            "NODEXFER_JOB_ID": self.id,
            "NUMBER": str(self.number),
            "WITNESS": self.witness,
            "MANIFEST": f"{self._stage.logs}/{self.id}.manifest",
        }

    def start(self) -> None:
        """Start its script, as the leader of a new session: what PBS and Slurm do."""
        self.attempt += 1
        script = f"{self._stage.logs}/{self.id}.sh"
        with open(script, "w", encoding="utf-8") as file:
            file.write(self.script)
        self._write_manifest()
        with open(self.log, "wb") as log:
            self.process = procs.spawn(
                ["/bin/sh", script],
                environ=self.environment,
                stdout=log,
                stderr=log,
                new_session=True,
                cwd=self._stage.directory,
            )
        self.sessions.append(self.process.pid)
        self.started, self.ended = time.monotonic(), 0.0

    def _write_manifest(self) -> None:
        """JSON lines; where the scratch will be is known to the job alone, so its own part is relative to it."""
        with open(self.environment["MANIFEST"], "w", encoding="utf-8") as file:
            for name, path in self._site.inputs(self.number).items():
                file.write(json.dumps({"source": f"site:/{path}", "destination": name}) + "\n")

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        code = None if self.process is None else self.process.poll()
        if code is not None and not self.ended:
            self.ended = time.monotonic()
        return code

    def kill(self) -> None:
        """SIGKILL its whole process group, as a scheduler does that has lost patience."""
        if self.process is not None:
            self.process.kill_group()

    def log_tail(self, lines: int = 8) -> str:
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-lines:]).strip()
        except FileNotFoundError:
            return ""

    @property
    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.started
