"""What a site's batch system is really asked: the provider's own script; only the scheduler's call is replaced."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from nodexfer.errors import ConfigInvalid
from nodexfer.integrations import parsl_config, sites
from nodexfer.integrations.parsl import NodeStaging, config


def executor_of(site: str, **options: Any) -> Any:
    (executor,) = config(site=site, **{"address": "10.0.0.1", **options}).executors
    return executor


def submitted(site: str, directory: Path, **options: Any) -> list[str]:
    """The command that the scheduler would get, and the lines of its script."""
    provider = executor_of(site, **options).provider
    provider.script_dir = str(directory)
    asked: list[str] = []

    def execute_wait(command: str, *_: Any) -> tuple[int, str, str]:
        asked.append(command)
        return 0, "Submitted batch job 7" if "sbatch" in command else "7.server", ""

    provider.execute_wait = execute_wait
    assert provider.submit("THE COMMAND", 1).startswith("7")
    (command,) = asked
    return [command, *Path(command.split()[-1]).read_text().splitlines()]


@pytest.mark.parametrize("site", ["aurora", "perlmutter", "pbs", "slurm"])
def test_the_scheduler_is_asked_for_what_the_user_named(site: str, tmp_path: Path) -> None:
    lines = submitted(
        site, tmp_path, account="alpha", queue="quick", nodes=3, walltime="00:07:00", worker_init="module load x"
    )
    text = "\n".join(lines)
    if sites.get(site).scheduler == "pbs":
        assert "-q quick -A alpha" in lines[0]
        assert any(line.startswith("#PBS -l select=3:ncpus=") for line in lines)
        assert "#PBS -l walltime=00:07:00" in lines
    else:
        assert "#SBATCH --account=alpha" in lines
        assert f"#SBATCH --{sites.get(site).queue_option}=quick" in lines
        assert "#SBATCH --nodes=3" in lines
        assert "#SBATCH --time=7" in lines
    # In this order: our Python, what the site needs, what the user wants, and then the workers, one manager a node.
    order = [text.index(part) for part in (os.path.dirname(sys.executable), "module load x", "THE COMMAND")]
    assert order == sorted(order)
    assert ("mpiexec" if sites.get(site).scheduler == "pbs" else "srun") in text


def test_aurora_as_its_documentation_has_it(tmp_path: Path) -> None:
    lines = submitted("aurora", tmp_path, account="alpha", nodes=2)
    assert "-q debug -A alpha" in lines[0]
    for line in ("#PBS -l filesystems=home:flare", "#PBS -k doe", "#PBS -l place=scatter"):
        assert line in lines
    assert "#PBS -l select=2:ncpus=208" in lines
    text = "\n".join(lines)
    assert "export http_proxy=http://proxy.alcf.anl.gov:3128" in text
    assert "--cpu-bind" in text
    assert "--ppn 1" in text
    executor = executor_of("aurora")
    assert executor.max_workers_per_node == len(executor.available_accelerators) == 12
    assert executor.cpu_affinity.startswith("list:1-8,105-112:")
    # GCP has no way out of a compute node of its own.
    assert re.search("^export NODEXFER_GCP_PREFIX='.*/proxychains4 -f .*'$", text, re.MULTILINE)


def test_perlmutter_as_its_documentation_has_it(tmp_path: Path) -> None:
    lines = submitted("perlmutter", tmp_path, account="alpha")
    for line in ("#SBATCH --qos=debug", "#SBATCH --constraint=gpu", "#SBATCH --gpus-per-node=4"):
        assert line in lines
    assert "#SBATCH --cpus-per-task=128" in lines
    assert executor_of("perlmutter").max_workers_per_node == 4


@pytest.mark.parametrize("site", list(sites.SITES))
def test_every_site_stages_by_us_first_and_keeps_what_parsl_has(site: str) -> None:
    executor = executor_of(site, staging={"overwrite": True}, blocks=4, workers=3)
    # The manager runs below what holds its node.
    assert executor.launch_cmd.startswith("exec nodexfer compute wrapper -- process_worker_pool.py ")
    ours, *others = executor.storage_access
    assert isinstance(ours, NodeStaging)
    assert ours.overwrite
    assert others
    assert executor.provider.max_blocks == 4
    assert executor.max_workers_per_node == 3


def test_the_user_has_the_last_word() -> None:
    executor = executor_of("aurora", provider={"walltime": "01:00:00", "cpus_per_node": 4})
    assert executor.provider.walltime == "01:00:00"
    assert executor.provider.cpus_per_node == 4
    assert config(site="local", retries=2).retries == 2


def test_what_can_not_be_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigInvalid, match="aurora, perlmutter, pbs, slurm, local"):
        config(site="nowhere")
    with pytest.raises(ConfigInvalid, match="at least one node"):
        config(site="local", nodes=0)

    def absent(_: str) -> str:
        raise OSError(19, "No such device")

    monkeypatch.setattr(parsl_config, "address_by_interface", absent)
    with pytest.raises(ConfigInvalid, match="no network interface hsn0"):
        config(site="aurora")


def test_workers_that_could_not_be_ended_are_not_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigInvalid, match="no ps") as raised:
        config(site="local")
    assert raised.value.next == "apt install procps"
    executor_of("slurm")  # its own commands end its blocks
