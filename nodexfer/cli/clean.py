"""``nodexfer clean``: take away what dead jobs left on this node."""

from __future__ import annotations

import click

from nodexfer.cli import example
from nodexfer.cli.render import printable, show_json
from nodexfer.config import load


@click.command(epilog=example("nodexfer clean --dry-run", "nodexfer clean"))
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def clean(dry_run: bool, as_json: bool) -> None:
    """Remove what jobs left on this node that were killed: scratch, half files, requests, an endpoint not given back.

    Nothing is touched whose owner is not proven dead: a job that holds, or whose script runs, keeps everything. The
    same is done whenever an endpoint is brought up here, so that this command is rarely needed.
    """
    from nodexfer.node import sweep

    config = load()
    endpoints = [lease.entry for lease in sweep.leases_here(config)]
    found = sweep.look(config) if dry_run else sweep.sweep(config)
    if as_json:
        rows = [one._asdict() for one in found]
        show_json({"node_dir": config.node_dir, "dry_run": dry_run, "endpoints": endpoints, "found": rows})
        return
    does = "would remove" if dry_run else "removed"
    for one in found:
        said = f"kept {one.path} ({one.what}): {one.kept}" if one.kept else f"{does} {one.path} ({one.what})"
        click.echo(printable(said))
    for name in endpoints:
        click.echo(f"{'would give back' if dry_run else 'gave back'} the endpoint {printable(name)}")
    if not found and not endpoints:
        click.echo(f"Nothing is left of dead jobs at {printable(config.node_dir)}.")
