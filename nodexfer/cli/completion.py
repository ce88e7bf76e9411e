"""``nodexfer completion``: click's own script for a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from nodexfer.cli import cli, example


@click.command(epilog=example('eval "$(nodexfer completion bash)"     # in ~/.bashrc'))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the lines that make SHELL complete nodexfer's commands and options.

    bash (4.4 or newer) and zsh eval them; fish sources them: nodexfer completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None
    lines = kind(cli, {}, "nodexfer", "_NODEXFER_COMPLETE").source()
    # Where click has nothing to offer, as in the middle of NAME=DIR, bash completes files (bash(1), complete -o).
    click.echo(lines.replace("complete -o nosort ", "complete -o nosort -o default "))
