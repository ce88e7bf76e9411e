"""``nodexfer receipts list|show|schema``: the proof of what was moved."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from nodexfer.cli import Group, example, render
from nodexfer.config import load
from nodexfer.units import format_bytes, format_duration

if TYPE_CHECKING:
    from nodexfer.staging.receipt import Receipt

_JSON = click.option("--json", "as_json", is_flag=True, help="Print data for programs.")
#: Files that are shown to people.
_FILES = 20


@click.group(cls=Group, epilog=example("nodexfer receipts list", "nodexfer receipts show"))
def receipts() -> None:
    """Show the receipts: what was moved, when, and how it was proven.

    They are kept in ~/.nodexfer/receipts, a file for each stage-in and stage-out.
    """


@receipts.command("list", epilog=example("nodexfer receipts list --limit 5"))
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest first.")
@_JSON
def list_(limit: int, as_json: bool) -> None:
    """List the newest receipts.

    "asked" is one that is under way, or whose job was killed; "salvaged" waits for nodexfer resume; "done" is proven.
    """
    from nodexfer.staging import archive

    found = archive.newest(load(os.environ).home_paths, limit)
    if as_json:
        render.show_json([_summary(receipt) for receipt in found])
    elif not found:
        render.say("There are no receipts yet.")
    else:
        render.show_table(
            ("WHEN", "WHAT", "STATE", "FILES", "SIZE", "ID"), [_row(receipt) for receipt in found], whole=("ID",)
        )


@receipts.command("show", epilog=example("nodexfer receipts show", "nodexfer receipts show r69a1 --json"))
@click.argument("receipt", required=False, metavar="[ID]")
@_JSON
def show(receipt: str | None, as_json: bool) -> None:
    """Show one receipt: the newest, or ID.

    ID is what its id begins with, or its file.
    """
    from nodexfer.errors import ReceiptUnknown
    from nodexfer.staging import archive

    paths = load(os.environ).home_paths
    found = archive.find(paths, receipt) if receipt else next(iter(archive.newest(paths, 1)), None)
    if found is None:
        raise ReceiptUnknown(f"There are no receipts in {paths.receipts} yet.", "nodexfer stage-in --help")
    if as_json:
        render.show_json(found.as_record())
        return
    sys.stdout.write("".join(f"{name:<10}{render.printable(text)}\n" for name, text in _about(found)))
    for file in found.files[:_FILES]:
        checksum = f", {file.checksum}" if file.checksum else ""
        sys.stdout.write(f"\n{render.printable(file.source)}\n  -> {render.printable(file.destination)}\n")
        sys.stdout.write(f"  {format_bytes(file.size)}{checksum}\n")
    if len(found.files) > _FILES:
        sys.stdout.write(f"\n... and {len(found.files) - _FILES} more; --json has all of them\n")


@receipts.command("schema", epilog=example("nodexfer receipts schema > receipt.schema.json"))
def schema() -> None:
    """Print the JSON Schema of a receipt."""
    from nodexfer.staging import archive

    render.show_json(archive.schema())


def _summary(receipt: Receipt) -> dict[str, Any]:
    """The receipt, with the number of files in place of the files."""
    return {**receipt.as_record(), "files": len(receipt.files)}


def _row(receipt: Receipt) -> tuple[object, ...]:
    what = f"stage-{receipt.direction}"
    return _local(receipt.created), what, receipt.state, len(receipt.files), format_bytes(receipt.bytes), receipt.id


def _about(receipt: Receipt) -> list[tuple[str, str]]:
    size = f"{len(receipt.files)} file{'' if len(receipt.files) == 1 else 's'}, {format_bytes(receipt.bytes)}"
    rows = [("receipt", receipt.id), ("state", receipt.state), ("what", f"stage-{receipt.direction}, {size}")]
    rows += [("job", receipt.job), ("host", receipt.host), ("when", _when(receipt))]
    if receipt.endpoint:
        rows.append(("endpoint", f"{receipt.endpoint}, lease {receipt.lease}"))
    elif receipt.route == "via":
        rows.append(("route", "via the site's own collection"))
    rows += [("task", task) for task in receipt.tasks]
    if receipt.attempts:
        rows.append(("attempts", f"{receipt.attempts}; Globus met {receipt.faults} faults"))
    rows += [("trouble", f"{trouble.code}: {trouble.cause}") for trouble in receipt.troubles]
    if receipt.verify != "size":
        rows.append(("verified", f"by {receipt.verify}"))
    rows += [("warning", text) for text in receipt.warnings]
    rows += _of_run(receipt)
    rows.append(("file", receipt.path))
    return rows


def _of_run(receipt: Receipt) -> list[tuple[str, str]]:
    """How its program ended, and what could not go out in time."""
    rows = []
    if receipt.program is not None:
        stopped = ", stopped for time" if receipt.program.stopped else ""
        rows.append(("program", f"exit code {receipt.program.exit_code}{stopped}"))
        rows += [("policy", f"{name}: on {when}") for name, when in receipt.program.on_exit.items()]
    if receipt.salvage is not None:
        rows.append(("salvage", receipt.salvage))
    if receipt.state == "salvaged":
        rows.append(("next", f"nodexfer resume {receipt.id}"))
    rows += [("not saved", name) for name in receipt.unsaved]
    return rows


def _when(receipt: Receipt) -> str:
    if receipt.finished is None:
        return f"asked {_local(receipt.created)}"
    took = format_duration(max(0.0, receipt.finished - receipt.created))
    waited = f", {format_duration(receipt.waited_endpoint)} of it for an endpoint" if receipt.waited_endpoint else ""
    return f"{_local(receipt.created)}, {took}{waited}"


def _local(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))
