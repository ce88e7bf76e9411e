"""Running somebody's program in our place: its terminal, its signals, its exit code."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import IO, Any

import click

from nodexfer import procs

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
#: sh(1), EXIT STATUS: not found, and found but not to be run.
NOT_FOUND, NOT_RUNNABLE = 127, 126


class NotStarted(click.ClickException):
    """The program could not be started; ``exit_code`` as a shell has it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"nodexfer: {self.message}", file=file, err=file is None)


def run(command: Sequence[str], environ: Mapping[str, str], stdout: int = 1) -> int:
    """Run ``command`` with our stdin, stdout and stderr; its exit code, 128 + n where signal n ended it.

    What is sent to us meanwhile is sent on, but an interrupt from the keyboard, which the terminal sends to both.

    :raises NotStarted: there is no such program, or it can not be run.
    """
    before = {number: signal.getsignal(number) for number in _FORWARDED}
    early: list[int] = []
    for number in _FORWARDED:
        signal.signal(number, lambda number, _: early.append(number))
    try:
        child = _start(command, environ, stdout)
        for number in _FORWARDED:
            signal.signal(number, _forward(child))
        for sent in early:
            child.signal(sent)
        while (code := child.wait(3600.0)) is None:
            pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _start(command: Sequence[str], environ: Mapping[str, str], stdout: int) -> procs.Process:
    try:
        return procs.spawn(command, environ=environ, stdin=0, stdout=stdout, stderr=2)
    except FileNotFoundError as error:
        raise NotStarted(f"{command[0]} was not found.", NOT_FOUND) from error
    except OSError as error:
        raise NotStarted(f"{command[0]} can not be run: {error.strerror}.", NOT_RUNNABLE) from error


def _forward(child: procs.Process) -> Callable[[int, FrameType | None], None]:
    def forward(number: int, _: FrameType | None) -> None:
        if number != signal.SIGINT or not _in_foreground():
            child.signal(number)

    return forward


def _in_foreground() -> bool:
    """Do we get the terminal's interrupts, as the child does? Our stdin may be something else."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(descriptor)
