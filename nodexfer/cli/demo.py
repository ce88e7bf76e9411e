"""``nodexfer demo``: see it work, on this machine, without an account anywhere."""

from __future__ import annotations

import click

from nodexfer.cli import example


@click.command(epilog=example("nodexfer demo"))
@click.option("--json", "as_json", is_flag=True, help="Print what was measured as JSON on stdout.")
@click.option("--keep", is_flag=True, help="Keep the temporary directory, with the jobs' scripts and logs.")
def demo(as_json: bool, keep: bool) -> None:
    """Five jobs on this node share one endpoint, and one is killed.

    Starts an offline Globus with a site of real files in a temporary directory, a pool of two endpoints, and five jobs
    as real processes; kills the job whose keeper runs the endpoint in the middle of its transfer; then compares every
    byte and looks for what was left behind. Takes about 20 seconds. Exit code 0 only if all of it is proven.
    """
    import json
    import signal
    import sys

    from nodexfer.sandbox.demo.narrate import Narrator
    from nodexfer.sandbox.demo.report import show
    from nodexfer.sandbox.demo.run import play

    # A demonstration that is told to go takes its jobs and its directory with it.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    narrator = Narrator()
    report = play(narrator, keep=keep)
    if as_json:
        click.echo(json.dumps(report.as_record(), indent=2, ensure_ascii=False))
    else:
        from rich.console import Console

        show(report, Console(highlight=False))
    raise SystemExit(0 if report.ok else 1)
