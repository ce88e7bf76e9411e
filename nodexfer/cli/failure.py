"""From an error to words on stderr, a record on stdout where one is wanted, and an exit code."""

from __future__ import annotations

import errno
import os
import sys

import click

from nodexfer.cli import INTERRUPTED
from nodexfer.errors import DiskFull, NodexferError, UrlMalformed

#: Which extra of ours brings which module.
_EXTRAS = {
    **dict.fromkeys(("flask", "waitress", "werkzeug"), "sandbox"),
    **dict.fromkeys(("globus_compute_endpoint", "globus_compute_sdk"), "compute"),
    "parsl": "parsl",
}

#: The words of a command that plans what goes where.
_MOVE = (["stage-in"], ["stage-out"], ["run"])


def report(error: Exception, *, debug: bool, as_json: bool) -> int:
    """Tell the user; the exit code. No traceback without ``debug``."""
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, click.Abort):
        click.echo("nodexfer: interrupted.", err=True)
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        error.show()
        return max(error.exit_code, 2)
    named = name(error)
    if as_json:
        import json

        click.echo(json.dumps(named.as_record(), indent=2))
    colour = None if not os.environ.get("NO_COLOR") else False  # None: only on a terminal
    click.secho("nodexfer: ", fg="red", bold=True, nl=False, err=True, color=colour)
    click.echo(named.message, err=True)
    if named.next:
        click.echo(f"Next: {_of_this_command(named.next)}", err=True)
    return named.exit_code


def _of_this_command(next: str) -> str:
    """The help of the command that was typed: the layers below point to that of stage-in, whomever they serve."""
    typed = [word for word in sys.argv[1:] if not word.startswith("-")][:1]
    return f"nodexfer {typed[0]} --help" if next == UrlMalformed.default_next and typed in _MOVE else next


def name(error: Exception) -> NodexferError:
    """One of our own errors for whatever came. What is left unnamed here is a fault of nodexfer, and says so."""
    if isinstance(error, NodexferError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = error.filename or "a file that was being written"
        return DiskFull(f"No space is left for {where}.", "df -h")
    if isinstance(error, ModuleNotFoundError) and error.name:
        extra = _EXTRAS.get(error.name.partition(".")[0])
        wanted = f"nodexfer[{extra}]" if extra else "nodexfer"
        return NodexferError(f"The Python module {error.name} is not installed.", f"pip install '{wanted}'")
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    again = " ".join(["nodexfer", "--debug", *sys.argv[1:2], "..."])
    return NodexferError(f"This should not have happened ({words}).", again)
