"""A function that travels as its own text: a worker without nodexfer, or with another one, can then say so.

What is pickled by reference is looked up in nodexfer on the worker, and where there is none, all that comes back is
"No module named 'nodexfer'". A text needs nothing there, whatever pickles it and whichever Python reads it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def arrive(module: str, wanted: int, version: str) -> Any:
    """On the worker: the nodexfer.integrations module of that name, if it is there and of the ``wanted`` format.

    From its text and nothing else: all that it names is imported in here. Its errors are ImportErrors where they are
    raised, and nodexfer's own where they are unpickled.
    """
    import importlib
    import os
    import sys

    install = f"{sys.executable} -m pip install nodexfer=={version}"

    def failure(message: str) -> ImportError:
        error = ImportError(message, name="nodexfer")
        text = f"__import__('nodexfer.errors').errors.NodexferMissing({message!r}, {install!r})"
        # Pickle asks for the one, tblib, which Parsl has for its tracebacks, for the other.
        error.__reduce__ = lambda: (eval, (text,))  # type: ignore[method-assign]
        error.__reduce_ex__ = lambda _: (eval, (text,))  # type: ignore[method-assign]
        return error

    where = f"for {sys.executable} on {os.uname().nodename}"
    try:
        package = importlib.import_module("nodexfer")
        if package.__file__ is None:  # a directory of that name, with no package in it
            raise ImportError
    except ImportError:
        raise failure(f"nodexfer is not installed {where}: {install}") from None
    try:
        found = importlib.import_module(f"nodexfer.integrations.{module}")
        known = found.FORMAT
    except ImportError as error:
        if not str(error.name).startswith("nodexfer"):
            raise
        known = None
    if known != wanted:
        there = getattr(package, "__version__", "(unknown)")
        message = (
            f"nodexfer {there} is installed {where}, and {version} is asking it for what it does not know: {install}"
        )
        raise failure(message)
    return found


class ByValue:
    """``function``, which names nothing outside of itself, pickled as its text."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        text = f"from __future__ import annotations\n{inspect.getsource(self._function)}"
        made = f"(lambda names: exec({text!r}, names) or names[{self._function.__name__!r}])({{}})"
        return eval, (made,)


#: What to call on the worker, with the name of a module: see :func:`arrive`.
ARRIVE = ByValue(arrive)
