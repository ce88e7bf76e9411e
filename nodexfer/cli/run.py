"""``nodexfer run``: stage in, run a program, stage out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from nodexfer.cli import example, render
from nodexfer.cli.duration import Duration
from nodexfer.cli.stage import flags, options, shown, summary, warn
from nodexfer.config import load
from nodexfer.errors import OutputMissing, UrlMalformed

if TYPE_CHECKING:
    from nodexfer.running.outputs import Out, Policy
    from nodexfer.running.work import Outcome, Work
    from nodexfer.session import Node
    from nodexfer.staging.client import OnProgress
    from nodexfer.staging.plan import Fetch
    from nodexfer.staging.receipt import Receipt


def _patterns(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    if any(not PurePath(value).name for value in values):  # '', '.', '/'
        raise click.BadParameter("a pattern names something.", param=parameter)
    return values


@click.command(
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    epilog=example("nodexfer run --in site:/data/x.h5 --out y.h5=site:/out/y.h5 -- ./program"),
)
@click.option("--in", "ins", multiple=True, metavar="SRC[=DEST]", help="Bring SRC; as DEST, else under its own name.")
@click.option("--out", "outs", multiple=True, metavar="SRC=DEST", help="Send SRC to DEST, by --on-exit.")
@click.option(
    "--out-always", "always", multiple=True, metavar="SRC=DEST", help="Send SRC whatever the program ends with."
)
@click.option("--out-failure", "failure", multiple=True, metavar="SRC=DEST", help="Send SRC only if the program fails.")
@click.option(
    "--on-exit",
    type=click.Choice(("success", "always", "failure")),
    default="success",
    show_default=True,
    help="When --out is sent. A program that is stopped for time has not failed: then all there is is sent.",
)
@click.option(
    "--time", type=Duration(), metavar="TIME", help="The job ends in TIME, where the scheduler does not say sooner."
)
@click.option(
    "--reserve",
    type=Duration(),
    metavar="TIME",
    help="Stop the program TIME before the end of the job, for the outputs. Default: by their size, at least 30 s.",
)
@click.option(
    "--salvage-first",
    "first",
    multiple=True,
    metavar="PATTERN",
    callback=_patterns,
    help="What to save first where the time is too short: 'best*', 'ckpt/*.h5', an output. Then the newest.",
)
@options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
@click.pass_obj
def run(obj: Any, /, ins: tuple[str, ...], command: tuple[str, ...], as_json: bool, **settings: Any) -> int:
    """Stage in, run a program, stage out.

    Paths on this node are below the job's scratch, NODEXFER_SCRATCH for the program, unless they begin with a slash.
    The program runs in the present directory. If it fails, its exit code is ours, and nothing is sent, or what
    --on-exit says. Every output is looked at before the first is sent.

    Before the job ends the program is stopped (TERM, then KILL), and its outputs are sent, or saved on the shared file
    system where the time is too short; then the exit code is 62.

    --in is split at its last "=" (a trailing one stands for no DEST); --out at the last "=" that a collection follows.
    Other names need a manifest, or the Python API. With --json, what the program prints on stdout goes to stderr.
    """
    from nodexfer.session import hold

    config = load(os.environ)
    # Both are checked before anything else happens: the scratch is not known yet, and does not matter for that.
    fetches(ins, config, "/")
    outputs(settings, config, "/")
    with hold(config=config) as node:
        outcome = _run(node, _work(node, config, ins, command, as_json, settings))
        # Before the hold is given back: that may take longer than a job has that runs out of time.
        if isinstance(outcome.error, OutputMissing):
            _say_where(outcome.error, [*settings["outs"], *settings["always"], *settings["failure"]], str(node.scratch))
        _tell(outcome, debug=obj.debug, as_json=as_json)
    return outcome.exit_code


def _say_where(error: OutputMissing, outs: list[str], scratch: str) -> None:
    """Of a program that wrote beside itself. The scratch goes with our hold: there is nothing to look at in it."""
    names = [name for name, _ in map(split_out, outs) if not os.path.lexists(os.path.join(scratch, name))]
    here = [name for name in names if os.path.lexists(name)]
    if here:
        error.say(
            f"{error.message} There is a {here[0]} in the present directory: sent is what the program writes into "
            "$NODEXFER_SCRATCH."
        )
    if error.next.startswith("ls ") and not os.environ.get("NODEXFER_HOLD"):
        error.next = "nodexfer run --help"


def _tell(outcome: Outcome, *, debug: bool, as_json: bool) -> None:
    if outcome.error is not None:
        from nodexfer.cli.failure import report

        report(outcome.error, debug=debug, as_json=False)
    if as_json:
        error = {} if outcome.error is None else outcome.error.as_record()
        render.show_json({**error, **outcome.record})


def split_in(text: str) -> tuple[str, str]:
    """SRC and DEST of ``--in``, DEST '' where there is none."""
    source, equals, destination = text.rpartition("=")
    return (source, destination) if equals else (text, "")


def split_out(text: str) -> tuple[str, str]:
    """SRC and DEST of ``--out``.

    :raises UrlMalformed: no "=" is followed by a collection.
    """
    from nodexfer.staging.location import is_remote

    at = len(text)
    while (at := text.rfind("=", 0, at)) > 0:
        if is_remote(text[at + 1 :]):
            return text[:at], text[at + 1 :]
    raise UrlMalformed(f"--out {text!r} is not of the form SRC=name:/path.", "nodexfer run --help")


def fetches(ins: tuple[str, ...], config: Any, base: str) -> list[Fetch]:
    """:raises UrlMalformed, ConfigMissing, CollectionUnknown: one of them is written wrongly."""
    from nodexfer.staging.intents import exact_fetches

    pairs = [split_in(text) for text in ins]
    return exact_fetches([(source, where or f"{base}/") for source, where in pairs], config, base=base) if ins else []


def outputs(settings: dict[str, Any], config: Any, base: str) -> list[Out]:
    """:raises UrlMalformed, ConfigMissing, CollectionUnknown: one of them is written wrongly.

    :raises DestinationExists: two would become one.
    """
    from nodexfer.running.outputs import Out
    from nodexfer.staging import plan
    from nodexfer.staging.intents import exact_sends

    kinds: list[tuple[Policy, tuple[str, ...]]] = [
        (settings["on_exit"], settings["outs"]),
        ("always", settings["always"]),
        ("failure", settings["failure"]),
    ]
    found = [
        Out(send, policy)
        for policy, texts in kinds
        for send in exact_sends([split_out(text) for text in texts], config, base=base)
    ]
    plan.distinct_sends([out.send for out in found])
    return found


def _work(
    node: Node, config: Any, ins: tuple[str, ...], command: tuple[str, ...], quiet: bool, settings: dict[str, Any]
) -> Work:
    from nodexfer.running.work import Work

    base = str(node.scratch)
    return Work(
        fetches=fetches(ins, config, base),
        outs=outputs(settings, config, base),
        command=command,
        environ=os.environ,
        time=settings["time"],
        reserve=settings["reserve"],
        wait_endpoint=settings["wait_endpoint"],
        route=settings["route"],
        first=settings["first"],
        moves=flags(settings),
        stdout=2 if quiet else 1,
    )


def _run(node: Node, work: Work) -> Outcome:
    from nodexfer.running import runner
    from nodexfer.running.work import Talk

    sys.stdout.flush()
    return runner.run(node, work, Talk(render.say, _done, _progress))


def _done(label: str, receipt: Receipt) -> None:
    render.say(f"{label}: {summary(receipt)}")
    warn(receipt)


@contextmanager
def _progress(label: str) -> Iterator[OnProgress]:
    with render.Progress(label) as progress:
        yield shown(progress)
