"""Every command: it can be imported, its help fits and ends with an example, its options mean the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from nodexfer.cli import COMMANDS, Settings, cli


def find(words: tuple[str, ...]) -> click.Command:
    """:raises ImportError: a module that the table names is not there."""
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None, words
        command = found
    return command


def every_command(words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command and group. One that can not be imported is in it, and fails its own tests."""
    yield words
    try:
        command = find(words)
    except ImportError:
        return
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from every_command((*words, name))


ALL = sorted(every_command())


def shown(words: tuple[str, ...]) -> str:
    result = CliRunner().invoke(cli, [*words, "--help"], prog_name="nodexfer", obj=Settings())
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_help_ends_with_an_example(words: tuple[str, ...]) -> None:
    text = shown(words)
    _, found, example = text.rpartition("Example")
    assert found, text
    command = " ".join(["nodexfer", *words])
    assert command in example, f"the example does not show {command!r}:\n{example}"


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_help_fits_a_terminal(words: tuple[str, ...]) -> None:
    long = [line for line in shown(words).splitlines() if len(line) > 80]
    assert long == []


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_option_is_explained(words: tuple[str, ...]) -> None:
    options = [parameter for parameter in find(words).params if isinstance(parameter, click.Option)]
    assert [option.opts[0] for option in options if not option.help] == []


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_path_that_can_not_be_read_is_an_error_of_ours(words: tuple[str, ...]) -> None:
    """click would call it a mistake in the command line, with exit code 2."""
    paths = [parameter.type for parameter in find(words).params if isinstance(parameter.type, click.Path)]
    assert not [path for path in paths if path.readable or path.writable or path.exists]


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_no_summary_is_cut_short(words: tuple[str, ...]) -> None:
    listed = shown(words).rpartition("\nCommands:\n")[2].partition("Example:")[0]
    assert not isinstance(find(words), click.Group) or "..." not in listed


def test_the_summaries_of_the_table_are_one_line_each() -> None:
    assert max(len(name) + len(target.summary) for name, target in COMMANDS.items()) < 70
