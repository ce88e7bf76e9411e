"""``nodexfer run``: stage in, run a program, stage out."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from nodexfer import procs
from nodexfer.cli import example, render
from nodexfer.cli.stage import options, shown, summary, terminable
from nodexfer.config import load
from nodexfer.errors import UrlMalformed

if TYPE_CHECKING:
    from nodexfer.session import Node
    from nodexfer.staging.plan import Fetch, Send
    from nodexfer.staging.receipt import Receipt

#: What reaches the program; INT only where no terminal has sent it to both of us.
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


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
        child = procs.spawn(command, environ=environ, stdin=sys.stdin.buffer, stdout=2 if quiet else 1, stderr=2)
    except FileNotFoundError:
        render.say(f"nodexfer: {command[0]}: not found")
        return 127
    except PermissionError:
        render.say(f"nodexfer: {command[0]}: can not be executed")
        return 126
    with _forwarded(child):
        while (code := child.wait(3600.0)) is None:
            pass
    return 128 - code if code < 0 else code


@contextmanager
def _forwarded(child: procs.Process) -> Iterator[None]:
    """Pass signals on. What a terminal sends goes to the whole foreground group: the program has it already."""

    def forward(number: int, _: FrameType | None) -> None:
        if number != signal.SIGINT or not _has_terminal():
            child.signal(number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_terminal() -> bool:
    """Whether we are in a terminal's foreground group."""
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
