"""What a command in a job script imports: thousands of jobs start it from one parallel file system.

Each import is looked at in an interpreter of its own, against what the bare interpreter has.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from nodexfer.cli import COMMANDS

LIGHT = ("acquire", "release", "hold", "status")
#: Of ours, what is on no light way.
HEAVY_OF_OURS = ("nodexfer.sandbox", "nodexfer.staging", "nodexfer.globus", "nodexfer.integrations")


def loaded(code: str) -> set[str]:
    """The modules that an interpreter has after ``code``, without those that it starts with."""
    program = (
        "import sys; before = set(sys.modules)\n"
        f"{code}\n"
        "import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 0, found.stderr
    return set(json.loads(found.stdout.splitlines()[-1]))


def foreign(names: set[str], *allowed: str) -> set[str]:
    """Top-level packages of ``names`` that are neither the standard library's nor ours nor ``allowed``."""
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"nodexfer", *allowed}


def chosen(command: str) -> str:
    return f"import click; from nodexfer.cli import cli; assert cli.get_command(click.Context(cli), {command!r})"


def test_importing_nodexfer_imports_nothing_else() -> None:
    assert foreign(loaded("import nodexfer")) == set()


@pytest.mark.parametrize("command", LIGHT)
def test_a_light_command_imports_click_and_the_standard_library_only(command: str) -> None:
    names = loaded(chosen(command))
    assert foreign(names, "click") == set()
    assert [name for name in names if name.startswith(HEAVY_OF_OURS)] == []


def test_running_status_imports_click_and_the_standard_library_only() -> None:
    names = loaded("from nodexfer.cli import main; assert main(['status', '--json']) == 0")
    assert foreign(names, "click") == set()


@pytest.mark.slow
def test_running_acquire_and_release_imports_click_and_the_standard_library_only() -> None:
    names = loaded(
        "from nodexfer.cli import main; import contextlib, io, os, re\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out: assert main(['acquire']) == 0\n"
        "os.environ.update(re.findall(r\"(NODEXFER_\\w+)='?([^';\\s]+)\", out.getvalue()))\n"
        "assert main(['release']) == 0"
    )
    assert foreign(names, "click") == set()


def test_an_idle_keeper_imports_the_standard_library_only() -> None:
    names = loaded("import nodexfer.node.keeper")
    assert foreign(names, "click") == set()
    assert [name for name in names if name.startswith(HEAVY_OF_OURS)] == []


@pytest.mark.parametrize("command", ["stage-in", "stage-out", "run"])
def test_a_staging_command_imports_neither_globus_sdk_nor_parsl(command: str) -> None:
    assert foreign(loaded(chosen(command))) & {"globus_sdk", "parsl", "requests", "cryptography", "flask"} == set()


def test_a_staging_command_loads_what_few_of_them_need_only_then() -> None:
    """OpenSSL, libffi, three compressors: on the way of each to its request they take as long as the request."""
    libraries = loaded("import click, msgspec")
    names = loaded("import nodexfer.cli.stage, nodexfer.session, nodexfer.staging.intents, nodexfer.staging.bring")
    assert (names - libraries) & {"hashlib", "ctypes", "shutil", "pathlib", "tarfile", "zipfile"} == set()


@pytest.mark.parametrize("code", [chosen("worker-init"), "from nodexfer.integrations import block"])
def test_what_runs_on_every_node_of_a_block_imports_click_and_the_standard_library_only(code: str) -> None:
    """``nodexfer worker-init`` and ``nodexfer compute wrapper``: hundreds of nodes start them at the same time."""
    assert foreign(loaded(code), "click") == set()


def test_running_a_wrapper_imports_click_and_the_standard_library_only() -> None:
    names = loaded("from nodexfer.cli import main; assert main(['compute', 'wrapper', 'true']) == 0")
    assert foreign(names, "click") == set()


@pytest.mark.parametrize("module", ["asyncio", "importlib.metadata", "multiprocessing", "urllib.request", "ssl"])
def test_a_light_command_leaves_the_heavy_parts_of_the_standard_library_alone(module: str) -> None:
    for command in LIGHT:
        assert module not in loaded(chosen(command)), command


def test_the_light_commands_are_those_of_the_table() -> None:
    assert set(LIGHT) <= COMMANDS.keys()


def test_what_runs_on_a_worker_imports_neither_globus_sdk_nor_parsl() -> None:
    """Also where an app is run: its files are asked for by files, of the desk."""
    names = loaded("from nodexfer.integrations import app; assert app.run(len, {}, ['x'], {}) == 1")
    assert foreign(names) & {"globus_sdk", "globus_compute_sdk", "parsl", "requests", "flask"} == set()


def test_the_provider_for_parsl_adds_no_globus_sdk_to_what_parsl_has() -> None:
    provider = "import nodexfer.integrations.parsl"
    code = f"import parsl, sys; had = set(sys.modules); {provider}; print(sorted(set(sys.modules) - had))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 0, found.stderr
    assert "nodexfer.integrations.app" in found.stdout
    assert not any(f"'{library}" in found.stdout for library in ("globus_sdk", "globus_compute", "requests", "flask"))
