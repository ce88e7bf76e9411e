"""``nodexfer stage-in`` and ``nodexfer stage-out``."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from nodexfer.cli import example, render
from nodexfer.cli.duration import Duration
from nodexfer.config import Config, load
from nodexfer.errors import Interrupted, UrlMalformed
from nodexfer.units import format_bytes

if TYPE_CHECKING:
    from nodexfer.staging.client import OnProgress
    from nodexfer.staging.receipt import Receipt
    from nodexfer.staging.request import Progress


#: So many warnings are told.
_WARNINGS = 3

_OPTIONS = (
    click.option("--overwrite", is_flag=True, help="Replace a destination that exists."),
    click.option("--merge", is_flag=True, help="Add to a directory that exists; same names are replaced."),
    click.option(
        "--wait-endpoint",
        type=Duration(),
        metavar="TIME",
        help="Wait so long for a free endpoint; 0 refuses at once. Default: until the job ends, or via_after.",
    ),
    click.option(
        "--route",
        type=click.Choice(("auto", "direct", "via")),
        default="auto",
        show_default=True,
        help="direct: an endpoint on this node; via: the site's own collection; auto: via where there is no endpoint.",
    ),
    click.option(
        "--verify",
        type=click.Choice(("size", "checksum")),
        default="size",
        show_default=True,
        help="checksum: read the files here once more, beside what Globus compares; the receipt has the sums.",
    ),
    click.option(
        "--stall",
        type=Duration(),
        default="120",
        show_default=True,
        metavar="TIME",
        help="Without a byte for so long, try again, once: through a restarted endpoint, or (via) in another task.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the receipt on stdout."),
)


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What all commands that move data have in common."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


#: Completed as files. What is wrong with one is said later, as one of our errors.
_PATH = click.Path(readable=False)
_MANIFEST = click.option(
    "--manifest",
    type=_PATH,
    metavar="FILE",
    help="Read pairs from FILE (- is stdin): JSON lines with source and destination, or two columns with a TAB.",
)


@click.command(
    "stage-in",
    epilog=example(
        "nodexfer stage-in site:/data/a.h5 site:/data/b.h5 $NODEXFER_SCRATCH/",
        "nodexfer stage-in --manifest inputs.tsv",
        "nodexfer stage-in --extract site:/data/set.tar.gz $NODEXFER_SCRATCH/set",
    ),
)
@click.argument("paths", nargs=-1, type=_PATH, metavar="SRC... DEST")
@_MANIFEST
@click.option(
    "--extract", is_flag=True, help="SRC is an archive (tar, zip): DEST becomes a directory of what is in it."
)
@click.option("--expect", metavar="ALG:HEX", help="Refuse a SRC whose checksum is not this one: sha256:..., md5:...")
@options
def stage_in(paths: tuple[str, ...], manifest: str | None, as_json: bool, **settings: Any) -> int:
    """Bring files or directories to this node.

    SRC is name:/path, with a collection that the configuration names, or globus://UUID/path. DEST is a path on this
    node; as with cp, a directory that exists, or a trailing slash, is gone into. It must lie on this node's own disk:
    see "roots" in the configuration. Globus leaves out symbolic links in a directory: where one is found, nothing is
    published; name the files that they lead to.
    """
    from nodexfer.staging import intents

    config = load(os.environ)
    if manifest is not None:
        wanted = intents.exact_fetches(_pairs(manifest, paths), config, base=os.getcwd())
    else:
        sources, destination = _split(paths, "stage-in")
        wanted = intents.fetches(sources, destination, config, base=os.getcwd())
    from nodexfer.staging.bring import bring

    inside = {name: settings.pop(name) for name in ("extract", "expect")}
    _finish(_move("stage-in", config, lambda who: bring(who, wanted, **inside, **flags(settings)), settings), as_json)
    return 0


@click.command(
    "stage-out",
    epilog=example(
        "nodexfer stage-out result.h5 site:/results/run7.h5", "nodexfer stage-out --merge figures site:/out/"
    ),
)
@click.argument("paths", nargs=-1, type=_PATH, metavar="SRC... DEST")
@_MANIFEST
@options
def stage_out(paths: tuple[str, ...], manifest: str | None, as_json: bool, **settings: Any) -> int:
    """Take files or directories from this node to a collection.

    DEST is name:/path or globus://UUID/path; as with cp, a directory that exists, or a trailing slash, is gone into.
    Missing directories above it are made. Every SRC is looked at before the first is sent, and gets its name only when
    all of it has arrived. A symbolic link to a file is sent as that file.
    """
    from nodexfer.staging import intents

    config = load(os.environ)
    if manifest is not None:
        wanted = intents.exact_sends(_pairs(manifest, paths), config, base=os.getcwd())
    else:
        sources, destination = _split(paths, "stage-out")
        wanted = intents.sends(sources, destination, config, base=os.getcwd())
    from nodexfer.staging.send import send

    _finish(_move("stage-out", config, lambda who: send(who, wanted, **flags(settings)), settings), as_json)
    return 0


def _split(paths: tuple[str, ...], command: str) -> tuple[list[str], str]:
    if len(paths) < 2:
        raise UrlMalformed("At least one source and a destination are wanted.", f"nodexfer {command} --help")
    return list(paths[:-1]), paths[-1]


def _pairs(manifest: str, paths: tuple[str, ...]) -> list[tuple[str, str]]:
    from nodexfer.staging.manifest import read

    if paths:
        raise UrlMalformed("With --manifest, sources and destinations are in the file and nowhere else.")
    return [(pair.source, pair.destination) for pair in read(manifest)]


def flags(settings: dict[str, Any]) -> dict[str, Any]:
    """Of the options, what the moving itself takes."""
    return {name: settings[name] for name in ("overwrite", "merge", "verify", "stall")}


def _move(label: str, config: Config, work: Callable[[Any], Receipt], settings: dict[str, Any]) -> Receipt:
    """Do the work for the job that we are in, with progress on stderr and a hold of our own."""
    from nodexfer.session import hold

    with terminable(), hold(config=config) as node, render.Progress(label) as progress:
        end = node.end()
        if not end.known and not node.job.startswith("local-"):  # where there is no scheduler, there is no end to miss
            render.say(f"{label}: {end.source}; a day is allowed for it")
        return work(
            node.client(wait_endpoint=settings["wait_endpoint"], route=settings["route"], on_progress=shown(progress))
        )


def shown(progress: render.Progress) -> OnProgress:
    """What a request's progress looks like."""

    def show(news: Progress) -> None:
        progress.show(news.state, news.bytes_done, news.bytes_total)

    return show


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP end what we do in good order: transfers are cancelled, holds released.

    :raises Interrupted: one came.
    """

    def stop(number: int, _: FrameType | None) -> None:
        raise Interrupted(f"Stopped by {signal.Signals(number).name}; the transfer was cancelled.", "nodexfer status")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _finish(receipt: Receipt, as_json: bool) -> None:
    if as_json:
        render.show_json(receipt.as_record())
    else:
        render.say(summary(receipt))
    warn(receipt)


def warn(receipt: Receipt) -> None:
    """What is to be known of what is done: the first of it; the receipt has all."""
    for text in receipt.warnings[:_WARNINGS]:
        render.say(f"Warning: {text}.")
    if len(receipt.warnings) > _WARNINGS:
        render.say(f"Warning: {len(receipt.warnings) - _WARNINGS} more are in the receipt.")


def summary(receipt: Receipt) -> str:
    """One line for people."""
    files = f"{len(receipt.files)} file{'' if len(receipt.files) == 1 else 's'}"
    return f"{files}, {format_bytes(receipt.bytes)}, proven; receipt {receipt.path}"
