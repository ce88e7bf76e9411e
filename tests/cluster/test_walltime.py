"""Jobs that run out of time: what they have made is on the shared file system, and then where it was to go."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.jobs import User
from tests.cluster.lab import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.root, pytest.mark.timeout(240)]

#: "Its time was over; the outputs are safe": of ``nodexfer run``.
OUT_OF_TIME = "62"
_JOBS = 8

#: The output grows until somebody stops the program. (The last line of the log is the exit code.)
_WITHOUT_END = """\
nodexfer run --out "results=site:/late/$SLURM_ARRAY_TASK_ID" -- bash -c '
    mkdir "$NODEXFER_SCRATCH/results" && cd "$NODEXFER_SCRATCH/results"
    head -c 2000000 /dev/urandom > data && cp data "$WITNESS/$SLURM_ARRAY_TASK_ID"
    while sleep 0.2; do date >> log; done'
echo "exit $?"
"""

#: A program that ends in good order when it is warned.
_WARNED = """\
exec nodexfer run --out "results=site:/warned" -- bash -c '
    trap "echo warned > $NODEXFER_SCRATCH/results; exit 0" USR1
    echo ready
    while :; do sleep 0.2; done'
"""


@pytest.mark.parametrize("lab", ["cgroup"], indirect=True, scope="session")
@pytest.mark.usefixtures("shared_home")
def test_eight_jobs_run_out_of_time_together_and_nothing_is_lost(lab: Cluster, user: Callable[..., User]) -> None:
    me = user(2)
    witness = lab.home / me.pool / "witness"
    witness.mkdir()
    witness.chmod(0o777)
    # Nothing of this size arrives in time.
    lab.box.fault("slow", endpoint="all", bytes_per_second=1000)
    began = time.time()
    warned = me.submit(_WARNED, "-w", "n2", "-t", "1", "--signal=B:USR1@50", name="warned")
    made = me.submit_array(_WITHOUT_END, _JOBS, "-w", "n1", "-t", "1", f"--export=ALL,WITNESS={witness}")
    warned.says("ready")
    warned.succeeds(70)
    assert (lab.site / "warned").read_text() == "warned\n"
    for job in made:
        job.succeeds(110)
        assert f"exit {OUT_OF_TIME}" in job.log, job.log
    print(f"\n{_JOBS} jobs with a limit of 60 s: all have ended after {time.time() - began:.1f} s, their outputs saved")
    lab.box.clear()
    for job in made:
        receipt = next(line.split()[-1] for line in job.log.splitlines() if "nodexfer resume" in line)
        me.nodexfer("resume", receipt)
    for number in range(_JOBS):
        arrived = lab.site / "late" / str(number)
        assert (arrived / "data").read_bytes() == (witness / str(number)).read_bytes()
        assert (arrived / "log").stat().st_size > 0
    assert saved(lab) == [], "what has arrived is still in the salvage"


#: Notes that it was asked, and then is what it is called.
_COUNTING = """\
#!/bin/bash
echo "$HOSTNAME ${0##*/}" >> DIRECTORY/asked
exec PROGRAM "$@"
"""


@pytest.mark.parametrize("lab", ["cgroup"], indirect=True, scope="session")
def test_all_nodes_of_a_job_ask_slurm_once_when_it_ends(lab: Cluster, user: Callable[..., User]) -> None:
    me = user(1)
    counting = lab.home / me.pool / "counting"
    counting.mkdir()
    counting.chmod(0o777)
    for name in ("squeue", "scontrol"):
        program = shutil.which(name)
        assert program is not None
        (counting / name).write_text(_COUNTING.replace("DIRECTORY", str(counting)).replace("PROGRAM", program))
        (counting / name).chmod(0o755)
    told = "nodexfer run -- true"
    job = me.submit(f'export PATH="{counting}:$PATH"\nsrun {told} && {told}', "-N2", "-n4", "-t", "5")
    job.succeeds(120)
    assert job.log.count("the job ends in") == 5, job.log
    asked = (counting / "asked").read_text().splitlines()
    assert [line.split()[1] for line in asked] == ["squeue"], asked


@pytest.fixture
def shared_home(lab: Cluster) -> Iterator[None]:
    """The home directories are served by a collection of the site, as sites do."""
    config = lab.home / ".nodexfer/config.toml"
    before = config.read_text()
    name = lab.box.add_site("home", str(lab.home))
    config.write_text(f'{before}[collections.home]\nid = "{name}"\nlocal_path = "{lab.home}"\n')
    yield
    config.write_text(before)


def saved(lab: Cluster) -> list[str]:
    return [str(path) for path in (lab.home / ".nodexfer/salvage").rglob("*") if path.is_file()]
