"""Running somebody's program in our place: what could not be started is told as a shell does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

import click

from nodexfer.running import program


class NotStarted(click.ClickException):
    """The program could not be started; ``exit_code`` as a shell has it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"nodexfer: {self.message}", file=file, err=file is None)


def run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run ``command`` with our stdin, stdout and stderr; its exit code, 128 + n where signal n ended it.

    What is sent to us meanwhile is sent on, but an interrupt from the keyboard, which the terminal sends to both.

    :raises NotStarted: there is no such program, or it can not be run.
    """
    with program.Signals() as signals:
        try:
            return program.run(command, environ, signals).code
        except program.NotStarted as error:
            raise NotStarted(str(error), error.code) from error
