"""What the jobs' commands have said: a line when one begins, a line when it has ended. Written by themselves."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from nodexfer.errors import all_errors
from nodexfer.sandbox.chaos.program import NO_SPACE


class Ledger:
    """One file for all; each line is one write(2) to its end, so that no two mix."""

    def __init__(self, path: str) -> None:
        self._path = path

    def begin(self, process: int, job: str, argv: Sequence[str]) -> None:
        self._add({"is": "begin", "process": process, "job": job, "argv": list(argv)})

    def end(self, process: int, job: str, code: int, wrong: Sequence[str]) -> None:
        self._add({"is": "end", "process": process, "job": job, "code": code, "wrong": list(wrong)})

    def _add(self, record: dict[str, Any]) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, json.dumps(record).encode() + b"\n")
        finally:
            os.close(descriptor)


class Request(NamedTuple):
    """One command. ``code`` is None where it has not ended."""

    job: str
    words: str
    code: int | None
    wrong: tuple[str, ...]


class Verdict(NamedTuple):
    """``lost`` ended without a word that names why; ``false`` said 0 and what they moved is not what it was."""

    requests: int
    lost: tuple[str, ...]
    false: tuple[str, ...]
    #: Name of the error -> how many ended in it.
    errors: dict[str, int]


def read(path: str) -> list[Request]:
    """All commands, in the order in which they began."""
    found: dict[tuple[str, int, int], Request] = {}
    turns: dict[tuple[str, int], int] = {}
    try:
        with open(path, encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
    except FileNotFoundError:
        return []
    for record in records:
        who = (record["job"], record["process"])
        turns[who] = turns.get(who, 0) + (record["is"] == "begin")
        key = (*who, turns[who])
        if record["is"] == "begin":
            found[key] = Request(record["job"], " ".join(record["argv"]), None, ())
        else:
            found[key] = found[key]._replace(code=record["code"], wrong=tuple(record["wrong"]))
    return list(found.values())


def named(code: int) -> str | None:
    """The error whose exit code this is; None for none. (1 and 2 are no names: a fault of nodexfer's, or a typing.)"""
    if code == NO_SPACE:
        return "NoSpaceForTheProgram"
    own = {cls.exit_code: name for name, cls in all_errors().items() if "exit_code" in vars(cls) and cls.exit_code > 2}
    return own.get(code)


def judge(requests: Sequence[Request], killed: Collection[str]) -> Verdict:
    """``killed``: the ids of the jobs that we killed, whose commands owe nobody a word."""
    lost, false = [], []
    errors: dict[str, int] = {}
    for request in requests:
        what = f"{request.job}: {request.words}"
        if request.code is None:
            if request.job not in killed:
                lost.append(f"{what}: never ended")
        elif request.code == 0:
            false += [f"{what}: {text}" for text in request.wrong]
        elif (name := named(request.code)) is None:
            lost.append(f"{what}: ended with {request.code}")
        else:
            errors[name] = errors.get(name, 0) + 1
    return Verdict(len(requests), tuple(lost), tuple(false), dict(sorted(errors.items())))
