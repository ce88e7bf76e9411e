"""A place of a test's own, jobs as real processes at it, and eyes on what they do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nodexfer import procs
from nodexfer.config import Config, load
from nodexfer.identity import ProcessId
from nodexfer.node import registry
from nodexfer.scheduler import Job
from tests.support.waiting import eventually

NODEXFER = [sys.executable, "-m", "nodexfer"]


def job(number: str = "1") -> Job:
    """The job that ``NODEXFER_JOB_ID=<number>`` means."""
    return Job("local", os.uname().nodename, number, 0)


def place(**settings: Any) -> Config:
    """The configuration of this test's place: its node_dir is not made yet."""
    return load(**settings)


class Script:
    """A job's script: a shell in a session of its own, that runs the lines it is given, one at a time."""

    def __init__(
        self, number: str, environ: Mapping[str, str] | None = None, prefix: Sequence[str] = (), host: str | None = None
    ) -> None:
        self.job = job(number)._replace(cluster=host or os.uname().nodename)
        self._shell = procs.spawn(
            [*prefix, "/bin/sh"],
            environ={**os.environ, **(environ or {}), "NODEXFER_JOB_ID": number},
            stdin=procs.PIPE,
            stdout=procs.PIPE,
            stderr=procs.STDOUT,
            new_session=True,
        )
        self.process = ProcessId.of(self._shell.pid)

    def run(self, line: str) -> tuple[int, str]:
        """The exit code of ``line``, and what it said."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{line}\nprintf '\\n<%s>\\n' $?\n".encode())
        self._shell.stdin.flush()
        lines: list[str] = []
        while True:
            read = self._shell.stdout.readline().decode()
            assert read, f"the script ended: {''.join(lines)}"
            if read.startswith("<"):
                return int(read.strip("<>\n")), "".join(lines).strip()
            lines.append(read)

    def must(self, command: str) -> str:
        """Run ``nodexfer <command>`` and give its output. :raises AssertionError: it failed."""
        code, text = self.run(f"'{sys.executable}' -m nodexfer {command}")
        assert code == 0, text
        return text

    def acquire(self, options: str = "") -> str:
        """The hold that the script has from now on."""
        code, text = self.run(f"eval \"$('{sys.executable}' -m nodexfer acquire {options})\" && echo $NODEXFER_HOLD")
        assert code == 0, text
        return text.splitlines()[-1]

    def end(self) -> None:
        """The script comes to its end."""
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(10.0)
        self._shell.close()

    def kill(self) -> None:
        """SIGKILL to all of its process group, its keeper among them."""
        self._shell.kill_group()
        self._shell.wait(10.0)
        self._shell.close()


@contextmanager
def script(
    number: str = "1",
    environ: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    host: str | None = None,
) -> Iterator[Script]:
    """Killed at the end if it still runs. ``prefix``: what runs the shell, in namespaces of its own perhaps."""
    made = Script(number, environ, prefix, host)
    try:
        yield made
    finally:
        if made.process.alive:
            made.kill()


def keeper(config: Config, number: str = "1") -> ProcessId:
    """The keeper of a job. :raises AssertionError: it has none."""
    found = registry.read_keeper(config.node_paths.keeper(job(number).key))
    assert found is not None
    assert found.process.alive
    return found.process


def kill(process: ProcessId) -> None:
    """SIGKILL, and see it gone."""
    procs.signal(process, signal.SIGKILL)
    eventually(lambda: not process.alive)


def stop(process: ProcessId) -> None:
    """SIGSTOP, and see it stand still: until then it may go on for a moment."""
    procs.signal(process, signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0] == "T")


def remove(directory: str) -> None:
    """Remove a directory in which others still write: what comes up meanwhile as well."""

    def is_gone() -> bool:
        shutil.rmtree(directory, ignore_errors=True)
        return not os.path.lexists(directory)

    eventually(is_gone)


def holds(config: Config) -> list[registry.Hold]:
    """The holds in the registry, whether they live or not."""
    if not os.path.isdir(config.node_dir):
        return []
    with registry.Transaction(config.node_paths) as table:
        return list(table)


def left(config: Config) -> set[str]:
    """What is in the node_dir, relative to it."""
    top = Path(config.node_dir)
    return {str(path.relative_to(top)) for path in top.rglob("*")}


#: What may stay when nobody holds any more.
SKELETON = {"registry.lock", "guard.lock", "desk.lock", "logs"}


def is_cleared(config: Config) -> bool:
    """Nothing but lock files and logs is left."""
    rest = {name for name in left(config) if not name.startswith("logs/")} - SKELETON
    assert not rest, rest
    return True


def nodexfer(*arguments: str, environ: Mapping[str, str] | None = None, timeout: float = 60.0) -> procs.Completed:
    """Run the command to its end."""
    return procs.run([*NODEXFER, *arguments], timeout=timeout, environ={**os.environ, **(environ or {})})


def told(*arguments: str, environ: Mapping[str, str] | None = None) -> Any:
    """What ``nodexfer <arguments> --json`` says. :raises AssertionError: it failed."""
    done = nodexfer(*arguments, "--json", environ=environ)
    assert done.code == 0, done
    return json.loads(done.out)


def python(code: str, *arguments: str, number: str = "1", **options: Any) -> procs.Process:
    """A Python program of the job, in a session of its own; it can be told things by lines."""
    argv: Sequence[str] = [sys.executable, "-c", code, *arguments]
    return procs.spawn(
        argv,
        environ={**os.environ, "NODEXFER_JOB_ID": number},
        stdin=procs.PIPE,
        stdout=procs.PIPE,
        new_session=True,
        **options,
    )
