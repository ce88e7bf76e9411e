"""``nodexfer resume``: send what jobs have salvaged."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import click

from nodexfer.cli import example, render
from nodexfer.cli.duration import Duration
from nodexfer.config import Config, load
from nodexfer.errors import NodexferError

if TYPE_CHECKING:
    from nodexfer.globus.protocol import Globus
    from nodexfer.staging.receipt import Receipt
    from nodexfer.staging.resume import Options


@click.command(epilog=example("nodexfer resume", "nodexfer resume --overwrite r68d2f1b03a7c91de"))
@click.argument("receipts", nargs=-1, metavar="[RECEIPT...]")
@click.option("--overwrite", is_flag=True, help="Replace a destination that exists.")
@click.option("--merge", is_flag=True, help="Add to a directory that exists; same names are replaced.")
@click.option("--partial", is_flag=True, help="Send directories that lack files, too, as NAME.partial.")
@click.option(
    "--time",
    "seconds",
    type=Duration(),
    default="24h",
    show_default=True,
    metavar="TIME",
    help="Wait so long at most. A later resume goes on.",
)
@click.option("--json", "as_json", is_flag=True, help="Print receipts and failures on stdout.")
def resume(receipts: tuple[str, ...], seconds: float, as_json: bool, **flags: bool) -> int:
    """Send what jobs have salvaged.

    What could not leave a node before its job ended was copied to ~/.nodexfer/salvage. This sends it to the
    destinations it was meant for, through the site's own collection (the one with a local_path in the configuration),
    and then removes the copies. RECEIPT is a receipt's id or file; without one, everything that waits is sent.

    Run it on a login node or in a job: it needs no endpoint of the pool. However it ends, it can be run again, and goes
    on where it was.
    """
    from nodexfer.staging.resume import Options, find

    config = load(os.environ)
    found = find(config, receipts)
    if not found:
        render.say("Nothing waits to be resumed.")
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    options = Options(deadline=time.time() + seconds, **flags)
    globus = _connect(config) if found else None
    for directory in found:
        assert globus is not None
        try:
            receipt = _one(config, directory, globus, options)
        except NodexferError as error:
            if len(found) == 1:
                raise
            failed.append({**error.as_record(), "salvage": directory})
            render.say(f"{os.path.basename(directory)}: {error.message}\nNext: {error.next}")
        else:
            done.append(receipt.as_record())
    if as_json:
        render.show_json({"resumed": done, "failed": failed})
    return int(failed[0]["exit_code"]) if failed else 0


def _connect(config: Config) -> Globus:
    from nodexfer.globus.sdk import connect

    return connect(config, os.environ)


def _one(config: Config, directory: str, globus: Globus, options: Options) -> Receipt:
    from nodexfer.cli.stage import shown, summary, warn
    from nodexfer.staging.resume import resume as send

    with render.Progress("resume") as progress:
        receipt = send(config, directory, globus, options, shown(progress))
    render.say(f"{receipt.id}: {summary(receipt)}")
    warn(receipt)
    return receipt
