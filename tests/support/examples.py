"""The examples, run as their reader runs them: from a shell, offline, by a user with one collection and a pool."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nodexfer.sandbox.demo.leftovers import files, processes
from nodexfer.sandbox.demo.offline import Offline, offline
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
#: Seconds for one program: nothing is promised by it.
LONG = 150.0


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Reader(NamedTuple):
    """``site`` is the directory of the collection "site"."""

    user: Offline
    site: Path
    environment: dict[str, str]

    def start(self, *command: str | Path, **environment: str) -> subprocess.Popen[str]:
        """A program in a session of its own, as a shell or a scheduler would start it."""
        return subprocess.Popen(
            [str(word) for word in command],
            env={**self.environment, **environment},
            cwd=self.user.stage.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str | Path, **environment: str) -> Done:
        with self.start(*command, **environment) as process:
            try:
                out, err = process.communicate(timeout=LONG)
            finally:
                process.kill()
        return Done(process.returncode, out, err)

    def python(self, example: str, *arguments: str | Path, **environment: str) -> Done:
        return self.run(sys.executable, EXAMPLES / example, *arguments, **environment)

    def made(self, script: str, *arguments: str | Path) -> str:
        """What a script that makes data for an example prints."""
        done = self.python(script, *arguments)
        assert done.code == 0, done
        return done.out.strip()

    def stopped(self) -> None:
        """Wait until nothing of the user's runs."""

        def check() -> bool:
            assert processes(f"NODEXFER_NODE_DIR={self.user.stage.node_dir}", []) == []
            return True

        eventually(check, 90.0)

    def cleared(self) -> None:
        """Wait until nothing runs; then nothing is left on the node, or half-way at the site."""
        self.stopped()
        assert files(self.user.stage.node_dir, self.user.stage.site) == []


@contextmanager
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """In a directory with a short name: Parsl makes a socket below it, and a socket's path has 107 bytes."""
    directory = tmp_path_factory.mktemp("e")
    with offline(str(directory), prefix="examples") as user:
        environment = {
            **user.environment,
            "NODEXFER_LINGER": "0.2",
            "NODEXFER_TIME": "600",
            "TMPDIR": str(directory),
            # What an activated environment has: Parsl looks its own programs up, and a job script python3.
            "PATH": f"{user.stage.bin}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        }
        found = Reader(user, Path(user.stage.site), environment)
        yield found
        found.cleared()


def names(example: str) -> dict[str, Any]:
    """What is defined in an example."""
    return runpy.run_path(str(EXAMPLES / example), run_name="example")


def scheduled(reader: Reader, script: str, job: str = "4711") -> Done:
    """A site's job script, as PBS or Slurm runs it."""
    path, where = EXAMPLES / "sites" / script, str(EXAMPLES)
    if path.suffix == ".pbs":
        return reader.run("/bin/bash", path, PBS_JOBID=f"{job}.server", PBS_O_WORKDIR=where)
    return reader.run("/bin/bash", path, SLURM_JOB_ID=job, SLURM_SUBMIT_DIR=where, SLURM_CLUSTER_NAME="cluster")
