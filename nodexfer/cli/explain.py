"""``nodexfer explain``: what a code of Globus, an error or an exit code of ours means, and what to do."""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import click

from nodexfer.cli import example, render
from nodexfer.cli.meanings import MEANINGS, USAGE
from nodexfer.errors import NodexferError, all_errors
from nodexfer.globus.codes import ANSWERS, Answer, find_answer
from nodexfer.globus.events import CODES, SOURCES, Code, Kind

#: What happens after a code of each kind.
HEADINGS: dict[Kind, str] = {
    "fatal": "the task is cancelled and the request ends",
    "mend": "the endpoint of this node is restarted, if it is ours that is away",
    "wait": "Globus tries again by itself",
    "news": "nothing is wrong",
}
ANSWERED = "the call is refused, and the request ends"
RECORDED = "globus-sdk, recorded answers of Transfer (globus_sdk.testing); Transfer API, Common Errors"
_INDENT = 30


@click.command(
    epilog=example(
        "nodexfer explain", "nodexfer explain NO_SPACE_LEFT", "nodexfer explain 33", "nodexfer explain PoolExhausted"
    )
)
@click.argument("code", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def explain(code: str | None, as_json: bool) -> int:
    """Say what a code means: why it comes, what nodexfer does, what to type.

    CODE is an event code of a Globus task, an error of nodexfer, or its exit code. Without one, all are listed.
    """
    if code is None:
        _show_all(as_json)
        return 0
    record = lookup(code)
    if record is None:
        raise click.UsageError(f"Nothing is known of {code!r}.{_near(code)} See: nodexfer explain")
    if as_json:
        render.show_json(record)
    else:
        sys.stdout.write("\n".join(_lines(record)) + "\n")
    return 0


def lookup(code: str) -> dict[str, Any] | None:
    """Everything about it as data; None where nothing is known."""
    wanted = code.strip().casefold()
    for name, row in CODES.items():
        if wanted == name.casefold():
            return _of_globus(name, row)
    if wanted == str(USAGE[0]) or wanted == USAGE[1]:
        return {"error": USAGE[1], "exit_code": USAGE[0], "cause": USAGE[2], "next": "nodexfer --help", "codes": []}
    answer = find_answer(wanted)
    if answer is not None:
        return _of_an_answer(*answer)
    for name in MEANINGS:
        if wanted in (name.casefold(), str(all_errors()[name].exit_code)):
            return _of_ours(name)
    return None


def _of_globus(name: str, row: Code) -> dict[str, Any]:
    return {
        "code": name,
        "class": row.kind,
        "then": HEADINGS[row.kind],
        "cause": row.cause,
        "next": row.next.format(task="TASK"),
        "error": None if row.error is None else row.error.__name__,
        "exit_code": None if row.error is None else row.error.exit_code,
        "sources": [SOURCES[source] for source in row.sources],
    }


def _of_an_answer(name: str, row: Answer) -> dict[str, Any]:
    return {
        "code": name,
        "class": "answer",
        "then": ANSWERED,
        "cause": row.cause,
        "next": row.next,
        "error": row.error.__name__,
        "exit_code": row.error.exit_code,
        "sources": [RECORDED],
    }


def _of_ours(name: str) -> dict[str, Any]:
    cls: type[NodexferError] = all_errors()[name]
    return {
        "error": name,
        "exit_code": cls.exit_code,
        "cause": MEANINGS[name],
        "next": cls.default_next or "as the message says",
        "codes": [
            *(code for code, row in CODES.items() if row.error is cls),
            *(code for code, row in ANSWERS.items() if row.error is cls),
        ],
    }


def _near(code: str) -> str:
    from difflib import get_close_matches

    names = {name.casefold(): name for name in (*CODES, *ANSWERS, *MEANINGS)}
    near = get_close_matches(code.casefold(), names, 1)
    return f" Did you mean {names[near[0]]}?" if near else ""


def _lines(record: dict[str, Any]) -> list[str]:
    if "code" in record:
        then = record["then"] + (f": {record['error']}, exit code {record['exit_code']}" if record["error"] else "")
        rows = [("code", record["code"]), ("cause", record["cause"]), ("then", then), ("next", record["next"])]
        rows += [("source", source) for source in record["sources"]]
    else:
        rows = [("error", f"{record['error']}, exit code {record['exit_code']}"), ("cause", record["cause"])]
        rows.append(("next", record["next"]))
        rows += [("codes", f"of Globus that end so: {', '.join(record['codes'])}")] if record["codes"] else []
    return [line for name, text in rows for line in _wrapped(f"{name:<8}", text, 8)]


def _show_all(as_json: bool) -> None:
    if as_json:
        codes = [_of_globus(name, row) for name, row in CODES.items()]
        codes += [_of_an_answer(name, row) for name, row in ANSWERS.items()]
        render.show_json({"codes": codes, "errors": [_of_ours(name) for name in MEANINGS]})
        return
    lines: list[str] = []
    for kind, heading in HEADINGS.items():
        lines += [*_wrapped("", f"Codes of Globus after which {heading} ({kind}):", 0)]
        for name, row in CODES.items():
            if row.kind == kind:
                lines += _wrapped(f"  {name}", row.cause, _INDENT)
        lines.append("")
    lines.append("Answers of Globus to a call, known by a part of their code:")
    for name, answer in ANSWERS.items():
        lines += _wrapped(f"  {name}", answer.cause, _INDENT)
    lines += ["", "Errors of nodexfer, and its exit codes:"]
    for name, meaning in MEANINGS.items():
        lines += _wrapped(f"  {all_errors()[name].exit_code:<4}{name}", meaning, _INDENT)
    sys.stdout.write("\n".join(lines) + "\n")


def _wrapped(head: str, text: str, indent: int) -> list[str]:
    """``text`` in the columns from ``indent`` on, ``head`` before its first line."""
    return textwrap.wrap(
        text, render.WIDTH, initial_indent=head.ljust(indent), subsequent_indent=" " * indent, break_on_hyphens=False
    )
