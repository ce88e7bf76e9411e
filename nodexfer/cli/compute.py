"""``nodexfer compute``: Globus Compute endpoints whose functions find their data on the node."""

from __future__ import annotations

import os

import click

from nodexfer.cli import Group, compute_ask, example, render
from nodexfer.cli.worker_init import wrapper


@click.group(cls=Group, epilog=example("nodexfer compute init --site slurm --account ABC --queue normal mine"))
def compute() -> None:
    """Set up, check and try Globus Compute endpoints whose functions find their data on the node."""


for command in (wrapper, compute_ask.check, compute_ask.selftest, compute_ask.diagnose):
    compute.add_command(command)


def _sites(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """For a shell to complete."""
    from nodexfer.integrations.sites import SITES

    return [name for name in SITES if name.startswith(incomplete)]


@compute.command(epilog=example("nodexfer compute init --site aurora --account ABC --queue debug mine"))
@click.argument("name")
@click.option("--site", required=True, shell_complete=_sites, help="aurora, perlmutter, pbs, slurm or local.")
@click.option("--account", help="The project that pays.")
@click.option("--queue", help="The queue; at Perlmutter, the QOS.")
@click.option("--worker-init", metavar="LINES", help="What puts nodexfer into a block's PATH. Default: this very one.")
@compute_ask.OPTIONS
@click.option("--overwrite", is_flag=True, help="Replace the configuration of an endpoint that there is.")
def init(
    name: str,
    site: str,
    account: str | None,
    queue: str | None,
    worker_init: str | None,
    given: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Write a site's configuration of an endpoint called NAME.

    It goes to $GLOBUS_COMPUTE_USER_DIR/NAME, or ~/.globus_compute/NAME, for you alone to read. What is given here is
    what a caller gets who says nothing else.
    """
    from nodexfer.integrations import compute_setup

    lines = compute_setup.default_worker_init() if worker_init is None else worker_init
    said = {"account": account, "queue": queue, "worker_init": lines, **compute_ask.options(given)}
    directory = compute_setup.init(site, name, said, os.environ, overwrite=overwrite)
    click.echo(directory)
    click.echo(f"Next: nodexfer compute validate {name}", err=True)


@compute.command(epilog=example("nodexfer compute validate mine -o nodes=2"))
@click.argument("name")
@compute_ask.OPTIONS
@compute_ask.JSON
def validate(name: str, given: tuple[str, ...], as_json: bool) -> None:
    """Show the submit script of a block of NAME.

    The endpoint's own code makes it. NAME is an endpoint of yours, or the path of a configuration. Nothing is
    submitted.
    """
    from nodexfer.integrations import compute_render, compute_setup

    directory = compute_setup.find(name, os.environ)
    rendered = compute_render.render(directory, compute_ask.options(given))
    if as_json:
        render.show_json(
            {
                "directory": directory,
                "configuration": rendered.text,
                "script": rendered.script,
                "command": rendered.command,
            }
        )
        return
    click.echo(rendered.script.strip("\n"))
    click.echo(f"The endpoint accepts {directory}; it would submit this by: {rendered.command}", err=True)
