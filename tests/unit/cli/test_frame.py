"""The frame of the command line: nothing imported early, every error a sentence, an exit code and a next command."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from contextlib import ExitStack

import click
import pytest

from nodexfer import __version__
from nodexfer.cli import COMMANDS, Target, cli, main, worker_init
from nodexfer.errors import SourceMissing


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Make ``nodexfer probe [--json]`` do something."""

    def install(body: Callable[[], object]) -> None:
        module = types.ModuleType("nodexfer.cli.probe")

        @click.command()
        @click.option("--json", "as_json", is_flag=True)
        @click.argument("rest", nargs=-1)
        def probe(as_json: bool, rest: tuple[str, ...]) -> object:
            return body()

        module.probe = probe  # type: ignore[attr-defined]  # a module made for this test
        monkeypatch.setitem(sys.modules, "nodexfer.cli.probe", module)
        monkeypatch.setitem(COMMANDS, "probe", Target("probe", "probe", "For tests."))

    return install


def fail(error: BaseException) -> Callable[[], object]:
    def body() -> object:
        raise error

    return body


def test_help_lists_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys; from nodexfer.cli import main; main(['--help']); print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in found.stdout.split() if name.startswith("nodexfer.cli.")]
    for name, target in COMMANDS.items():
        assert f"  {name} " in found.stdout
        assert target.summary in found.stdout
    assert max(map(len, found.stdout.partition("Example")[0].splitlines())) <= 80


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nodexfer {__version__}\n"


def test_a_commands_result_is_its_exit_code(command: Callable[..., None]) -> None:
    for result, code in ((None, 0), (0, 0), (7, 7), ("text", 0)):
        command(lambda result=result: result)
        assert main(["probe"]) == code


@pytest.mark.parametrize("arguments", [["nosuch"], ["probe", "--nosuch"], ["--nosuch"], []])
def test_a_command_line_that_makes_no_sense_ends_with_2_and_the_help_to_type(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    command(lambda: None)
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Usage: nodexfer" in told.err


def test_an_error_is_a_sentence_and_the_next_command(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(fail(SourceMissing("There is no /x.", "ls /")))
    assert main(["probe"]) == 20
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "nodexfer: There is no /x.\nNext: ls /\n")


def test_an_error_is_also_a_record_where_json_is_wanted(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(fail(SourceMissing("There is no /x.", "")))
    assert main(["probe", "--json"]) == 20
    told = capsys.readouterr()
    assert json.loads(told.out)["error"] == "SourceMissing"
    assert told.err == "nodexfer: There is no /x.\n"
    assert main(["probe", "--", "--json"]) == 20
    assert capsys.readouterr().out == "", "--json after -- is another program's"


@pytest.mark.parametrize("debug", [False, True])
def test_a_traceback_reaches_a_user_with_debug_only(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], debug: bool
) -> None:
    command(fail(ZeroDivisionError("division by zero")))
    assert main(["--debug", "probe"] if debug else ["probe"]) == 1
    err = capsys.readouterr().err
    assert ("Traceback" in err) is debug
    assert "This should not have happened (ZeroDivisionError: division by zero)." in err
    assert "Next: nodexfer --debug" in err


def test_the_environment_can_ask_for_tracebacks(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODEXFER_DEBUG", "1")
    command(fail(SourceMissing("Gone.")))
    assert main(["probe"]) == 20
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(errno.ENOSPC, "No space", "/tmp/x"), 52, "No space is left for /tmp/x."),
        (PermissionError(errno.EACCES, "Permission denied", "/a b/c"), 21, "Next: ls -ld '/a b'"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), 21, "/a/b can not be used: Read-only file system."),
        (OSError(errno.EIO, "Input/output error", "/a/b"), 1, "/a/b can not be used: Input/output error"),
        (OSError(errno.ESTALE, "Stale file handle", "/a/b"), 1, "Next: ls -ld /a/b"),
        (OSError(errno.EIO, "Input/output error"), 1, "This should not have happened"),
        (ModuleNotFoundError("No", name="flask.app"), 1, "pip install 'nodexfer[sandbox]'"),
        (ModuleNotFoundError("No", name="msgspec"), 1, "pip install 'nodexfer'"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.BadParameter("no such thing"), 2, "no such thing"),
    ],
)
def test_what_is_not_ours_is_given_words_too(
    command: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    says: str,
) -> None:
    command(fail(error))
    assert main(["probe"]) == code
    assert says in capsys.readouterr().err


class Full(io.StringIO):
    """On a full disk, or above somebody's quota."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("error", "code"), [(SourceMissing("It is not there.", "ls"), 20), (click.BadParameter("none"), 2), (OSError(), 1)]
)
def test_a_full_disk_below_stderr_costs_the_words_and_not_the_exit_code(
    command: Callable[..., None], monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    command(fail(error))
    monkeypatch.setattr(sys, "stderr", Full())
    assert main(["--debug", "probe"]) == code


def test_a_block_goes_on_though_nobody_can_be_told_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ended would be submitted again, and again."""
    monkeypatch.setattr(sys, "stderr", Full())
    assert worker_init._tell(SourceMissing("It is not there.", "ls")).exit_code == 20


def test_a_file_system_that_fails_at_the_release_costs_no_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with ExitStack() as held:
        held.callback(fail(OSError(errno.EIO, os.strerror(errno.EIO))))
        worker_init._release(held)
    assert "Input/output error" in capsys.readouterr().err


def test_an_interrupt_while_an_error_is_told_is_one(
    command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    command(fail(SourceMissing("It is not there.", "ls")))
    monkeypatch.setattr("nodexfer.cli.failure.report", lambda *_, **__: fail(KeyboardInterrupt())())
    assert main(["probe"]) == 130


def test_an_exit_of_the_command_itself_is_kept(command: Callable[..., None]) -> None:
    command(fail(SystemExit(5)))
    with pytest.raises(SystemExit) as caught:
        main(["probe"])
    assert caught.value.code == 5


def test_no_colour_reaches_a_file(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    command(fail(SourceMissing("Gone.")))
    main(["probe"])
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_NODEXFER_COMPLETE" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_accepts_the_completion_and_completes_a_command() -> None:
    python = sys.executable
    script = (
        f'eval "$({python} -m nodexfer completion bash)"\n'
        f"COMP_WORDS=(nodexfer stage-) COMP_CWORD=1 _NODEXFER_COMPLETE=bash_complete {python} -m nodexfer\n"
        "complete -p nodexfer\n"
    )
    found = subprocess.run(["bash", "-eu", "-c", script], capture_output=True, text=True, check=False)
    assert found.stderr == ""
    assert "_nodexfer_completion" in found.stdout
    assert "-o default" in found.stdout, "where we have nothing to offer, there may be files"


def test_python_m_nodexfer_is_the_command() -> None:
    found = subprocess.run([sys.executable, "-m", "nodexfer", "nosuch"], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "No such command 'nosuch'" in found.stderr


def test_the_group_is_no_trap_for_an_unknown_name() -> None:
    with click.Context(cli) as context:
        assert cli.get_command(context, "nosuch") is None


def test_a_command_that_is_nearly_one_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for typed, meant in (
        (["stagein"], "stage-in"),
        (["pool", "crate"], "create"),
        (["sandbox", "fault", "lst"], "list"),
    ):
        assert main(typed) == 2
        assert f"Did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["stage-in", "--json", "--nosuch"], ["pool", "list", "--json", "more"]])
def test_a_command_line_that_makes_no_sense_is_a_record_too(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(arguments) == 2
    record = json.loads(capsys.readouterr().out)
    assert (record["error"], record["exit_code"]) == ("usage", 2)
    assert record["next"] == f"nodexfer {' '.join(arguments[: arguments.index('--json')])} --help"
    assert record["message"]


@pytest.mark.parametrize(("found", "comment"), [(None, "  # globus: pipx install globus-cli"), ("/bin/globus", "")])
def test_who_has_no_globus_command_is_told_where_it_comes_from(
    command: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    found: str | None,
    comment: str,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: found)
    command(fail(SourceMissing("Gone.", "globus ls X:/")))
    main(["probe"])
    assert capsys.readouterr().err.endswith(f"\nNext: globus ls X:/{comment}\n")


@pytest.mark.parametrize("typed", ["stage-in", "stage-out", "run"])
def test_the_help_to_type_is_that_of_the_command_that_was_typed(typed: str) -> None:
    rest = {"stage-in": ["x", "/tmp/y"], "stage-out": ["x", "/tmp/y"], "run": ["--in", "x", "--", "true"]}[typed]
    code = "import sys; from nodexfer.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, typed, *rest], capture_output=True, text=True, check=False)
    assert done.returncode == 13
    assert done.stderr.endswith(f"Next: nodexfer {typed} --help\n")


@pytest.mark.parametrize("typed", [["stage-in", "si"], ["stage-out", "re"], ["stage-in", "--manifest", "in"]])
def test_paths_are_completed_as_files(typed: list[str]) -> None:
    assert completed(typed) == "file,\n" or completed(typed) == f"file,{typed[-1]}\n"


def test_names_are_completed_from_the_pool(home: str) -> None:
    assert completed(["pool", "show", ""]) == "\n", "without a pool there is no name, and no error"
    for name in ("mynode-1", "mynode-2", "other-1"):
        os.makedirs(f"{home}/.nodexfer/pool/default/{name}", mode=0o700)
    assert completed(["pool", "show", "my"]) == "plain,mynode-1\nplain,mynode-2\n"


@pytest.fixture
def home() -> str:
    return os.environ["HOME"]


def completed(typed: list[str]) -> str:
    environ = {
        **os.environ,
        "COMP_WORDS": " ".join(["nodexfer", *typed]),
        "COMP_CWORD": str(len(typed)),
        "_NODEXFER_COMPLETE": "bash_complete",
    }
    done = subprocess.run(
        [sys.executable, "-m", "nodexfer"], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout


def test_the_process_of_a_command_looks_for_no_garbage_at_its_end_and_a_caller_of_main_does() -> None:
    code = (
        "import gc, sys; from nodexfer.cli import main; before = gc.get_threshold(); main(['--version'])\n"
        "assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)\n"
        "sys.argv[1:] = ['--version']; main(); print(gc.get_freeze_count())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout.split()[-1]) > 0
