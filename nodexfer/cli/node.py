"""``nodexfer acquire|release|hold``: a job's hold on its node."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from nodexfer import scheduler
from nodexfer.cli import failure
from nodexfer.cli import shell as shells
from nodexfer.cli.duration import Duration
from nodexfer.config import Config, load
from nodexfer.errors import HoldUnknown, NodexferError
from nodexfer.node import hold as holds

if TYPE_CHECKING:
    from nodexfer.identity import ProcessId

_ENDPOINT = click.option("--endpoint", is_flag=True, help="Have the endpoint up, too, as long as the hold lasts.")
_WAIT = click.option(
    "--wait-endpoint",
    type=Duration(),
    metavar="TIME",
    help="Wait so long for a free endpoint; 0 refuses at once. Default: until the job ends.",
)


class Evaluated(click.Command):
    """A command whose stdout is for eval: whatever goes wrong, what is evaluated fails."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        shell = _shell_of(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError:
            click.echo(shells.failure(shell, 2))
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BaseException as error:
            code = error.exit_code if isinstance(error, NodexferError) else 1
            click.echo(shells.failure(ctx.params["shell"], code))
            raise


def _shell_of(arguments: Sequence[str]) -> str:
    """The shell that is asked for on a command line that may make no sense."""
    words = iter(" ".join(arguments).replace("=", " ").split())
    named = [next(words, "") for word in words if word == "--shell"]
    return named[-1] if named and named[-1] in shells.SHELLS else "sh"


@click.command(cls=Evaluated, epilog='\b\nExample:\n  eval "$(nodexfer acquire)"')
@_ENDPOINT
@_WAIT
@click.option(
    "--shell", type=click.Choice(shells.SHELLS), default="sh", show_default=True, help="Whose lines to print."
)
def acquire(endpoint: bool, wait_endpoint: float | None, shell: str) -> None:
    """Hold this node for the job, and print lines to eval.

    They export NODEXFER_HOLD, NODEXFER_JOB and NODEXFER_SCRATCH, the job's own directory on this node; with --endpoint
    also NODEXFER_ENDPOINT_ID and NODEXFER_ROOT, a directory that the endpoint sees: any Globus client can move files to
    and from it. The hold lasts until `nodexfer release`, or the end of the job.
    """
    config = load()
    variables = _take(config, None, endpoint, wait_endpoint)
    try:
        click.echo(shells.exports(shell, variables))
        if sys.stdout.isatty():
            _tell_to_evaluate(shell, variables["NODEXFER_HOLD"])
    except BaseException:  # nobody knows of the hold, and so nobody would give it back
        holds.release(config, variables["NODEXFER_HOLD"])
        raise


def _tell_to_evaluate(shell: str, hold: str) -> None:
    click.echo(
        "nodexfer: These lines, shown to you, set nothing. The hold is there all the same, until the job ends or:\n"
        f"  nodexfer release {hold}",
        err=True,
    )
    click.echo(f"Next: {shells.evaluation(shell, 'nodexfer acquire')}", err=True)


def _take(config: Config, owner: ProcessId | None, endpoint: bool, patience: float | None) -> dict[str, str]:
    """Take a hold; its variables. Nothing is held when this raises."""
    job = scheduler.detect(os.environ)
    taken = holds.take(config, job, owner, endpoint=endpoint)
    try:
        if not endpoint:
            return taken.variables
        from nodexfer.node import ready

        found = ready.wait(config, job, taken, patience, ready.end_of_job(config, job))
        return ready.variables(config, taken, found)
    except BaseException:
        holds.release(config, taken.id)
        raise


@click.command(epilog="\b\nExample:\n  nodexfer release")
@click.argument("hold", envvar="NODEXFER_HOLD", required=False)
def release(hold: str | None) -> None:
    """Give HOLD back; by default the one that $NODEXFER_HOLD names.

    With the last hold of a job its scratch on this node is removed, and its keeper ends. The shell's variables stay as
    `nodexfer acquire` set them: a script that goes on does well to unset NODEXFER_HOLD and NODEXFER_SCRATCH.
    """
    if not hold:
        raise HoldUnknown("NODEXFER_HOLD is not set, so that there is no hold to give back.", "nodexfer status")
    if not holds.release(load(), hold):
        click.echo("nodexfer: the hold was given back; the job's keeper has not ended yet.", err=True)


@click.command(
    "hold",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="\b\nExample:\n  nodexfer hold -- ./program",
)
@_ENDPOINT
@_WAIT
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
def hold(endpoint: bool, wait_endpoint: float | None, command: tuple[str, ...]) -> int:
    """Hold this node while COMMAND runs, and return its exit code.

    COMMAND gets the variables of `nodexfer acquire`, and the signals TERM, INT, HUP, USR1, USR2 and XCPU that come
    here.
    """
    from nodexfer import procs
    from nodexfer.cli.child import run

    config = load()
    variables = _take(config, procs.this(), endpoint, wait_endpoint)
    try:
        return run(command, {**os.environ, **variables})
    finally:
        _give_back(config, variables["NODEXFER_HOLD"])


def _give_back(config: Config, name: str) -> None:
    """How COMMAND ended is what counts now; a hold that is not given back ends with this process."""
    try:
        holds.release(config, name)
    except (NodexferError, OSError) as error:
        failure.report(error, debug=False, as_json=False)
