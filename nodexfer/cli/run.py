"""``nodexfer run``: stage in, run a program, stage out."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from nodexfer.cli import child, example, render
from nodexfer.cli.stage import options, shown, summary, terminable
from nodexfer.config import load
from nodexfer.errors import UrlMalformed

if TYPE_CHECKING:
    from nodexfer.session import Node
    from nodexfer.staging.plan import Fetch, Send
    from nodexfer.staging.receipt import Receipt


@click.command(
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    epilog=example("nodexfer run --in site:/data/x.h5 --out y.h5=site:/out/y.h5 -- ./program"),
)
@click.option("--in", "ins", multiple=True, metavar="SRC[=DEST]", help="Bring SRC; as DEST, else under its own name.")
@click.option("--out", "outs", multiple=True, metavar="SRC=DEST", help="Send SRC to DEST when the program has ended.")
@options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
def run(ins: tuple[str, ...], outs: tuple[str, ...], command: tuple[str, ...], as_json: bool, **settings: Any) -> int:
    """Stage in, run a program, stage out.

    Paths on this node are below the job's scratch, NODEXFER_SCRATCH for the program, unless they begin with a slash.
    The program runs in the present directory. If it fails, its exit code is ours, and nothing is sent. Every --out is
    looked at before the first is sent.

    --in is split at its last "=" (a trailing one stands for no DEST); --out at the last "=" that a collection follows.
    Other names need a manifest, or the Python API. With --json, what the program prints on stdout goes to stderr.
    """
    from nodexfer.session import hold

    config = load(os.environ)
    # Both are checked before anything else happens: the scratch is not known yet, and does not matter for that.
    fetches(ins, config, "/")
    sends(outs, config, "/")
    with hold(config=config) as node:
        base = str(node.scratch)
        record: dict[str, Any] = {"in": None, "exit_code": None, "out": None}
        if ins:
            record["in"] = _stage("stage-in", node, fetches(ins, config, base), settings)
        code = _run(command, node, quiet=as_json)
        record["exit_code"] = code
        if code == 0 and outs:
            record["out"] = _stage("stage-out", node, sends(outs, config, base), settings)
    if as_json:
        render.show_json(record)
    return code


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


def sends(outs: tuple[str, ...], config: Any, base: str) -> list[Send]:
    """:raises UrlMalformed, ConfigMissing, CollectionUnknown: one of them is written wrongly."""
    from nodexfer.staging.intents import exact_sends

    return exact_sends([split_out(text) for text in outs], config, base=base)


def _stage(label: str, node: Node, wanted: list[Any], settings: dict[str, Any]) -> dict[str, object]:
    from nodexfer.staging.bring import bring
    from nodexfer.staging.send import send

    move = bring if label == "stage-in" else send
    with terminable(), render.Progress(label) as progress:
        who = node.client(wait_endpoint=settings["wait_endpoint"], on_progress=shown(progress))
        receipt: Receipt = move(who, wanted, overwrite=settings["overwrite"], merge=settings["merge"])
    render.say(f"{label}: {summary(receipt)}")
    return receipt.as_record()


def _run(command: tuple[str, ...], node: Node, *, quiet: bool) -> int:
    """The program's exit code; 128 + n where a signal ended it, 127 and 126 as a shell has them."""
    environ = {**os.environ, "NODEXFER_SCRATCH": str(node.scratch), "NODEXFER_JOB": node.job}
    sys.stdout.flush()
    try:
        return child.run(command, environ, stdout=2 if quiet else 1)
    except child.NotStarted as error:
        render.say(f"nodexfer: {error.message}")
        return error.exit_code
