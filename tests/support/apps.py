"""The apps of the Parsl tests, and what they are made of: imported by workers, so of the standard library and Parsl."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import Any

from parsl.app.app import bash_app, python_app


@python_app
def upper(inputs: Any = (), outputs: Any = ()) -> tuple[int, list[str], list[str]]:
    """Each output is its input in capitals; the process, and the paths of inputs and outputs."""
    for one, other in zip(inputs, outputs, strict=False):
        with open(one) as read, open(other, "w") as write:
            write.write(read.read().upper())
    return os.getpid(), [file.filepath for file in inputs], [file.filepath for file in outputs]


@python_app
def content(*files: Any, **more: Any) -> list[str]:
    """What is in each, by whatever argument it comes."""
    found = []
    for file in (*files, *more.get("inputs", ()), *(value for name, value in more.items() if name != "inputs")):
        with open(file) as read:
            found.append(read.read())
    return found


@python_app
def tree(inputs: Any = ()) -> list[tuple[str, dict[str, bytes]]]:
    """The path of each, and the files in it."""
    found = []
    for top in map(str, inputs):
        files = {}
        for directory, _, names in os.walk(top):
            for name in names:
                with open(f"{directory}/{name}", "rb") as file:
                    files[os.path.relpath(file.name, top)] = file.read()
        found.append((top, files))
    return found


@python_app
def copy_tree(source: Any, outputs: Any = ()) -> list[str]:
    shutil.copytree(source, outputs[0])
    return sorted(os.listdir(source))


@python_app
def writes(text: str, outputs: Any = ()) -> None:
    """The same text to each."""
    for output in outputs:
        with open(output, "w") as file:
            file.write(text)


@python_app
def nothing(inputs: Any = (), outputs: Any = ()) -> str:
    return "done"


@python_app
def fails(inputs: Any = (), outputs: Any = ()) -> None:
    with open(outputs[0], "w") as file:
        file.write("half")
    raise ArithmeticError("the app's own")


@python_app
def fails_once(mark: str, inputs: Any = (), outputs: Any = ()) -> str:
    """The first call raises, the next ones write what they read."""
    with open(inputs[0]) as read, open(outputs[0], "w") as write:
        write.write(read.read())
    if not os.path.exists(mark):
        with open(mark, "w"):
            raise ArithmeticError("once")
    return str(inputs[0])


@bash_app
def concatenate(inputs: Any = (), outputs: Any = (), stdout: Any = None, stderr: Any = None) -> str:
    return f"cat {' '.join(repr(str(file)) for file in inputs)} > '{outputs[0]}' && echo said && echo told >&2"


@bash_app
def bash(command: str, inputs: Any = (), outputs: Any = (), stdout: Any = None, stderr: Any = None) -> str:
    """``{outputs[0]}`` and the like in it are paths."""
    return command.format(inputs=inputs, outputs=outputs)


@python_app
def dies(inputs: Any = ()) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@python_app
def parents(inputs: Any = ()) -> tuple[int, int]:
    """The worker and its manager."""
    return os.getpid(), os.getppid()


@python_app
def waits(path: str, inputs: Any = ()) -> None:
    """Until there is such a file; says that it runs by one beside it."""
    with open(f"{path}.runs", "w"):
        pass
    while not os.path.exists(path):
        time.sleep(0.05)


@python_app
def waits_and_writes(path: str, outputs: Any = ()) -> None:
    while not os.path.exists(path):
        time.sleep(0.05)
    with open(outputs[0], "w") as file:
        file.write("written")
