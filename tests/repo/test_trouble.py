"""docs/trouble.md and the README's exit codes say what the tables in the code say."""

from __future__ import annotations

import re

from nodexfer.cli.meanings import MEANINGS, USAGE
from nodexfer.errors import all_errors
from nodexfer.globus.codes import ANSWERS
from nodexfer.globus.events import CODES, SOURCES
from tests.support import readme
from tests.support.source import ROOT

PAGE = ROOT / "docs/trouble.md"


def page_of_codes() -> str:
    """What stands in docs/trouble.md between the comments; paste it from a failure of the test below."""
    lines = ["| code | class | cause | ends in | next | source |", "|---|---|---|---|---|---|"]
    names = list(SOURCES)
    for code, row in CODES.items():
        ends = "" if row.error is None else f"{row.error.__name__} ({row.error.exit_code})"
        numbers = ", ".join(str(names.index(source) + 1) for source in row.sources)
        next_command = row.next.format(task="TASK")
        lines.append(f"| {code} | {row.kind} | {row.cause} | {ends} | `{next_command}` | {numbers} |")
    lines += ["", *(f"{number}. {text}" for number, text in enumerate(SOURCES.values(), 1))]
    return "\n".join(lines)


def test_the_page_has_the_table_of_the_code() -> None:
    assert readme.part("codes", PAGE) == page_of_codes()


def page_of_answers() -> str:
    """The same for the answers to a call."""
    lines = ["| part of the code | HTTP | cause | ends in | next |", "|---|---|---|---|---|"]
    for mark, row in ANSWERS.items():
        ends = f"{row.error.__name__} ({row.error.exit_code})"
        lines.append(f"| {mark} | {row.status} | {row.cause} | {ends} | `{row.next}` |")
    return "\n".join(lines)


def test_the_page_has_the_answers_of_the_code() -> None:
    assert readme.part("answers", PAGE) == page_of_answers()


def test_the_readme_and_explain_say_the_same_of_exit_codes() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+) \| (.*) \|$", readme.part("exit codes"), re.MULTILINE)
    known = [(str(all_errors()[name].exit_code), name, meaning) for name, meaning in MEANINGS.items()]
    assert rows == [(str(USAGE[0]), *USAGE[1:]), *known]


def test_every_error_that_can_end_a_command_has_a_meaning() -> None:
    ends = {name for name, cls in all_errors().items() if "exit_code" in vars(cls)}
    assert ends == set(MEANINGS)
