"""Every Globus Compute configuration that is shipped: rendered by the endpoint's own code, its submit script read.

Nothing is replaced but the call of the scheduler's command.
"""

from __future__ import annotations

import json
import os
import pathlib
import pwd
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.errors import ConfigInvalid
from nodexfer.integrations import compute_setup, sites
from nodexfer.sandbox.demo.leftovers import files, processes
from nodexfer.sandbox.demo.offline import offline

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = ROOT / "endpoint_configs"
NAMES = sorted(path.name for path in CONFIGS.iterdir() if path.is_dir())

pytest.importorskip("globus_compute_endpoint")
from nodexfer.integrations.compute_render import Rendered, render  # noqa: E402

# Parsl leaves the sockets open by which it asks for the addresses of interfaces.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

#: What a site can not be rendered without here: a project, and an interface that this machine has.
NEEDED: dict[str, dict[str, Any]] = {
    "aurora": {"account": "P", "interface": "lo"},
    "perlmutter": {"account": "P", "interface": "lo"},
}


def rendered(name: str, **options: Any) -> Rendered:
    return render(str(CONFIGS / name), {**NEEDED.get(name, {}), **options})


@pytest.fixture(autouse=True)
def _no_home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GLOBUS_COMPUTE_USER_DIR", str(tmp_path / "globus_compute"))


def test_every_site_has_a_configuration_and_a_readme() -> None:
    assert sorted(sites.SITES) == NAMES
    for name in NAMES:
        assert {path.name for path in (CONFIGS / name).iterdir()} == {
            *("README.md", "config.yaml", "user_config_schema.json", "user_config_template.yaml.j2"),
            "user_environment.yaml",
        }


@pytest.mark.parametrize("name", NAMES)
def test_the_real_code_builds_what_the_table_of_sites_says(name: str) -> None:
    site = sites.get(name)
    made = rendered(name)
    executor, provider = made.user.engine.executor, made.user.engine.executor.provider
    assert type(provider).__name__ == site.provider
    assert executor.max_workers_per_node == site.workers
    assert tuple(executor.available_accelerators) == site.accelerators
    assert executor.cpu_affinity == site.cpu_affinity
    assert provider.nodes_per_block == 1
    for line in (*site.scheduler_options, *site.worker_init):
        assert f"\n{line}\n" in made.script
    assert not site.gcp_prefix or f"\nexport NODEXFER_GCP_PREFIX='{' '.join(site.gcp_prefix)}'\n" in made.script
    template = (CONFIGS / name / "user_config_template.yaml.j2").read_text()
    assert not site.interface or f"interface | default('\"{site.interface}\"')" in template
    for source in site.sources:
        assert source.partition("#")[0] in template.replace("\n", ""), source


@pytest.mark.parametrize("name", [name for name in NAMES if sites.get(name).batch])
def test_a_block_of_several_nodes_starts_a_manager_on_each_by_the_sites_launcher(name: str) -> None:
    site = sites.get(name)
    made = rendered(name, nodes=3)
    launcher = made.user.engine.executor.provider.launcher
    assert type(launcher).__name__ == site.launcher
    for option, value in site.launcher_options.items():
        assert getattr(launcher, option) == value
    started = {"MpiExecLauncher": "\nmpiexec ", "SrunLauncher": "\nsrun --ntasks 3 "}[site.launcher]
    assert started in made.script
    assert "\nexec $NODEXFER_WRAPPER globus-compute-endpoint python-exec " in made.script
    assert ("select=3:" if site.scheduler == "pbs" else "#SBATCH --nodes=3\n") in made.script


@pytest.mark.parametrize("name", NAMES)
def test_a_block_sets_itself_up_and_wraps_its_managers(name: str) -> None:
    """After everything of the site and the user, before the manager; in no place that a quote would be lost in."""
    script = rendered(name, worker_init="module load mine", common=["site:/a/b", "site:/d"]).script
    lines = script.splitlines()
    at = lines.index('eval "$(nodexfer worker-init)"')
    assert lines[at - 2 : at] == ["module load mine", "export NODEXFER_COMMON='site:/a/b site:/d '"]
    managers = [number for number, line in enumerate(lines) if "process_worker_pool" in line]
    assert len(managers) == 1
    assert managers[0] > at
    # Below a launcher, the launcher's own shell makes way: the scheduler kills what is left when that ends.
    launched = "exec " if sites.get(name).launcher == "SrunLauncher" or name == "aurora" else ""
    assert lines[managers[0]].startswith(f"{launched}$NODEXFER_WRAPPER globus-compute-endpoint python-exec parsl.")


def test_a_user_whom_the_password_file_does_not_know_can_look_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert "nodexfer worker-init" in rendered("local").script


def test_aurora_is_asked_as_its_documentation_wants() -> None:
    """https://docs.alcf.anl.gov/aurora/running-jobs-aurora/ and .../workflows/parsl/, as of August 2026."""
    made = rendered("aurora", nodes=2, queue="debug-scaling", walltime="01:00:00", filesystems="home:flare:daos_user")
    words = made.command.split()
    assert words[:5] == ["qsub", "-q", "debug-scaling", "-A", "P"]
    for line in (
        "#PBS -l walltime=01:00:00",
        "#PBS -l select=2:ncpus=208",
        "#PBS -l filesystems=home:flare:daos_user",
        "#PBS -k doe",
        "#PBS -l place=scatter",
        "export TMPDIR=/tmp",
    ):
        assert f"\n{line}\n" in made.script
    assert "\nmpiexec --cpu-bind none --ppn 1 -n $WORKERCOUNT --hostfile $HOSTFILE " in made.script
    assert " --available-accelerators 0.0 0.1 1.0 1.1 2.0 2.1 3.0 3.1 4.0 4.1 5.0 5.1\n" in made.script
    assert rendered("aurora").command.split()[:3] == ["qsub", "-q", "debug"]


def test_fewer_workers_at_aurora_are_not_bound_to_the_cores_of_twelve() -> None:
    """Parsl refuses a list of cores that has another length than there are workers."""
    assert rendered("aurora", workers=6).user.engine.executor.cpu_affinity == "none"


def test_perlmutter_is_asked_as_its_documentation_wants() -> None:
    """https://docs.nersc.gov/jobs/policy/ and the example of Globus Compute's documentation."""
    script = rendered("perlmutter", queue="regular", nodes=2, walltime="02:00:00").script
    for line in ("--qos=regular", "--account=P", "--constraint=gpu", "--gpus-per-node=4", "--nodes=2"):
        assert f"\n#SBATCH {line}\n" in script
    assert "--partition" not in script
    assert "\nsrun --ntasks 2 -l -c 128 bash " in script
    made = rendered("perlmutter", constraint="cpu", workers=8)
    assert "\n#SBATCH --constraint=cpu\n" in made.script
    assert "gpus" not in made.script
    assert "\nsrun --ntasks 1 -l -c 256 bash " in made.script
    assert list(made.user.engine.executor.available_accelerators) == []


def test_any_pbs_and_any_slurm_take_what_they_are_told_and_nothing_else() -> None:
    pbs = rendered("pbs", queue="q", select_options="ngpus=2", cores=16, scheduler_options="#PBS -l a=b\n#PBS -l c=d")
    assert pbs.command.split()[:3] == ["qsub", "-q", "q"]
    assert "\n#PBS -l select=1:ncpus=16:ngpus=2\n" in pbs.script
    assert "\n#PBS -l a=b\n#PBS -l c=d\n" in pbs.script
    assert "\nmpiexec " not in pbs.script
    slurm = rendered(
        "slurm", account="A", queue="p", qos="o", constraint="a&b", cores=8, gpus=2, srun_options="--mpi=none"
    )
    for line in ("account=A", "partition=p", "qos=o", "constraint=a&b", "gpus-per-node=2", "cpus-per-task=8"):
        assert f"\n#SBATCH --{line}\n" in slurm.script
    assert "\nsrun --ntasks 1 -l --mpi=none bash " in slurm.script
    bare = rendered("slurm").script
    assert not any(word in bare for word in ("account", "partition", "qos", "gpus", "constraint"))


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_and_one_of_another_type_are_refused(name: str) -> None:
    with pytest.raises(ConfigInvalid, match="no_such_option"):
        rendered(name, no_such_option=1)
    with pytest.raises(ConfigInvalid, match="'two' is not of type 'integer'"):
        rendered(name, workers="two")
    with pytest.raises(ConfigInvalid, match="does not match"):
        rendered(name, common=["site:/a; rm b'"])


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_site_that_charges_a_project_is_not_asked_without_one(name: str) -> None:
    with pytest.raises(ConfigInvalid, match="'account' is undefined"):
        render(str(CONFIGS / name), {"interface": "lo"})


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_away_from_the_site_its_interface_is_told_to_be_missing_and_how_to_go_on(name: str) -> None:
    with pytest.raises(ConfigInvalid, match="has not the network interface") as caught:
        render(str(CONFIGS / name), {"account": "P"})
    assert caught.value.next == "nodexfer compute validate -o interface=lo NAME"


@pytest.mark.parametrize("name", NAMES)
def test_options_reach_the_engine(name: str) -> None:
    engine = rendered(name, workers=7, max_idletime=3.5, max_blocks=4).user.engine
    assert engine.executor.max_workers_per_node == 7
    assert engine.executor.provider.max_blocks == 4
    assert engine._job_status_kwargs["max_idletime"] == 3.5


@pytest.mark.parametrize("name", NAMES)
def test_the_users_worker_init_survives_its_quoting(name: str) -> None:
    init = "export A=\"x y\"\nexport B='{1}: #'\nexport C=back\\\\slash"
    assert f"{init}\nexport NODEXFER_COMMON=''\n" in rendered(name, worker_init=init).script


@pytest.mark.parametrize("name", NAMES)
def test_what_init_was_told_is_what_a_caller_gets_who_says_nothing_else(name: str) -> None:
    init = "export A=\"x y\" # {{ no }} {% set %}\nexport B='\\{1}: é'"
    options = {**NEEDED.get(name, {}), "worker_init": init, "workers": 3, "common": ["site:/a"]}
    made = compute_setup.init(name, "mine", options, os.environ)
    text = render(made, {}).script
    assert f"{init}\nexport NODEXFER_COMMON='site:/a '\n" in text
    assert " --max_workers_per_node=3 " in text
    assert " --max_workers_per_node=4 " in render(made, {"workers": 4}).script
    assert render(compute_setup.find("mine", os.environ), {"worker_init": "true"}).script.count(init) == 0


OLD = """
import sys
from nodexfer.integrations import compute_render, compute_setup
for name, options in eval(sys.argv[1]):
    script = compute_render.render(compute_setup.shipped(name), options).script
    assert "$NODEXFER_WRAPPER globus-compute-endpoint python-exec parsl." in script, script
    print(name, "--gpus-per-node=" in script)
"""


@pytest.mark.conformance
def test_the_oldest_endpoint_that_is_supported_renders_every_configuration() -> None:
    """globus-compute-endpoint 4.6, with globus-sdk 3.65."""
    python = ROOT / ".venv-sdk3/bin/python"
    assert python.exists(), "the environment with globus-sdk 3.65 is missing; `make test-conformance` sets it up"
    asked = [(name, {**NEEDED.get(name, {}), "workers": 4}) for name in NAMES] + [("slurm", {"gpus": 2, "nodes": 2})]
    done = procs.run([str(python), "-c", OLD, repr(asked)], timeout=100, cwd="/")
    assert done.code == 0, done.err
    gpus = ["perlmutter", "slurm"]
    assert done.out.splitlines() == [f"{name} {name == gpus[0]}" for name in NAMES] + [f"{gpus[1]} True"]


@pytest.mark.slow
def test_the_wheel_has_every_configuration_where_it_is_looked_for(tmp_path: pathlib.Path) -> None:
    build = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    made = procs.run([sys.executable, "-c", build, str(tmp_path)], cwd=str(ROOT), timeout=120)
    assert made.code == 0, made.err
    wheel = tmp_path / made.out.splitlines()[-1]
    look = (
        "import sys, zipfile; zipfile.ZipFile(sys.argv[2]).extractall(sys.argv[1]); sys.path.insert(0, sys.argv[1])\n"
        "import nodexfer; from nodexfer.integrations import compute_setup, sites\n"
        "print(*[compute_setup.shipped(name) for name in sites.SITES], sep='\\n')"
    )
    found = procs.run([sys.executable, "-c", look, str(tmp_path / "x"), str(wheel)], cwd="/", timeout=60)
    assert found.code == 0, found.err
    for path in map(pathlib.Path, found.out.split()):
        assert path.parent == tmp_path / "x/nodexfer/endpoint_configs"
        shipped = {one.name: one.read_bytes() for one in (CONFIGS / path.name).iterdir()}
        assert {one.name: one.read_bytes() for one in path.iterdir()} == shipped


class Block(NamedTuple):
    """A stage of its own, and what the program in it said."""

    site: pathlib.Path
    node_dir: str
    told: dict[str, Any]


@contextmanager
def real_block(tmp_path_factory: pytest.TempPathFactory, **more: str) -> Iterator[Block]:
    """The program has run functions on a real block of the configuration "local", and ended."""
    tmp_path = tmp_path_factory.mktemp("b")  # short: a worker's socket is made in it, and a socket's path has 107 bytes
    with offline(str(tmp_path), prefix="compute") as user:
        pathlib.Path(user.stage.site, "input").write_bytes(b"what is at the site")
        (tmp_path / "run").mkdir()
        program = [sys.executable, "-m", "tests.integration.compute_block"]
        done = subprocess.run(
            [*program, str(CONFIGS / "local"), str(tmp_path / "run"), "site:/input", "site:/output"],
            env={
                **user.environment,
                # The endpoint looks its own programs up in PATH.
                "PATH": f"{user.stage.bin}:{os.path.dirname(sys.executable)}:{user.environment['PATH']}",
                "GLOBUS_COMPUTE_USER_DIR": str(tmp_path / "globus_compute"),
                **more,
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
            start_new_session=True,
        )
        assert done.returncode == 0, done.stderr
        yield Block(pathlib.Path(user.stage.site), user.stage.node_dir, json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_function_on_a_real_block_stages_and_the_block_leaves_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with real_block(tmp_path_factory) as block:
        assert (block.site / "output").read_bytes() == b"what is at the site"[::-1]
        assert block.told["first"]["wrapped"]
        assert block.told["first"]["endpoint"]
        # What is common was on the node before the worker started: the function itself brought its own input only.
        staged = block.told["staged"]
        assert [receipt["direction"] for receipt in staged["receipts"]] == ["in", "out"]
        made = (block.site / "output.staged").read_bytes()
        assert made == b"what is at the site"[::-1] + b"what is at the site"
        deadline = Deadline(60)
        while processes(f"NODEXFER_NODE_DIR={block.node_dir}", []) and not deadline.passed:
            pass
        assert processes(f"NODEXFER_NODE_DIR={block.node_dir}", []) == []
        assert files(block.node_dir, str(block.site)) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_block_whose_set_up_fails_is_not_submitted_again_and_every_function_says_why(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    unsafe = tmp_path_factory.mktemp("unsafe")
    unsafe.chmod(0o777)
    with real_block(tmp_path_factory, COMPUTE_BLOCK_INIT=f"export NODEXFER_NODE_DIR={unsafe}") as block:
        for name in ("first", "staged"):
            assert f"nodexfer.errors.NodeDirUnsafe: {unsafe} can be entered by others" in block.told[name]
        assert block.told["blocks"] == 1
        assert block.told["stderr"].count("The block goes on") == 1
