"""Functions of Globus Compute whose data is on the node when they run: :func:`staged`.

What travels is a function of one text, with everything that it needs in it: it is the same whether the SDK sends its
code or its source, and the worker says by itself where nodexfer is missing or another one.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from nodexfer import __version__
from nodexfer.integrations import by_value
from nodexfer.integrations.sources import Source
from nodexfer.integrations.staging import FORMAT

if TYPE_CHECKING:
    from nodexfer.staging.checksum import Verify
    from nodexfer.staging.client import Route

Urls: TypeAlias = "Mapping[str, str | Sequence[str]]"
Sources: TypeAlias = "Mapping[str, str | Source | Sequence[str | Source]]"
F = TypeVar("F", bound="Callable[..., Any]")


def staged(
    inputs: Sources | None = None,
    outputs: Urls | None = None,
    shared: Sources | None = None,
    *,
    overwrite: bool = False,
    verify: Verify = "size",
    route: Route = "auto",
    wait_endpoint: float | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Callable[[F], Callable[..., dict[str, Any]]]:
    """A function that gets its data as files on the node: a decorator for functions of Globus Compute.

        @nodexfer.staged(inputs={"raw": "site:/raw/{name}.h5"}, outputs={"result": "site:/out/{name}.h5"})
        def reconstruct(name, raw, result):
            ...                                   # raw and result are paths on the node's own disk

        Executor(...).submit(reconstruct, "scan7").result()   # {"value": ..., "receipts": [...]}

    Each key is an argument of the function, which gets a path, or a list of paths for a list of URLs. ``{name}`` in a
    URL is an argument of the call, formatted as :meth:`str.format` does. What comes back is plain data.

    In place of an input's URL, ``nodexfer.Source(url, extract=True, expect="md5:...")`` says that it is an archive
    whose contents are wanted, and which checksum it has.

    :param inputs: brought for each call, into a directory of its own, removed after it.
    :param outputs: sent when the function has returned; one that it did not write is an error that names it.
    :param shared: brought once for all calls of a block on a node; read-only.
    :param overwrite: outputs replace what is at their destination; else that is an error.
    :param settings: keys of the configuration, for the worker.
    :raises TypeError: the function has no such argument, a key stands twice, or an output is a Source.
    """
    tables: dict[str, Any] = {"inputs": inputs, "outputs": outputs, "shared": shared}
    work: dict[str, Any] = {
        **{name: {key: _plain(said) for key, said in (table or {}).items()} for name, table in tables.items()},
        "overwrite": overwrite,
        "options": {"verify": verify, "route": route, "wait_endpoint": wait_endpoint},
        "settings": dict(settings or {}),
    }

    def decorate(function: F) -> Callable[..., dict[str, Any]]:
        _refuse_unknown(function, work)
        return travelling(function, work)

    return decorate


def _plain(said: Any) -> Any:
    """As data: a source of which there is more to say as its fields."""
    if isinstance(said, Source):
        return said._asdict()
    return said if isinstance(said, str) else [_plain(one) for one in said]


def _refuse_unknown(function: Callable[..., Any], work: Mapping[str, Any]) -> None:
    keys = [key for table in ("inputs", "outputs", "shared") for key in work[table]]
    name = getattr(function, "__name__", repr(function))
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise TypeError(f"{name}(): {', '.join(twice)} stands twice among inputs, outputs and shared")
    for key, said in work["outputs"].items():
        if any(isinstance(one, dict) for one in (said if isinstance(said, list) else [said])):
            raise TypeError(f"{name}(): {key} is an output, whose URL is all that there is to say")
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    named = {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    for key in keys:
        if key not in named:
            raise TypeError(f"{name}() has no argument {key!r}, which would be the path of a file")


def travelling(function: Callable[..., Any], work: Mapping[str, Any]) -> Callable[..., Any]:
    """``function`` with its data around it: a function that works wherever its text or its code arrives.

    The code takes ``function`` along, as the default of an argument; the text has the text of ``function`` in it.
    """
    name = function.__name__ if function.__name__.isidentifier() else "staged"
    full = {**work, "name": name, "source": source_of(function)}
    text = (
        f"def {name}(*args, _nodexfer=None, **kwargs):\n"
        f"{textwrap.indent(_arrive(), '    ')}\n"
        f"    return arrive('staging', {FORMAT}, {__version__!r}).call({full!r}, _nodexfer, args, kwargs)\n"
    )
    file = f"<nodexfer.staged {function.__module__}.{function.__qualname__} {id(function)}>"
    # What asks for the text of a function looks here; without a time it is never looked for on the disk.
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names: dict[str, Any] = {"__name__": "<nodexfer.staged>", "__builtins__": __builtins__}
    exec(compile(text, file, "exec", dont_inherit=True), names)  # noqa: S102 (the text is ours, of the caller's data)
    made: Callable[..., Any] = names.pop(name)
    made.__kwdefaults__ = {"_nodexfer": function}
    # Not __wrapped__, and a module that is none: who asks for the text would be led to the caller's file.
    made.__module__ = names["__name__"]
    made.__doc__ = function.__doc__
    return made


@functools.cache
def _arrive() -> str:
    """The text of :func:`nodexfer.integrations.by_value.arrive`, without what needs a name from outside."""
    tree = ast.parse(inspect.getsource(by_value.arrive))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
            if ast.get_docstring(node) is not None:
                del node.body[0]
    return ast.unparse(tree)


def source_of(function: Callable[..., Any]) -> str | None:
    """The text of ``function`` without our decorator and those above it; None where nobody knows it."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
        node = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError):
        return None
    if not isinstance(node, ast.FunctionDef):
        return None
    ours = [number for number, one in enumerate(node.decorator_list) if _is_ours(one)]
    below = node.decorator_list[ours[0] + 1 :] if ours else node.decorator_list
    first = below[0].lineno if below else node.lineno
    return "\n".join(text.splitlines()[first - 1 :]) + "\n"


def _is_ours(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(called).rpartition(".")[2] == staged.__name__
