"""A function of :func:`nodexfer.staged` on its worker: inputs before it runs, outputs after it returned.

Of the standard library and ours only: nothing of Globus Compute has to be there. What is given back is plain data, so
that the submit side needs nothing of ours to read it.
"""

from __future__ import annotations
import __future__

import inspect
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nodexfer.errors import NodexferError, OutputMissing, UrlMalformed
from nodexfer.identity import host
from nodexfer.integrations import block, shared, worker
from nodexfer.integrations.sources import Source, requests
from nodexfer.session import Node

#: What the submit side's description of work looks like. A worker that knows another number says so.
FORMAT = 2

#: The tables of sources in it: a URL, or the fields of a :class:`Source`; or a list of these.
TABLES = ("inputs", "outputs", "shared")

#: Bytes of a result, as the service carries it: https://globus-compute.readthedocs.io/en/stable/limits.html. On its way
#: a pickled value is written in base64, in lines.
RESULT_MOST = 10 * 1024 * 1024
_WRITTEN = 4 / 3 * 77 / 76
#: Files that a receipt in a result names; it is whole where it is kept (``path``).
FILES_MOST = 500


def call(
    work: Mapping[str, Any], function: Callable[..., Any] | None, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The function's own value, and the receipts of what was moved for it.

    :param function: None where only its text came.
    :raises NodexferError: its ``receipts`` tell what was moved before.
    """
    function = function or from_source(work)
    wanted = filled(work, named(function, work, args, kwargs))
    node = worker.node(work["settings"])
    receipts: list[dict[str, Any]] = []
    everybodys = [one for several in wanted["shared"].values() for one in several]
    with (
        _telling(receipts),
        shared.using(node, block.wanted(everybodys), **work["options"]) as common,
        tempfile.TemporaryDirectory(prefix="compute-", dir=node.scratch, ignore_cleanup_errors=True) as own,
    ):
        receipts += common.receipts
        paths = {key: [Path(common.paths[block.key(one)]) for one in ones] for key, ones in wanted["shared"].items()}
        paths |= _bring(node, wanted["inputs"], f"{own}/inputs", work["options"], receipts)
        outputs = places(wanted["outputs"], f"{own}/outputs")
        given = {key: found if _many(work, key) else found[0] for key, found in (paths | outputs).items()}
        value = function(*args, **kwargs, **given)
        _send(node, wanted["outputs"], outputs, work, receipts)
        _refuse_large(work["name"], value)
    return {"value": value, "receipts": [short(receipt) for receipt in receipts]}


@contextmanager
def _telling(receipts: list[dict[str, Any]]) -> Iterator[None]:
    """What was moved before an error is in the error; Globus Compute sends its text, and so it is in the text too."""
    try:
        yield
    except NodexferError as error:
        error.receipts = (*receipts, *error.receipts)
        if error.receipts and hasattr(error, "add_note"):
            error.add_note(f"Moved before: receipt {', '.join(str(one['id']) for one in error.receipts)}")
        raise


def from_source(work: Mapping[str, Any]) -> Callable[..., Any]:
    """The function of its text. :raises NodexferError: the submit side did not know its text."""
    if work["source"] is None:
        raise NodexferError(
            f"Only the text of {work['name']}() was sent, and the submit side has none of it.",
            "Executor(..., serializer=ComputeSerializer(strategy_code=DillCode()))",
        )
    names: dict[str, Any] = {"__name__": "__main__"}
    # Annotations may name what was imported at the top of the caller's file.
    flags = __future__.annotations.compiler_flag
    code = compile(work["source"], f"<{work['name']}>", "exec", flags=flags, dont_inherit=True)
    exec(code, names)  # noqa: S102 (the caller's own function)
    function: Callable[..., Any] = names[work["name"]]
    return function


def named(
    function: Callable[..., Any], work: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The call's own arguments by their names, defaults among them. :raises TypeError: it has one of ours."""
    signature = inspect.signature(function)
    bound = signature.bind_partial(*args, **kwargs)
    ours = [key for table in TABLES for key in work[table]]
    for key in ours:
        if key in bound.arguments or key in kwargs:
            raise TypeError(f"{work['name']}() gets {key!r} from nodexfer.staged; the call must not give it")
    bound.apply_defaults()
    found = dict(bound.arguments)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            found.update(found.pop(parameter.name, {}))
    return {name: value for name, value in found.items() if name not in ours}


def filled(work: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, dict[str, list[Source]]]:
    """The sources of this call, by table and key. :raises UrlMalformed: one names what is no argument."""

    def fill(text: str) -> str:
        try:
            return text.format_map(arguments)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            known = ", ".join(arguments) or "none"
            message = f"{text!r} can not be filled in ({type(error).__name__}: {error}); the call's arguments: {known}."
            raise UrlMalformed(message) from error

    def source(said: str | Mapping[str, Any]) -> Source:
        one = Source(said) if isinstance(said, str) else Source(**said)
        return one._replace(url=block.plain(fill(one.url)), expect=None if one.expect is None else fill(one.expect))

    return {table: {key: [source(one) for one in _list(said)] for key, said in work[table].items()} for table in TABLES}


def _list(said: Any) -> Sequence[Any]:
    return said if isinstance(said, list) else [said]


def _many(work: Mapping[str, Any], key: str) -> bool:
    """Whether the function gets a list."""
    return any(isinstance(work[table].get(key), list) for table in TABLES)


def places(table: Mapping[str, list[Source]], base: str) -> dict[str, list[Path]]:
    """A path for each source, in a directory of its own: its file name is what it is at the other side.

    :raises SourceUnsupported: see :func:`nodexfer.integrations.block.file_name`.
    """
    found: dict[str, list[Path]] = {}
    for key, sources in table.items():
        found[key] = []
        for number, one in enumerate(sources):
            os.makedirs(f"{base}/{key}/{number}", 0o700)
            found[key].append(Path(base, key, str(number), block.file_name(one)))
    return found


def _bring(
    node: Node, table: Mapping[str, list[Source]], base: str, options: Mapping[str, Any], receipts: list[dict[str, Any]]
) -> dict[str, list[Path]]:
    """All inputs, in as few requests as can be. What stands twice is brought once."""
    where: dict[Source, Path] = {}
    for key, paths in places(table, base).items():
        for one, path in zip(table[key], paths, strict=True):
            where.setdefault(one, path)
    for several, own in requests(where):
        receipts.append(node.stage_in(several, **options, **own).as_record())
    return {key: [where[one] for one in sources] for key, sources in table.items()}


def _send(
    node: Node,
    table: Mapping[str, list[Source]],
    paths: Mapping[str, list[Path]],
    work: Mapping[str, Any],
    receipts: list[dict[str, Any]],
) -> None:
    """All outputs in one request."""
    missing = [f"{key} ({path})" for key, each in paths.items() for path in each if not os.path.lexists(path)]
    if missing:
        message = f"{work['name']}() returned, but did not write {', '.join(missing)} on {host()}; nothing was sent."
        raise OutputMissing(message, "")
    where = {str(path): one.url for key, each in paths.items() for path, one in zip(each, table[key], strict=True)}
    if where:
        receipts.append(node.stage_out(where, overwrite=work["overwrite"], **work["options"]).as_record())


def _refuse_large(name: str, value: Any) -> None:
    """After the outputs are out: a value that can not travel is told, and nothing of the work is lost."""
    try:
        size = len(pickle.dumps(value, pickle.HIGHEST_PROTOCOL)) * _WRITTEN
    except Exception:  # noqa: BLE001 (the SDK has other ways, and says so where it has none)
        return
    if size > RESULT_MOST:
        raise NodexferError(
            f"{name}() returned {size / 1e6:.1f} MB as Globus Compute sends it, which carries at most "
            f"{RESULT_MOST / 1e6:.1f} MB: write it to a file of outputs={{...}}, and return what is said of it.",
            "nodexfer receipts list",
        )


def short(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """A receipt that fits into a result, however many files it names."""
    files = receipt["files"]
    if len(files) <= FILES_MOST:
        return dict(receipt)
    return {**receipt, "files": files[:FILES_MOST], "files_left_out": len(files) - FILES_MOST}
