"""acquire, release, hold, status as a job script types them, in the shells that are there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.config import Config
from tests.support import eventually
from tests.support.holding import NODEXFER, holds, is_cleared, nodexfer, place, script, told
from tests.support.leading import make_pool, user
from tests.support.sandbox import Box

__all__ = ["user"]

COMMAND = f"'{sys.executable}' -m nodexfer"
#: Shell, its way to evaluate, and its way to print a variable.
SHELLS = {
    "bash": (["bash", "-c"], f'set -eu; eval "$({COMMAND} acquire ARGS)"'),
    "dash": (["dash", "-c"], f'set -eu; eval "$({COMMAND} acquire ARGS)"'),
    "csh": (["csh", "-f", "-c"], f'eval "`{COMMAND} acquire --shell csh ARGS`"'),
    "fish": (["fish", "-c"], f"eval ({COMMAND} acquire --shell fish ARGS)"),
}


@pytest.fixture
def config() -> Config:
    return place()


def run(shell: str, rest: str, arguments: str = "", **environ: str) -> procs.Completed:
    """A script of this shell that acquires and goes on with ``rest``, as a job of its own."""
    argv, acquire = SHELLS[shell]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{shell} is not installed")
    script = f"{acquire.replace('ARGS', arguments)}; {rest}"
    return procs.run([*argv, script], timeout=60, environ={**os.environ, "NODEXFER_JOB_ID": "1", **environ})


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_gets_its_scratch_and_gives_it_back(config: Config, shell: str) -> None:
    done = run(shell, f'ls -d "$NODEXFER_SCRATCH"; echo "$NODEXFER_JOB"; {COMMAND} release; echo done')
    assert done.code == 0, done
    scratch, job, end = done.out.splitlines()
    assert scratch == config.node_paths.scratch(job)
    assert end == "done"
    assert is_cleared(config)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("number", ['it\'s 1[3]."x"', "$HOME;id"])
def test_a_job_id_that_a_shell_could_misread_arrives_as_it_is(config: Config, shell: str, number: str) -> None:
    done = run(shell, f'printenv NODEXFER_JOB; ls -d "$NODEXFER_SCRATCH"; {COMMAND} release', NODEXFER_JOB_ID=number)
    assert done.code == 0, done
    assert done.out.splitlines()[0] == f"local-{os.uname().nodename}-{number}.0"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_failure_stops_the_script_with_its_own_code(shell: str) -> None:
    done = run(shell, "echo went on", NODEXFER_NODE_DIR="/nonexistent/node")
    assert done.code == 51, done
    assert "went on" not in done.out
    assert "nodexfer: /nonexistent" in done.err
    assert "Next: " in done.err


def test_a_node_dir_that_can_not_be_used_says_that_it_is_one_and_who_set_it(config: Config, tmp_path: Path) -> None:
    where = "/nonexistent does not exist (node_dir is /nonexistent/node, from "
    done = nodexfer("hold", "--", "true", environ={"NODEXFER_NODE_DIR": "/nonexistent/node"})
    assert (done.code, where + "environment variable NODEXFER_NODE_DIR)." in done.err) == (51, True), done
    file = tmp_path / "config.toml"
    file.write_text('node_dir = "/nonexistent/node"\n')
    done = nodexfer("hold", "--", "true", environ={"NODEXFER_NODE_DIR": "", "NODEXFER_CONFIG": str(file)})
    assert (done.code, f"{where}{file})." in done.err) == (51, True), done


@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_line_that_makes_no_sense_stops_the_script(shell: str) -> None:
    done = run(shell, "echo went on", "--nonsense")
    assert done.code == 2, done
    assert "went on" not in done.out


def test_an_interrupted_acquire_fails_what_evaluates_it(user: Config, box: Box) -> None:
    make_pool()
    box.sandbox.fault("delay_ready", endpoint="all", seconds=60)
    child = procs.spawn([*NODEXFER, "acquire", "--endpoint"], stdout=procs.PIPE, stderr=procs.DEVNULL)
    eventually(lambda: holds(user))
    child.signal(signal.SIGINT)
    assert child.wait(30) == 130
    assert child.stdout is not None
    assert child.stdout.read().decode().strip() in ("(exit 1)", "(exit 130)")
    child.close()
    assert holds(user) == []


# -- with the endpoint


def test_anybodys_transfer_works_against_the_endpoint_of_the_job(user: Config, box: Box) -> None:
    from globus_sdk import TransferClient, TransferData

    from tests.support.sandbox import transfer_client

    make_pool()
    (box.site / "data").write_bytes(b"from the site")
    with_endpoint = (
        'echo "$NODEXFER_ENDPOINT_ID $NODEXFER_ROOT"; read answer; cat "$NODEXFER_ROOT/data"; '
        f"{COMMAND} release; echo; echo released"
    )
    argv, acquire = SHELLS["bash"]
    script = f"{acquire.replace('ARGS', '--endpoint')}; {with_endpoint}"
    job = procs.spawn([*argv, script], stdin=procs.PIPE, stdout=procs.PIPE, new_session=True)
    assert job.stdin is not None
    assert job.stdout is not None
    endpoint, root = job.stdout.readline().decode().split()
    client: TransferClient = transfer_client(box)
    data = TransferData(source_endpoint=box.site_id, destination_endpoint=endpoint)
    data.add_item("/data", f"{root}/data")
    task = client.submit_transfer(data)["task_id"]
    assert client.task_wait(task, timeout=20, polling_interval=1)
    assert client.get_task(task)["status"] == "SUCCEEDED"
    job.stdin.write(b"go on\n")
    job.stdin.flush()
    assert job.stdout.read() == b"from the site\nreleased\n"
    assert job.wait(60) == 0
    job.close()
    assert is_cleared(user)


# -- hold


def test_hold_runs_a_program_with_the_variables_and_returns_its_code(config: Config) -> None:
    done = nodexfer("hold", "--", "sh", "-c", 'touch "$NODEXFER_SCRATCH/x" && echo "$NODEXFER_HOLD"; exit 7')
    assert done.code == 7, done
    assert len(done.out.strip()) == 16
    assert is_cleared(config)


def test_hold_gives_back_when_the_program_can_not_be_started(config: Config) -> None:
    assert nodexfer("hold", "--", "/nonexistent/program").code == 127
    assert nodexfer("hold", "--", "/etc/passwd").code == 126
    assert is_cleared(config)


def test_hold_returns_the_programs_code_where_the_place_was_removed_meanwhile(config: Config) -> None:
    done = nodexfer("hold", "--", "sh", "-c", f"rm -r '{config.node_dir}'; exit 7")
    assert done.code == 7, done
    assert "nodexfer: " in done.err


def test_options_after_the_program_are_the_programs(config: Config) -> None:
    done = nodexfer("hold", "--", "echo", "--endpoint", "-x", "--help")
    assert (done.code, done.out) == (0, "--endpoint -x --help\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_hold_passes_signals_on_and_says_how_the_program_ended(config: Config, number: signal.Signals) -> None:
    program = "trap 'echo got it; exit 9' TERM INT USR1; echo up; while :; do sleep 0.05; done"
    child = procs.spawn([*NODEXFER, "hold", "--", "sh", "-c", program], stdout=procs.PIPE, new_session=True)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    child.signal(number)
    assert child.stdout.readline() == b"got it\n"
    assert child.wait(60) == 9
    child.close()
    assert is_cleared(config)


def test_hold_ends_as_a_shell_does_when_a_signal_ends_the_program(config: Config) -> None:
    assert nodexfer("hold", "--", "sh", "-c", "kill -9 $$").code == 128 + 9


def test_the_hold_of_a_killed_hold_command_is_over(config: Config) -> None:
    child = procs.spawn([*NODEXFER, "hold", "--", "sh", "-c", "echo up; exec sleep 60"], stdout=procs.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    [found] = holds(config)
    assert found.owner is not None
    assert found.owner.pid == child.pid
    [program] = procs.descendants([found.owner])
    child.kill()
    child.wait(10)
    child.close()
    eventually(lambda: is_cleared(config))
    procs.signal(program, signal.SIGKILL)


# -- release and status


def test_release_without_a_hold_says_what_to_do() -> None:
    done = nodexfer("release")
    assert (done.code, done.out) == (14, "")
    assert "NODEXFER_HOLD is not set" in done.err


def test_status_names_place_jobs_and_holds(config: Config) -> None:
    with_status = f"{COMMAND} status --json; {COMMAND} release"
    done = run("bash", with_status)
    assert done.code == 0, done
    found = json.loads(done.out)
    [job], [hold] = found["jobs"], found["holds"]
    assert found["node_dir"] == config.node_dir
    assert found["endpoint"] is None
    assert (job["holds"], job["leads"], hold["job"], hold["by"]) == (1, False, job["job"], "job")
    assert job["keeper"] > 0
    assert Path(job["scratch"]).name == job["job"]
    assert told("status")["jobs"] == []


def test_status_fits_eighty_columns(user: Config, box: Box) -> None:
    make_pool()
    done = run("bash", f"{COMMAND} status; {COMMAND} release", "--endpoint", NODEXFER_JOB_ID="x" * 150)
    assert done.code == 0, done
    wide = [line for line in done.out.splitlines() if len(line) > 80 and " " in line[10:].strip()]
    assert wide == []
    assert "ready" in done.out


@pytest.mark.parametrize(
    ("shell", "typed"), [("sh", 'eval "$(nodexfer acquire)"'), ("fish", "eval (nodexfer acquire --shell fish)")]
)
def test_who_is_shown_the_lines_is_told_what_to_do_with_them(config: Config, shell: str, typed: str) -> None:
    """On a terminal nobody evaluates them, and the hold lasts as long as the terminal."""
    ours, terminal = os.openpty()
    with script() as job:
        _, words = job.run(f"{COMMAND} acquire --shell {shell} > {os.ttyname(terminal)}")
        [hold] = [found.id for found in holds(config)]
        assert f"nodexfer release {hold}" in words
        assert words.splitlines()[-1] == f"Next: {typed}"
        job.must(f"release {hold}")
    assert hold in os.read(ours, 4096).decode()
    os.close(ours)
    os.close(terminal)
