"""Rules that no linter knows."""

from __future__ import annotations

import ast
import re
import sys

import pytest

from nodexfer.errors import NodexferError, all_errors
from tests.support import readme
from tests.support.source import ROOT, Module, files, imports, modules

LONGEST_MODULE = 300

#: Calls that start a program or send a signal: of procs.py and pidfds.py alone, and of the stand-in's own programs.
PROCESS_CALLS = {
    "os": {"kill", "killpg", "system", "popen", "posix_spawn", "posix_spawnp"},
    "signal": {"pidfd_send_signal", "raise_signal"},
    "pty": {"fork", "spawn"},
}
SENDERS = ("nodexfer.procs", "nodexfer.pidfds", "nodexfer.sandbox.standin")


def is_in(module: Module, places: tuple[str, ...]) -> bool:
    return any(module.name == place or module.name.startswith(f"{place}.") for place in places)


def calls(module: Module) -> list[tuple[int, str, ast.Call]]:
    """Line, dotted name and node of every call that has one."""
    found = [
        (node.lineno, ast.unparse(node.func), node) for node in ast.walk(module.tree) if isinstance(node, ast.Call)
    ]
    return [(line, name, node) for line, name, node in found if len(name) < 80]


def test_only_procs_starts_processes_and_sends_signals() -> None:
    wrong = []
    for module in modules():
        if is_in(module, SENDERS):
            continue
        for line, name, _ in calls(module):
            owner, _, function = name.rpartition(".")
            if function in PROCESS_CALLS.get(owner.lstrip("_"), ()) or (owner == "os" and function.startswith("spawn")):
                wrong.append(f"{module.where}:{line} {name}")
    assert wrong == []


@pytest.mark.parametrize("part", ["nodexfer", "tests", "benchmarks", "examples", "requirements"])
def test_nothing_goes_through_a_shell_by_an_option(part: str) -> None:
    wrong = [
        f"{module.where}:{line}"
        for module in modules(part)
        for line, _, node in calls(module)
        if any(keyword.arg == "shell" for keyword in node.keywords)
        and any(isinstance(k.value, ast.Constant) and k.value.value is True for k in node.keywords if k.arg == "shell")
    ]
    assert wrong == []


def ending(module: Module) -> list[ast.AST]:
    """Everything under ``if __name__ == "__main__"``."""
    guards = [node for node in module.tree.body if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)]
    return [inner for guard in guards for inner in ast.walk(guard)]


def test_no_library_code_prints_or_prompts() -> None:
    """The command line and the programs of the sandbox talk; the rest returns and raises.

    (A module that is a program of its own ends itself under ``if __name__ == "__main__"``.)
    """
    talkers = ("nodexfer.cli", "nodexfer.sandbox", "nodexfer.__main__")
    wrong = [
        f"{module.where}:{line} {name}"
        for module in modules()
        if not is_in(module, talkers)
        for line, name, node in calls(module)
        if name in {"print", "input", "getpass.getpass", "sys.exit", "exit", "quit"} and node not in ending(module)
    ]
    assert wrong == []


@pytest.mark.parametrize("part", ["nodexfer", "benchmarks", "examples", "requirements"])
def test_a_module_can_be_read_in_one_sitting(part: str) -> None:
    long = {module.where: module.lines for module in modules(part) if module.lines > LONGEST_MODULE}
    assert long == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        module.where
        for module in modules()
        if module.tree.body and not ast.get_docstring(module.tree) and module.path.name != "__init__.py"
    ]
    assert silent == []


def test_every_exit_code_is_in_the_readme() -> None:
    table = readme.part("exit codes")
    if not table:
        pytest.skip("README.md has no table of exit codes yet, between <!-- exit codes --> and <!-- /exit codes -->")
    rows = [line for line in table.splitlines() if line.startswith("|")]
    missing = [
        f"{cls.exit_code} {cls.__name__}"
        for cls in all_errors().values()
        if not cls.__subclasses__()
        and not any(re.search(rf"\b{cls.exit_code}\b", row) and re.search(rf"\b{cls.__name__}\b", row) for row in rows)
    ]
    assert missing == []


def test_an_error_that_a_command_meets_says_what_to_type_next() -> None:
    """A class without a next command of its own must be given one wherever it is raised."""
    without = {cls.__name__ for cls in all_errors().values() if not cls.default_next and not cls.__subclasses__()}
    wrong = []
    for module in modules():
        if is_in(module, ("nodexfer.sandbox", "nodexfer.errors")):
            continue
        for line, name, node in calls(module):
            spoken = len(node.args) + len(node.keywords)
            starred = any(isinstance(argument, ast.Starred) for argument in node.args)
            if name.rpartition(".")[2] in without and spoken < 2 and not starred:
                wrong.append(f"{module.where}:{line} {name}")
    assert wrong == []
    assert issubclass(all_errors()["SourceMissing"], NodexferError)


# Written so that this file does not find itself.
WORKPLACE = re.compile(
    "|".join(
        [
            r"(?<![\w.])/" + "work/",
            r"(?<![\w.])/" + "root/",
            r"\bissue" + r" #?\d\b",
            r"\bbuilder" + r" [A-G]\b",
            "helper" + r"[ -](agent|session)s?",
            r"\bspec" + r"\.md\b",
            "(DESIGN|STYLE)" + r"\.md",
            "/opt/" + "pypi",
            r"\bTODO" + r"\b|\bFIX" + r"ME\b|\bXX" + r"X\b",
        ]
    )
)


def test_the_project_does_not_speak_of_the_place_where_it_was_made() -> None:
    wrong = []
    for path in files():
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if match := WORKPLACE.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number} {match[0]!r}")
    assert wrong == []


def test_what_is_imported_is_a_declared_dependency() -> None:
    """A package that only happens to be installed is missing on somebody else's machine."""
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = {"flask": "flask", "werkzeug": "flask", "waitress": "waitress", "jwt": "pyjwt"}
    wrong = []
    for module in modules():
        for found in imports(module):
            library = found.name.split(".")[0]
            if library in sys.stdlib_module_names or library in {"nodexfer", "tomllib"}:
                continue
            name = extras.get(library, library).replace("_", "-")
            if f'"{name}>=' not in declared:
                wrong.append(str(found))
    assert wrong == []


def test_the_locks_name_no_place_and_leave_no_version_open() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert line.startswith("#") or re.fullmatch(r'[\w.-]+==[\w.]+( ; python_version (<|>=) "3\.\d+")?', line), (
                line
            )
