"""The programs that drive the sandbox from outside: each in an environment of its own, made by the Makefile."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from nodexfer import procs

ROOT = Path(__file__).parents[2]
GLOBUS = ROOT / ".venv-cli" / "bin" / "globus"
#: The Python that has each line of globus-sdk.
PYTHONS = {"sdk 4": Path(sys.executable), "sdk 3": ROOT / ".venv-sdk3" / "bin" / "python"}


def needed(program: Path) -> str:
    """Its path. A conformance test without its program has not been run: that is a failure, not a skip."""
    assert program.exists(), f"{program} is missing; `make test-conformance` sets it up"
    return str(program)


def run_script(sdk: str, name: str, environment: Mapping[str, str], *arguments: str) -> procs.Completed:
    script = Path(__file__).parent / name
    argv = [needed(PYTHONS[sdk]), "-W", "error", str(script), *arguments]
    return procs.run(argv, timeout=150.0, environ=environment, cwd="/")
