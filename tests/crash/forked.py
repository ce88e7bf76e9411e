"""The child of a stage by the route via, as a fork of its command: it costs milliseconds, and has points of its own."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from nodexfer.staging import via_child


class Forked:
    """What :func:`nodexfer.procs.spawn` gives, as far as :mod:`nodexfer.staging.via` wants it."""

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.pid = pid
        self.stdin, self.stdout = stdin, stdout
        self._code: int | None = None

    def wait(self, timeout: float) -> int | None:
        if self._code is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                if select.select([descriptor], [], [], timeout)[0]:
                    self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            finally:
                os.close(descriptor)
        return self._code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        self.stdin.close()
        self.stdout.close()


def spawning(prepare: Callable[[], None]) -> Callable[..., Forked]:
    """In the place of ``spawn``: ``prepare`` is called in the child before it begins."""

    def spawn(argv: Sequence[str], *, environ: Mapping[str, str], cwd: str, **_: Any) -> Forked:
        assert argv[-2] == via_child.__name__, argv
        its_in, our_in = os.pipe2(os.O_CLOEXEC)
        our_out, its_out = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                os.dup2(its_in, 0)
                os.dup2(its_out, 1)
                for descriptor in (its_in, our_in, our_out, its_out):
                    os.close(descriptor)
                sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115 (for life)
                sys.argv = ["", argv[-1]]
                os.environ.clear()
                os.environ.update(environ)
                os.chdir(cwd)
                prepare()
                via_child._run()
            finally:
                os._exit(1)
        os.close(its_in)
        os.close(its_out)
        return Forked(pid, os.fdopen(our_in, "wb", buffering=0), os.fdopen(our_out, "rb", buffering=0))

    return spawn
