"""The project's own source as data, for the tests of the house rules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
#: What a checkout has; never what was built or installed into it.
PARTS = ("nodexfer", "tests", "benchmarks", "docs", "examples", "pbs", "endpoint_configs", "requirements", ".ci")


class Module(NamedTuple):
    """One Python file. ``name`` is dotted: ``nodexfer.node.keeper``, ``nodexfer.node`` for an ``__init__``."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    @property
    def where(self) -> str:
        return str(self.path.relative_to(ROOT))


class Import(NamedTuple):
    module: Module
    line: int
    #: The dotted name that is imported, with the imported attribute where there is one.
    name: str

    def __str__(self) -> str:
        return f"{self.module.where}:{self.line} imports {self.name}"


@cache
def modules(part: str = "nodexfer") -> tuple[Module, ...]:
    """Every Python file below ``part``, parsed."""
    return tuple(_module(path) for path in sorted((ROOT / part).rglob("*.py")))


def _module(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, ast.parse(text, str(path)), text.count("\n"))


def imports(module: Module) -> Iterator[Import]:
    """Wherever they stand: at the top, in a function, or for the type checker only."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.where}:{node.lineno}: write the whole name of what is imported"
            for alias in node.names:
                yield Import(module, node.lineno, f"{node.module}.{alias.name}")


def files() -> Iterator[Path]:
    """Every text file of a checkout."""
    top = (path for path in ROOT.iterdir() if path.is_file())
    for path in (*top, *(path for part in PARTS for path in (ROOT / part).rglob("*"))):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".pyc", ".png"}:
            yield path
