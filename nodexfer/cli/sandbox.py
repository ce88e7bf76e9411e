"""``nodexfer sandbox``: an offline Globus to test scripts with."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import click

from nodexfer.cli import Group, example

if TYPE_CHECKING:
    from nodexfer.sandbox.launch import Sandbox

DEFAULT_DIRECTORY = "~/.nodexfer/sandbox"

_directory = click.option(
    "--dir",
    "directory",
    default=DEFAULT_DIRECTORY,
    show_default=True,
    metavar="DIR",
    help="The sandbox's own directory: its state and its GCP stand-in.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")


@click.group(cls=Group, epilog=example("nodexfer sandbox start --site site=/data", 'eval "$(nodexfer sandbox env)"'))
def sandbox() -> None:
    """Run an offline Globus: Auth, Transfer, and a stand-in for Globus Connect Personal.

    It moves real bytes between directories of this machine, listens on 127.0.0.1 only, and needs no account.
    """


@sandbox.command(epilog=example("nodexfer sandbox start --site site=/data"))
@_directory
@click.option(
    "--site", "sites", multiple=True, metavar="NAME=DIR", help="A site collection and the directory that it serves."
)
@click.option(
    "--allow-root/--refuse-root",
    default=None,
    help="Whether the stand-in runs as root, which the real one refuses. Default: only if you are root.",
)
@click.option("--compute", is_flag=True, help="With Globus Compute; needs Debian's rabbitmq-server.")
@click.option("--compute-port", type=int, metavar="PORT", help="Of Globus Compute, whose SDK finds 5000 by itself.")
@_as_json
def start(
    directory: str,
    sites: tuple[str, ...],
    allow_root: bool | None,
    compute: bool,
    compute_port: int | None,
    as_json: bool,
) -> None:
    """Start it in the background; it takes up the state of its last run."""
    from nodexfer.sandbox.launch import Sandbox

    box = Sandbox.start(
        os.path.expanduser(directory),
        dict(_site(text) for text in sites),
        allow_root=allow_root,
        die_with_parent=False,
        compute=compute or compute_port is not None,
        compute_port=compute_port,
    )
    _show(box, as_json)
    if not as_json:
        click.echo(f'Next: eval "$(nodexfer sandbox env{_where(directory)})"', err=True)


@sandbox.command(epilog=example("nodexfer sandbox stop"))
@_directory
@_as_json
def stop(directory: str, as_json: bool) -> None:
    """Stop it. Its state stays for the next start; tasks go on then. That none runs is no error."""
    from nodexfer.sandbox.launch import Sandbox

    box = Sandbox.find(os.path.expanduser(directory))
    where = os.path.realpath(os.path.expanduser(directory)) if box is None else box.directory
    if box is not None:
        box.stop()
    elif not as_json:
        click.echo(f"No sandbox runs in {where}.", err=True)
    _done({"directory": where, "stopped": box is not None}, as_json)


@sandbox.command(epilog=example("nodexfer sandbox status --json"))
@_directory
@_as_json
def status(directory: str, as_json: bool) -> None:
    """Show its collections, tasks and faults."""
    _show(_attach(directory), as_json)


@sandbox.command(epilog=example('eval "$(nodexfer sandbox env)"'))
@_directory
@click.option(
    "--shell", type=click.Choice(["sh", "csh", "fish"]), default="sh", show_default=True, help="For which shell."
)
@_as_json
def env(directory: str, shell: str, as_json: bool) -> None:
    """Print what turns globus, globus-sdk and nodexfer to it; for eval. There are secrets in it."""
    environment = _attach(directory).environment
    if as_json:
        from nodexfer.cli.render import show_json

        show_json(environment)
        return
    form = {"sh": "export {}={}", "csh": "setenv {} {};", "fish": "set -gx {} {};"}[shell]
    for name, value in environment.items():
        click.echo(form.format(name, shlex.quote(value)))


@sandbox.command(epilog=example("nodexfer sandbox reset"))
@_directory
@_as_json
def reset(directory: str, as_json: bool) -> None:
    """Forget endpoints, tasks, tokens and faults; keep client and sites."""
    box = _attach(directory)
    box.reset()
    _done({"directory": box.directory, "reset": True}, as_json)


@sandbox.command(epilog=example("nodexfer sandbox chaos --jobs 6 --minutes 1 --seed 7"))
@click.option("--jobs", type=click.IntRange(1, 200), default=30, show_default=True, help="How many jobs.")
@click.option(
    "--minutes", type=click.FloatRange(0.1, 60.0), default=3.0, show_default=True, help="How long blows fall."
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed draws the same plan.")
@click.option("--keep", is_flag=True, help="Keep the temporary directory, with the jobs' scripts and logs.")
@_as_json
def chaos(jobs: int, minutes: float, seed: int, keep: bool, as_json: bool) -> None:
    """Kill, cut, freeze and refuse while many jobs move data.

    Starts a sandbox of its own in a temporary directory, with several places that share a pool, and jobs as real
    processes. The seed draws who is hit when: jobs, keepers, desks, guards and GCPs are killed and frozen, endpoints
    lost and wedged, answers refused; as root, a disk is filled too. A job that was killed or has failed is run again,
    as its user would. Exit code 0 only if no byte is wrong, no request lost, nothing left behind, and nothing called
    done that was not.
    """
    import signal
    import sys

    from nodexfer.sandbox.chaos.plan import draw
    from nodexfer.sandbox.chaos.report import show
    from nodexfer.sandbox.chaos.run import play
    from nodexfer.sandbox.demo.narrate import Narrator

    # It takes its jobs and its directory with it.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    report = play(draw(seed, jobs, minutes * 60.0), Narrator(), keep=keep)
    if as_json:
        from nodexfer.cli.render import show_json

        show_json(report.as_record())
    else:
        from rich.console import Console

        show(report, Console(highlight=False))
    raise SystemExit(0 if report.ok else 1)


@sandbox.group(epilog=example("nodexfer sandbox fault set fail_path path=/x code=PERMISSION_DENIED"))
def fault() -> None:
    """Make it fail in the ways in which the real one fails."""


@fault.command("set", epilog=example("nodexfer sandbox fault set slow endpoint=site bytes_per_second=1000000"))
@click.argument("kind", shell_complete=lambda *given: _kinds(given[-1]))
@click.argument("fields", nargs=-1, metavar="[NAME=VALUE]...")
@_directory
@_as_json
def set_fault(kind: str, fields: tuple[str, ...], directory: str, as_json: bool) -> None:
    """Set a fault, or a switch with KIND "switch". Prints the fault's id.

    \b
    disconnect     endpoint=NAME              the service loses it; it is kept out
    slow           bytes_per_second=N endpoint=NAME
    corrupt        count=N endpoint=NAME      the next N files written to it
    delay_ready    seconds=N endpoint=NAME    502 for so long after "connected"
    wedge          endpoint=NAME              "connected", and 502 all the same
    http           status=429|500|503 count=N prefix=/v0.10/...
    expire_tokens  refuse=true                all tokens; no new ones
    fail_path      path=/P code=CODE count=N endpoint=NAME
    refuse_offline                            submissions that name an offline GCP
    switch         resume_seconds=N connect_seconds=N ... (see status --json)
    """
    result = _attach(directory).admin("fault", {"kind": kind, **dict(_field(text) for text in fields)})
    if as_json:
        from nodexfer.cli.render import show_json

        show_json(result)
    elif result.get("id"):
        click.echo(result["id"])


@fault.command("list", epilog=example("nodexfer sandbox fault list"))
@_directory
@_as_json
def list_faults(directory: str, as_json: bool) -> None:
    """Show the faults that are set."""
    from nodexfer.cli.render import show_json, show_table

    faults = _attach(directory).admin("fault")["faults"]
    if as_json:
        show_json(faults)
    else:
        show_table(["id", "kind", "fields"], [[f.pop("id"), f.pop("kind"), _fields(f)] for f in faults])


@fault.command("clear", epilog=example("nodexfer sandbox fault clear"))
@click.argument("id", required=False)
@_directory
@_as_json
def clear_fault(id: str | None, directory: str, as_json: bool) -> None:
    """Clear one fault, or all of them. Switches stay as they are."""
    _done({"cleared": _attach(directory).clear(id)}, as_json)


def _kinds(incomplete: str) -> list[str]:
    """For a shell to complete. Where the sandbox's packages are missing there is nothing to set."""
    try:
        from nodexfer.sandbox.faults import KINDS
    except ImportError:
        return []
    return [kind for kind in (*KINDS, "switch") if kind.startswith(incomplete)]


def _attach(directory: str) -> Sandbox:
    from nodexfer.sandbox.launch import Sandbox

    return Sandbox.attach(os.path.expanduser(directory))


def _done(result: dict[str, Any], as_json: bool) -> None:
    """Nothing for people: the command has ended well."""
    if as_json:
        from nodexfer.cli.render import show_json

        show_json(result)


def _show(box: Sandbox, as_json: bool) -> None:
    from nodexfer.cli.render import show_json, show_table

    found = box.status()
    if as_json:
        show_json({"directory": box.directory, "url": box.url, "gcp_program": box.gcp, **found})
        return
    click.echo(f"The sandbox {box.id} is at {box.url}\nand keeps its state in {box.directory}")
    rows = [[e["name"], e["kind"], "yes" if e["connected"] else "no", e["id"]] for e in found["endpoints"]]
    show_table(["collection", "kind", "connected", "id"], rows, whole=["id"])
    tasks = ", ".join(f"{count} {state}" for state, count in found["tasks"].items())
    click.echo(f"Tasks: {tasks}. Faults: {len(found['faults'])}.")
    if found["compute"]:
        _show_compute(found["compute"])


def _show_compute(found: dict[str, Any]) -> None:
    from nodexfer.cli.render import show_table

    tasks = ", ".join(f"{count} {state}" for state, count in found["tasks"].items())
    click.echo(f"Globus Compute is at {found['url']}; its broker is {found['broker']}. Calls: {tasks}.")
    rows = [[e["name"], "online" if e["online"] else "offline", e["id"]] for e in found["endpoints"]]
    if rows:
        show_table(["compute endpoint", "status", "id"], rows, whole=["id"])


def _site(text: str) -> tuple[str, str]:
    name, _, root = text.partition("=")
    if not name or not os.path.isdir(root):
        raise click.BadParameter(f"'{text}' is not NAME=DIR with a directory that exists", param_hint="--site")
    return name, root


def _field(text: str) -> tuple[str, Any]:
    """A value is JSON where it can be (numbers, true, null), else text."""
    import json

    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"'{text}' is not NAME=VALUE", param_hint="NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _fields(fields: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in fields.items())


def _where(directory: str) -> str:
    return "" if directory == DEFAULT_DIRECTORY else f" --dir {shlex.quote(directory)}"
