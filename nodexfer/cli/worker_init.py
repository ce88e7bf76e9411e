"""``nodexfer worker-init`` and ``nodexfer compute wrapper``: what runs in every block, and on each of its nodes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack

import click

from nodexfer.cli import example, render
from nodexfer.cli import failure as failures
from nodexfer.config import load
from nodexfer.errors import Interrupted, NodexferError


@click.command("worker-init", epilog=example('eval "$(nodexfer worker-init)"'))
def worker_init() -> int:
    """Hold a block's first node; prints lines to eval.

    For the worker_init of Globus Compute and Parsl, after what puts nodexfer into PATH. The hold lasts as long as the
    block. The lines also export NODEXFER_WRAPPER, with which the endpoint starts its manager on each node.

    Where this fails it says so once, and the block goes on: every function raises the same error at once. A block that
    ended instead would be submitted again, and again.
    """
    from nodexfer.integrations import block

    try:
        click.echo(block.set_up(os.environ))
    except Exception as error:  # noqa: BLE001 (whatever it is, the block must hear of it and go on)
        named = _tell(error)
        click.echo(block.broken(named))
        return named.exit_code
    return 0


@click.command(
    "wrapper",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=example("nodexfer compute wrapper ./manager"),
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
def wrapper(command: tuple[str, ...]) -> int:
    """Hold this node while COMMAND, a block's manager on it, runs.

    Returns COMMAND's exit code. What $NODEXFER_COMMON names is staged before COMMAND starts, and every function finds
    it as a shared input. The signals TERM, INT, HUP, USR1, USR2 and XCPU go to COMMAND. However it ends, the node is
    released.

    Where the node can not be held, or something common not be staged, that is said once, and COMMAND runs all the
    same: every function raises the same error at once.
    """
    from nodexfer.cli.child import NotStarted
    from nodexfer.integrations import orphans, servers
    from nodexfer.running import program

    orphans.adopt()
    managers = servers.Servers()
    with program.Signals() as signals, ExitStack() as stack:
        try:
            environ = _held(stack)
        except Interrupted:  # while something common was being staged
            return 128 + 15
        try:
            return program.run(command, environ, signals, watch=managers.watch).code
        except program.NotStarted as error:
            raise NotStarted(str(error), error.code) from error
        finally:
            signals.saving = True  # nothing is to come between the manager's end and the release
            if "NODEXFER_HOLD" in environ:
                orphans.end(load(os.environ), environ["NODEXFER_JOB"])
            managers.end()
            _release(stack)


def _held(stack: ExitStack) -> Mapping[str, str]:
    """What the manager gets: this node's hold, or why there is none."""
    from nodexfer.integrations import block
    from nodexfer.session import BROKEN

    if os.environ.get(BROKEN):
        return os.environ
    try:
        return {**os.environ, **stack.enter_context(block.held(os.environ))}
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 (whatever it is, the functions are to raise it)
        return {**os.environ, BROKEN: block.record(_tell(error))}


def _release(stack: ExitStack) -> None:
    """The manager's exit code is what counts now."""
    try:
        stack.close()
    except (NodexferError, OSError) as error:
        failures.report(error, debug=False, as_json=False)


def _tell(error: Exception) -> NodexferError:
    """On stderr, which the scheduler keeps of a block; the error by its name."""
    named = failures.name(error)
    failures.report(named, debug=False, as_json=False)
    render.say("nodexfer: The block goes on; every function of it that stages raises this error.")
    return named
