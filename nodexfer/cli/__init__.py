"""The command line: a table of commands, each imported when it is chosen, and one place where errors become words.

Thousands of jobs start this from a parallel file system: it imports click and the standard library only.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

#: New objects between two looks for garbage: more than a short command makes.
_GARBAGE = 50_000
#: Exit code after an interrupt from the keyboard, as a shell reports it (128 + SIGINT).
INTERRUPTED = 130


class Target(NamedTuple):
    """Where a command is, and what ``nodexfer --help`` says of it without importing it."""

    module: str
    name: str
    summary: str


COMMANDS: dict[str, Target] = {
    "run": Target("run", "run", "Stage in, run a program, stage out."),
    "stage-in": Target("stage", "stage_in", "Bring files to this node."),
    "stage-out": Target("stage", "stage_out", "Take files from this node to a collection."),
    "acquire": Target("node", "acquire", "Hold this node for the job; prints lines to eval."),
    "release": Target("node", "release", "Give a hold back."),
    "hold": Target("node", "hold", "Hold this node while a program runs."),
    "status": Target("status", "status", "Show this node: endpoint, jobs, holds, tasks."),
    "clean": Target("clean", "clean", "Remove what dead jobs left on this node."),
    "resume": Target("resume", "resume", "Send what jobs had to salvage."),
    "receipts": Target("receipts", "receipts", "Show what was moved, and how it was proven."),
    "explain": Target("explain", "explain", "Say what a code of Globus, or an exit code, means."),
    "pool": Target("pool", "pool", "Create, list and remove endpoints for the nodes."),
    "compute": Target("compute", "compute", "Set up, check and try Globus Compute endpoints."),
    "worker-init": Target("worker_init", "worker_init", "Hold a block of Globus Compute; prints lines to eval."),
    "sandbox": Target("sandbox", "sandbox", "Run an offline Globus, for tests and demonstrations."),
    "demo": Target("demo", "demo", "See five jobs share one endpoint, without an account."),
    "completion": Target("completion", "completion", "Print what makes a shell complete commands."),
}


class Group(click.Group):
    """A group that knows what a misspelt command was to be; its own groups too."""

    group_class = type

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), 1)
            error.message += f" Did you mean {near[0]}?" if near else ""
            raise


class Table(Group):
    """A group whose commands are strings until one is chosen."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module = importlib.import_module(f"nodexfer.cli.{target.module}")
        command: click.Command = getattr(module, target.name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, target.summary) for name, target in COMMANDS.items()])


class Settings:
    """What the options before the command say."""

    def __init__(self) -> None:
        self.debug = bool(os.environ.get("NODEXFER_DEBUG"))


def example(*lines: str) -> str:
    """The ``epilog`` that ends a command's help: what to type, line by line."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from nodexfer import __version__

        click.echo(f"nodexfer {__version__}")
        ctx.exit()


@click.group(
    cls=Table,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog='\b\nCompletion, in ~/.bashrc:\n  eval "$(nodexfer completion bash)"\n\n'
    + example("nodexfer run --in site:/data/x.h5 --out y.h5=site:/out/y.h5 -- ./program"),
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error. Also: NODEXFER_DEBUG=1.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
@click.pass_obj
def cli(settings: Settings, debug: bool) -> None:
    """Bring data by Globus into this compute node's own /tmp, and take the results out again."""
    settings.debug = settings.debug or debug


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for a command line that makes no sense, or the error's own.

    :param argv: None: this process is the command, and ends with it.
    """
    if argv is not None:
        return _run(list(argv))
    # What a command imports and makes is no garbage until its end, and then the kernel takes all of it back at once:
    # looking through it costs a sixth of the processor time of a whole command.
    gc.set_threshold(_GARBAGE)
    try:
        return _run(sys.argv[1:])
    finally:
        gc.freeze()


def _run(arguments: list[str]) -> int:
    settings = Settings()
    try:
        try:
            result: Any = cli.main(arguments, prog_name="nodexfer", standalone_mode=False, obj=settings)
        except Exception as error:  # noqa: BLE001 (the one place where every error becomes a sentence and an exit code)
            from nodexfer.cli.failure import report

            return report(error, debug=settings.debug, as_json=_wants_json(arguments))
    except KeyboardInterrupt:  # click makes an Abort of it, but for one that comes between its own lines, or ours
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether ``--json`` is among our own arguments: what follows ``--`` is another program's."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in own
