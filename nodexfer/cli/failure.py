"""From an error to words on stderr, a record on stdout where one is wanted, and an exit code."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress

import click

from nodexfer import records
from nodexfer.cli import INTERRUPTED
from nodexfer.errors import DiskFull, NodexferError, PermissionRefused, UrlMalformed

#: Which extra of ours brings which module.
_EXTRAS = {
    **dict.fromkeys(("flask", "waitress", "werkzeug"), "sandbox"),
    **dict.fromkeys(("globus_compute_endpoint", "globus_compute_sdk"), "compute"),
    "parsl": "parsl",
}

#: The words of a command that plans what goes where.
_MOVE = (["stage-in"], ["stage-out"], ["run"])


def report(error: Exception, *, debug: bool, as_json: bool) -> int:
    """Tell the user; the exit code, which is the same where stderr takes nothing. No traceback without ``debug``."""
    with suppress(OSError):  # a full disk, or a reader that is gone
        _tell(error, debug)
    if isinstance(error, click.Abort):
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        code = max(error.exit_code, 2)
        record = {"error": "usage", "message": error.format_message(), "next": _help(error), "exit_code": code}
    else:
        named = name(error)
        code, record = named.exit_code, named.as_record()
    if as_json:
        _print(record)
    return code


def _tell(error: Exception, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, click.Abort):
        click.echo("nodexfer: interrupted.", err=True)
        return
    if isinstance(error, click.ClickException):
        error.show()
        return
    named = name(error)
    colour = None if not os.environ.get("NO_COLOR") else False  # None: only on a terminal
    click.secho("nodexfer: ", fg="red", bold=True, nl=False, err=True, color=colour)
    click.echo(named.message, err=True)
    if named.next:
        click.echo(f"Next: {_of_this_command(named.next)}{_how_to_get(named.next)}", err=True)


def _how_to_get(next: str) -> str:
    """A comment to who has not got what is to be typed: Globus's own command is not ours to install."""
    missing = next.startswith("globus ") and shutil.which("globus") is None
    return "  # globus: pipx install globus-cli" if missing else ""


def _print(record: Mapping[str, object]) -> None:
    import json

    click.echo(json.dumps(record, indent=2))


def _help(error: click.ClickException) -> str:
    """What says how the command is to be written, where there is anything to say."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{context.command_path} --help" if context is not None else ""


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
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) and error.filename:
        path = os.path.abspath(os.fsdecode(error.filename))
        why = error.strerror or "not permitted"
        return PermissionRefused(f"{path} can not be used: {why}.", f"ls -ld {shlex.quote(os.path.dirname(path))}")
    of_a_file_system = records.of_a_file_system(error)
    if of_a_file_system is not None:
        return of_a_file_system
    if isinstance(error, ModuleNotFoundError) and error.name:
        extra = _EXTRAS.get(error.name.partition(".")[0])
        wanted = f"nodexfer[{extra}]" if extra else "nodexfer"
        return NodexferError(f"The Python module {error.name} is not installed.", f"pip install '{wanted}'")
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    again = " ".join(["nodexfer", "--debug", *sys.argv[1:2], "..."])
    return NodexferError(f"This should not have happened ({words}).", again)
