"""Write the locks from what is installed: exact versions, sorted, no path and no host in them.

``python3 requirements/lock.py`` after a change of what is in ``.venv``, ``.venv-cli`` or ``.venv-sdk3``.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = {"dev": ".venv", "globus-cli": ".venv-cli", "sdk3": ".venv-sdk3"}
#: What some of the others need on Python 3.10 only: locked everywhere, whatever Python writes the lock.
ON_OLD_PYTHON = ("exceptiongroup", "tomli", "typing_extensions")
MARKER = ' ; python_version < "3.11"'
#: The last releases for Python 3.10 of what is newer on later ones.
LAST_FOR_OLD_PYTHON = {
    "cachetools": "7.3.2",
    "filelock": "4.1.0",
    "hypothesis": "6.168.5",
    "numpy": "2.2.6",
    "pycparser": "3.11",
    "pytest-randomly": "5.0.0",
    "rpds-py": "0.30.0",
}
#: What python-daemon asks for, and a venv of Python 3.12 no longer brings by itself.
_SETUPTOOLS = 'setuptools==80.9.0 ; python_version >= "3.12"'
NOT_FROZEN = {"dev": [_SETUPTOOLS], "sdk3": [_SETUPTOOLS]}


def installed(environment: Path) -> dict[str, str]:
    """name -> ``name==version``; what was installed from a path (nodexfer itself) is left out."""
    command: list[str | Path] = [
        environment / "bin/python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "freeze",
        "--exclude-editable",
    ]
    frozen = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line for line in frozen.splitlines() if "==" in line and " @ " not in line]
    return {line.partition("==")[0]: line for line in lines}


def lock(found: dict[str, str], known: dict[str, str]) -> list[str]:
    """The lines of one lock file. ``known`` has the versions of what this environment lacks for Python 3.10."""
    extra = {name: known[name] + MARKER for name in ON_OLD_PYTHON if name not in found}
    if "tomli" in found:  # in .venv only so that its version is known here
        extra["tomli"] = found["tomli"] + MARKER
    return [line for name, full in (found | extra).items() for line in _for_each_python(name, full)]


def _for_each_python(name: str, line: str) -> list[str]:
    old = LAST_FOR_OLD_PYTHON.get(name)
    if old is None or _numbers(line.partition("==")[2]) <= _numbers(old):  # something else holds it back everywhere
        return [line]
    return [f"{name}=={old}{MARKER}", f'{line} ; python_version >= "3.11"']


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def main() -> None:
    known = installed(ROOT / LOCKS["dev"])
    for name, environment in LOCKS.items():
        lines = [*lock(installed(ROOT / environment), known), *NOT_FROZEN.get(name, [])]
        text = "\n".join(sorted(lines, key=str.lower))
        (ROOT / "requirements" / f"{name}.txt").write_text(
            f"# Exact versions for {environment}; written by `make lock`.\n{text}\n"
        )


if __name__ == "__main__":
    main()
