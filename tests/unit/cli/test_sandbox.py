"""``nodexfer sandbox``: what a user types and sees."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.cli import main
from nodexfer.errors import ServiceRefused, ServiceUnreachable
from nodexfer.sandbox.launch import Sandbox


@pytest.fixture
def started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    """The directory of one that was started by the command, and is stopped if the test did not."""
    directory = str(tmp_path / "box")
    # As a command of its own: what it starts must outlive it.
    argv = procs.python("-m", "nodexfer", "sandbox", "start", "--dir", directory, "--site", f"data={tmp_path}")
    done = procs.run(argv, timeout=30.0)
    assert done.code == 0, done
    assert 'eval "$(nodexfer sandbox env' in done.err
    try:
        yield directory
    finally:
        main(["sandbox", "stop", "--dir", directory])
        capsys.readouterr()


def test_start_status_env_stop(started: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sandbox", "start", "--dir", started]) == ServiceRefused.exit_code
    assert "already" in capsys.readouterr().err
    assert main(["sandbox", "status", "--dir", started]) == 0
    shown = capsys.readouterr().out
    assert "data" in shown
    assert all(len(line) <= 80 for line in shown.splitlines()[2:])  # the first two are an address and a path
    assert main(["sandbox", "status", "--dir", started, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["sites"]["data"]
    assert main(["sandbox", "env", "--dir", started]) == 0
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert dict(line[1].split("=", 1) for line in lines) == Sandbox.attach(started).environment
    assert main(["sandbox", "reset", "--dir", started, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"directory": started, "reset": True}
    assert main(["sandbox", "stop", "--dir", started, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"directory": started, "stopped": True}
    assert main(["sandbox", "status", "--dir", started]) == ServiceUnreachable.exit_code
    assert "Next: nodexfer sandbox start --dir" in capsys.readouterr().err


def test_faults_and_switches(started: str, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--dir", started]
    assert main(["sandbox", "fault", "set", "slow", "bytes_per_second=1000", "endpoint=data", *where]) == 0
    fault = capsys.readouterr().out.strip()
    assert main(["sandbox", "fault", "list", *where]) == 0
    assert f"{fault}  slow" in capsys.readouterr().out
    assert main(["sandbox", "fault", "clear", fault, "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out) == {"cleared": 1}
    assert main(["sandbox", "fault", "clear", fault, *where]) == ServiceRefused.exit_code
    assert f"There is no fault {fault}" in capsys.readouterr().err
    assert main(["sandbox", "fault", "list", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["sandbox", "fault", "set", "switch", "resume_seconds=7", *where]) == 0
    assert Sandbox.attach(started).status()["switches"]["resume_seconds"] == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["earthquake"], "There is no fault 'earthquake'"),
        (["slow"], "needs bytes_per_second"),
        (["slow", "bytes_per_second=fast"], "needs a number"),
        (["wedge", "endpoint=nowhere"], "no endpoint 'nowhere'"),
        (["switch", "gravity=0"], "can not be set so"),
    ],
)
def test_faults_that_make_no_sense(
    started: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    code = main(["sandbox", "fault", "set", *arguments, "--dir", started])
    assert code == ServiceRefused.exit_code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("site", ["data", "=/tmp", "data=/no/such/directory"])
def test_a_site_must_be_a_directory_with_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], site: str) -> None:
    assert main(["sandbox", "start", "--dir", str(tmp_path / "box"), "--site", site]) == 2
    assert "NAME=DIR" in capsys.readouterr().err
    assert not (tmp_path / "box").exists()


COMMANDS = ["start", "stop", "status", "env", "reset", "fault set", "fault list", "fault clear"]


@pytest.mark.parametrize("command", ["", "fault", *COMMANDS])
def test_every_help_has_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main(["sandbox", *command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"nodexfer sandbox {command}".rstrip() in shown.partition("Example")[2]
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_to_stop_what_does_not_run_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--dir", str(tmp_path / "box")]
    assert main(["sandbox", "stop", *where]) == 0
    assert capsys.readouterr().err == f"No sandbox runs in {tmp_path}/box.\n"
    assert main(["sandbox", "stop", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out) == {"directory": f"{tmp_path}/box", "stopped": False}
    assert not (tmp_path / "box").exists()


def test_without_its_packages_it_says_which_command_brings_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waitress.py").write_text("raise ModuleNotFoundError(\"No module named 'waitress'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert main(["sandbox", "start", "--dir", str(tmp_path / "box")]) == 1
    told = capsys.readouterr().err
    assert told.endswith("waitress is not installed.\nNext: pip install 'nodexfer[sandbox]'\n")


def test_a_shell_completes_the_kinds_of_faults(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_NODEXFER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "nodexfer sandbox fault set s")
    monkeypatch.setenv("COMP_CWORD", "4")
    with pytest.raises(SystemExit):
        main(["sandbox"])
    assert capsys.readouterr().out.split() == ["plain,slow", "plain,switch"]


@pytest.mark.parametrize("command", [command for command in COMMANDS[1:] if command != "stop"])
def test_without_a_sandbox_every_command_says_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    words = [*command.split(), *(["wedge"] if command == "fault set" else [])]
    assert main(["sandbox", *words, "--json", "--dir", str(tmp_path / "box")]) == ServiceUnreachable.exit_code
    told = capsys.readouterr()
    assert f"Next: nodexfer sandbox start --dir {tmp_path}/box" in told.err
    assert json.loads(told.out)["exit_code"] == ServiceUnreachable.exit_code
    assert not (tmp_path / "box").exists()
