"""``nodexfer pool create|list|show|remove``: the endpoints that the nodes share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from nodexfer.cli import Group, example, render
from nodexfer.config import Config, load

if TYPE_CHECKING:
    from nodexfer.globus.sdk import SdkGlobus

_POOL = click.option("--pool", "pool_name", metavar="NAME", help="Another pool than the configured one.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print data for programs.")


def _names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The endpoints of the pool, for a shell to complete. A shell gets no errors."""
    from nodexfer.errors import NodexferError
    from nodexfer.pool import entries

    try:
        config = load(pool=ctx.params.get("pool_name"))
        found = entries.read_pool(config.home_paths, config.pool)
    except (NodexferError, OSError):
        return []
    return [entry.name for entry in found if entry.name.startswith(incomplete)]


@click.group(cls=Group, epilog=example("nodexfer pool create --count 2 --prefix mynode", "nodexfer pool list"))
def pool() -> None:
    """Create, list and remove the endpoints that the nodes share.

    A node takes one while data moves, and gives it back. Make as many as nodes move data at the same time.
    """


@contextmanager
def _globus(config: Config) -> Iterator[SdkGlobus]:
    # Only where the service is asked: it takes as long to import as all the rest.
    from contextlib import closing

    from nodexfer.globus.sdk import connect

    with closing(connect(config, os.environ)) as globus:
        yield globus


@pool.command("create", epilog=example("nodexfer pool create --count 2 --prefix mynode"))
@click.option("--count", type=click.IntRange(1, 100), required=True, help="How many.")
@click.option("--prefix", required=True, help="They are called PREFIX-1, PREFIX-2, ...")
@_POOL
@_JSON
def create_(count: int, prefix: str, pool_name: str | None, as_json: bool) -> None:
    """Make endpoints: at Globus, and their credentials here.

    Run it where the service can be reached; it needs the GCP program and no browser.
    """
    from nodexfer.gcp import install
    from nodexfer.pool import create, manage

    config = load(pool=pool_name)
    program = install.find(config)
    made = []
    with _globus(config) as globus:
        for entry in create.create(config, globus, program, os.environ, count, prefix):
            made.append(manage.describe(entry))
            render.say(f"{entry.name} is {entry.endpoint_id}")
    if as_json:
        render.show_json(made)
    else:
        render.say(f"Next: nodexfer pool list{'' if pool_name is None else f' --pool {shlex.quote(pool_name)}'}")


@pool.command("list", epilog=example("nodexfer pool list --json"))
@_POOL
@_JSON
def list_(pool_name: str | None, as_json: bool) -> None:
    """Show the endpoints of the pool, and who has them. Asks nobody."""
    from nodexfer.pool import manage
    from nodexfer.pool.entries import read_pool

    config = load(pool=pool_name)
    found = [manage.describe(entry) for entry in read_pool(config.home_paths, config.pool)]
    if as_json:
        render.show_json(found)
        return
    render.show_table(["NAME", "ENDPOINT", "STATE", "WHO"], [_row(one) for one in found], whole=["NAME", "ENDPOINT"])


def _row(one: dict[str, Any]) -> Sequence[object]:
    if one["state"] == "broken":
        return one["name"], one["endpoint_id"], "broken", one["broken"]
    if one["state"] == "unreadable":
        return one["name"], one["endpoint_id"], "unreadable", one["trouble"]
    lease = one["lease"]
    if one["state"] == "held":
        return one["name"], one["endpoint_id"], "held", f"{lease['job']} on {lease['host']}"
    passed = f"passed over by {lease['job']}: {lease['trouble']}" if lease and lease["trouble"] else ""
    return one["name"], one["endpoint_id"], one["state"], passed


@pool.command(epilog=example("nodexfer pool show mynode-1"))
@click.argument("name", shell_complete=_names)
@_POOL
@_JSON
def show(name: str, pool_name: str | None, as_json: bool) -> None:
    """Show one endpoint, as the pool and as Globus knows it."""
    from nodexfer.pool import manage

    config = load(pool=pool_name)
    with _globus(config) as globus:
        found = manage.show(config, globus, name)
    if as_json:
        render.show_json(found)
        return
    lease = found.pop("lease")
    if lease is not None:
        found["lease"] = f"{lease['number']}, {'given back by' if lease['released'] else 'held by'} job {lease['job']}"
        found["host"] = lease["host"]
        found["renewed"] = lease["renewed"]
        found["passed_over"] = lease["trouble"] or None
    found.pop("name")
    rows = [(key.replace("_", " "), _words(value)) for key, value in found.items() if value is not None]
    render.show_table(["name", name], rows)


def _words(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


@pool.command(epilog=example("nodexfer pool remove mynode-1"))
@click.argument("name", shell_complete=_names)
@click.option("--forget", is_flag=True, help="Only here: leave the endpoint at Globus as it is.")
@_POOL
@_JSON
def remove(name: str, forget: bool, pool_name: str | None, as_json: bool) -> None:
    """Take one endpoint away, at Globus and here. Refused while a node has it."""
    from nodexfer.pool import manage

    config = load(pool=pool_name)
    if forget:
        manage.remove(config, None, name)
    else:
        with _globus(config) as globus:
            manage.remove(config, globus, name)
    if as_json:
        render.show_json({"removed": name})
    else:
        render.say(f"{name} is removed")
