"""A Parsl app on its worker: its files get their paths here, inputs before the app runs, outputs after it returned.

The submit side names and the worker decides where. A name travels as the ``local_path`` of Parsl's own File, in the
app's own arguments, so the function is the same for all calls of an app, and is pickled and unpickled once.
Nothing of parsl is imported: a File is known by its class's name.
"""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from nodexfer.errors import NodexferError, OutputMissing
from nodexfer.identity import host
from nodexfer.integrations import shared, worker
from nodexfer.integrations.worker import FORMAT as FORMAT
from nodexfer.session import Node

Direction: TypeAlias = "Literal['in', 'out']"
_MARK = "nodexfer-"


class Mark(NamedTuple):
    """What the submit side says of a file: ``key`` is what its content goes by on a node."""

    direction: Direction
    key: str
    name: str
    #: Of an input: what :class:`nodexfer.integrations.sources.Source` says.
    extract: bool = False
    expect: str | None = None

    def __str__(self) -> str:
        algorithm, _, digits = (self.expect or "").partition(":")
        extract = "extract" if self.extract else ""
        return f"{_MARK}{self.direction}:{self.key}:{extract}:{algorithm}:{digits}:{self.name}"


def read(file: Any) -> Mark | None:
    """The mark of a File of ours; None of anything else. No attribute of a foreign object is touched."""
    kind = type(file)
    if kind.__name__ != "File" or not kind.__module__.startswith("parsl."):
        return None
    text = file.local_path or ""
    for direction in ("in", "out"):
        if text.startswith(f"{_MARK}{direction}:"):
            _, key, extract, algorithm, digits, name = text.split(":", 5)
            return Mark(direction, key, name, bool(extract), f"{algorithm}:{digits}" if algorithm else None)
    return None


def source(url: str) -> str:
    """The URL as :mod:`nodexfer.staging.location` has it, without its trailing slashes. Nothing is decoded."""
    scheme, _, rest = url.partition("://")
    rest = rest.rstrip("/") if rest.strip("/").count("/") else rest
    if scheme.lower() == "nodexfer":
        name, slash, path = rest.partition("/")
        return f"{name}:{slash}{path}"
    return f"{scheme.lower()}://{rest}"


class _Output(NamedTuple):
    mark: Mark
    url: str
    path: str


def run(func: Callable[..., Any], work: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The app, its data around it.

    :param work: ``settings`` of the hold, ``options`` of both ways, and whether to ``overwrite`` outputs.
    :raises NodexferError: its ``receipts`` tell what was moved before.
    """
    files = [(file, mark) for file in _files(args, kwargs) if (mark := read(file)) is not None]
    if not files:
        return func(*args, **kwargs)
    node = worker.node(work["settings"])
    wanted = {
        mark.key: shared.Wanted(source(file.url), mark.name, mark.extract, mark.expect)
        for file, mark in files
        if mark.direction == "in"
    }
    with shared.using(node, wanted, **work["options"]) as inputs:
        try:
            with tempfile.TemporaryDirectory(prefix="parsl-", dir=node.scratch, ignore_cleanup_errors=True) as own:
                return _run(node, func, work, args, kwargs, inputs.paths, own)
        except NodexferError as error:
            error.receipts = (*inputs.receipts, *error.receipts)
            raise


def _run(
    node: Node,
    func: Callable[..., Any],
    work: Mapping[str, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    inputs: Mapping[str, str],
    own: str,
) -> Any:
    outputs: list[_Output] = []

    def here(value: Any) -> Any:
        mark = read(value)
        if mark is None:
            return value
        if mark.direction == "in":
            path = inputs[mark.key]
        else:
            os.mkdir(f"{own}/{len(outputs)}")
            path = f"{own}/{len(outputs)}/{mark.name}"
            outputs.append(_Output(mark, source(value.url), path))
        # A copy: in a thread of the submit side this is the very File that a retry starts from.
        file = copy.copy(value)
        file.local_path = path
        return file

    result = func(
        *[here(value) for value in args], **{name: _each(name, value, here) for name, value in kwargs.items()}
    )
    if outputs and not _failed(result):
        _send(node, outputs, work)
    return result


def _send(node: Node, outputs: Sequence[_Output], work: Mapping[str, Any]) -> None:
    missing = [output for output in outputs if not os.path.lexists(output.path)]
    if missing:
        names = ", ".join(f"{output.url} (as {output.path})" for output in missing)
        raise OutputMissing(f"The app returned, but did not write {names} on {host()}; nothing was sent.", "")
    node.stage_out({output.path: output.url for output in outputs}, overwrite=work["overwrite"], **work["options"])
    for output in outputs:
        shared.keep(node, output.mark.key, output.path)


def _failed(result: Any) -> bool:
    """Parsl's apps do not raise: they return what they would have raised."""
    return type(result).__name__ == "RemoteExceptionWrapper"


#: The arguments in which Parsl looks for files, one by one.
_LISTS = ("inputs", "outputs")


def _each(name: str, value: Any, here: Callable[[Any], Any]) -> Any:
    if name in _LISTS and isinstance(value, (list, tuple)):
        return type(value)(map(here, value))
    return here(value)


def _files(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Any]:
    yield from args
    for name, value in kwargs.items():
        if name in _LISTS and isinstance(value, (list, tuple)):
            yield from value
        else:
            yield value
