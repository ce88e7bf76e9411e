"""The job scripts that are shipped do what they say: run by bash, with a scheduler's variables and the sandbox."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from nodexfer.sandbox.demo.leftovers import files, processes
from nodexfer.sandbox.demo.offline import Offline, offline
from tests.support.waiting import eventually

PBS = pathlib.Path(__file__).parents[2] / "pbs"
SCRIPTS = sorted([*PBS.glob("*.pbs"), *PBS.glob("slurm/*.sbatch")])

#: What a user's program is: it knows its scratch, and nothing else of nodexfer.
PROGRAM = """\
#!/bin/sh
set -e
mkdir "$NODEXFER_SCRATCH/results"
tr a-z A-Z < "$NODEXFER_SCRATCH/input/text file.txt" > "$NODEXFER_SCRATCH/results/text file.txt"
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offline]:
    directory = str(tmp_path_factory.mktemp("scripts"))
    with offline(directory, prefix="scripts") as user:
        pathlib.Path(user.stage.site, "project/results").mkdir(parents=True)
        for name in ("input", "runs/3"):
            place = pathlib.Path(user.stage.site, "project", name)
            place.mkdir(parents=True)
            (place / "text file.txt").write_text(f"what {name} says")
        work = pathlib.Path(directory, "work")
        work.mkdir()
        (work / "program.sh").write_text(PROGRAM)
        (work / "program.sh").chmod(0o700)
        yield user


def job(user: Offline, script: pathlib.Path) -> dict[str, str]:
    """The environment that PBS or Slurm gives to job 4711, or to the third of an array."""
    work = f"{user.stage.directory}/work"
    array = script.stem == "array"
    if script.suffix == ".pbs":
        own = {"PBS_JOBID": "4711[3].server" if array else "4711.server", "PBS_O_WORKDIR": work}
        own |= {"PBS_ARRAY_INDEX": "3"} if array else {}
    else:
        own = {"SLURM_JOB_ID": "4711", "SLURM_SUBMIT_DIR": work, "SLURM_CLUSTER_NAME": "cluster"}
        own |= {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_JOB_ID": "4709"} if array else {}
    return {**user.environment, **own}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_script_brings_computes_and_takes_out(script: pathlib.Path, user: Offline) -> None:
    environ = job(user, script)
    done = subprocess.run(
        ["/bin/bash", str(script)],
        env=environ,
        cwd=user.stage.home,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr
    number = environ.get("SLURM_ARRAY_JOB_ID", "4711")
    name = f"array-{number}-3" if script.stem == "array" else f"{script.stem}-{number}"
    results = pathlib.Path(user.stage.site, "project", "results", name)
    told = "WHAT RUNS/3 SAYS" if script.stem == "array" else "WHAT INPUT SAYS"
    assert [(path.name, path.read_text()) for path in results.iterdir()] == [("text file.txt", told)]
    (results / "text file.txt").unlink()
    results.rmdir()
    assert files(user.stage.node_dir, user.stage.site) == []
    assert processes(f"NODEXFER_NODE_DIR={user.stage.node_dir}", []) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["single.pbs", "around.pbs"])
def test_a_program_that_fails_ends_the_job_with_its_code_and_sends_nothing(
    name: str, user: Offline, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "program.sh").write_text('#!/bin/sh\nmkdir "$NODEXFER_SCRATCH/results"\nexit 7\n')
    (tmp_path / "program.sh").chmod(0o700)
    environ = {**job(user, PBS / name), "PBS_O_WORKDIR": str(tmp_path)}
    done = subprocess.run(
        ["/bin/bash", str(PBS / name)],
        env=environ,
        capture_output=True,
        check=False,
        timeout=50,
        start_new_session=True,
    )
    assert done.returncode == 7
    assert not os.listdir(f"{user.stage.site}/project/results")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["single.pbs", "slurm/array.sbatch"])
def test_what_the_scheduler_sends_to_the_script_reaches_the_program(
    name: str, user: Offline, tmp_path: pathlib.Path
) -> None:
    """A shell would wait for its program first, and die of the signal then."""
    (tmp_path / "program.sh").write_text(
        "#!/bin/bash\ntrap 'exit 9' USR1\n> \"${0%/*}/up\"\nwhile :; do sleep 0.05; done\n"
    )
    (tmp_path / "program.sh").chmod(0o700)
    environ = job(user, PBS / name) | dict.fromkeys(("PBS_O_WORKDIR", "SLURM_SUBMIT_DIR"), str(tmp_path))
    script = subprocess.Popen(["/bin/bash", str(PBS / name)], env=environ, start_new_session=True)
    try:
        eventually((tmp_path / "up").exists, 40)
        script.send_signal(signal.SIGUSR1)
        assert script.wait(30) == 9
    finally:
        if script.poll() is None:
            os.killpg(script.pid, signal.SIGKILL)
            script.wait()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_parses_the_script_and_its_header_is_where_the_scheduler_looks(script: pathlib.Path) -> None:
    subprocess.run(["/bin/bash", "-n", str(script)], check=True, timeout=10)
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    directives = [line for line in lines if re.match(r"#(PBS|SBATCH) ", line)]
    assert len(directives) >= 3
    assert lines[1 : 1 + len(directives)] == directives
    assert "set -eu" in lines
    # Nothing stands between the scheduler's signals and nodexfer, which passes them on; but for the script without it.
    assert any(line.startswith("exec nodexfer run") for line in lines) != (script.stem == "around")


@pytest.mark.parametrize("name", [path.stem for path in PBS.glob("*.pbs")])
def test_the_slurm_twin_differs_in_what_the_scheduler_calls_things_only(name: str) -> None:
    def body(text: str) -> list[str]:
        text = re.sub(r"\$\{PBS_JOBID%%(\.|\\\[)\*\}|\$SLURM_(ARRAY_)?JOB_ID", "ID", text)
        text = re.sub(r"\$(PBS_ARRAY_INDEX|SLURM_ARRAY_TASK_ID)", "INDEX", text)
        text = re.sub(r"\$(PBS_O_WORKDIR|SLURM_SUBMIT_DIR)(\" #.*|\")", "DIRECTORY", text)
        text = text.replace("single.sbatch", "single.pbs")
        return [line for line in text.splitlines() if not line.startswith(("#PBS", "#SBATCH"))]

    assert body((PBS / f"{name}.pbs").read_text()) == body((PBS / "slurm" / f"{name}.sbatch").read_text())
