"""What is to be known of a site to ask it for nodes: one table, for Parsl's configurations and for Globus Compute's.

``endpoint_configs/<name>/`` says the same in the endpoint's own words; a test compares the two. Every fact is from the
site's public documentation, named above it; what the documentation leaves to the user is left out here.

Of the standard library only: also what runs on a node may look something up here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from nodexfer.errors import ConfigInvalid


class Site(NamedTuple):
    """One kind of block. Names of classes and options are Parsl's, since the endpoint gives them to Parsl, too."""

    name: str
    summary: str
    #: Pages that say what is said here.
    sources: tuple[str, ...]
    scheduler: Literal["pbs", "slurm", "none"]
    #: The class in parsl.providers.
    provider: str
    #: The provider's option that the user's "queue" goes to, and its value where the user says nothing.
    queue_option: Literal["queue", "qos", "partition", ""] = ""
    queue: str = ""
    #: The class in parsl.launchers and its options: one manager on each node of a block.
    launcher: str = "SimpleLauncher"
    launcher_options: Mapping[str, str] = MappingProxyType({})
    #: The network interface on which nodes reach the login node; "" for the loopback, None to let Parsl find out.
    interface: str | None = None
    #: Hardware threads of a node, as the provider asks for them; None: the site's default.
    cores: int | None = None
    #: Workers on a node where the user says nothing: one for each accelerator.
    workers: int = 2
    #: One worker each; () where the documentation names none.
    accelerators: tuple[str, ...] = ()
    cpu_affinity: str = "none"
    #: Slurm's --constraint and --gpus-per-node.
    constraint: str = ""
    gpus: int = 0
    #: HH:MM:SS
    walltime: str = "00:30:00"
    #: Lines for the submit script.
    scheduler_options: tuple[str, ...] = ()
    select_options: str = ""
    #: Seconds for a command of the scheduler; None for Parsl's own default.
    cmd_timeout: int | None = None
    #: Where a node has a disk (or memory) of its own; nodexfer's node_dir is below it.
    local: str = "/tmp"  # noqa: S108 (the site's)
    #: Lines of shell before the user's own: what every job of the site needs.
    worker_init: tuple[str, ...] = ()
    #: What Globus Connect Personal is started with where a node has no way out of its own.
    gcp_prefix: tuple[str, ...] = ()

    @property
    def batch(self) -> bool:
        return self.scheduler != "none"


# https://docs.alcf.anl.gov/aurora/getting-started-on-aurora/ (Proxy), as of August 2026: "Compute nodes don't have
# outbound network connectivity". no_proxy is that of https://docs.alcf.anl.gov/aurora/containers/containers/.
_AURORA_PROXY = "http://proxy.alcf.anl.gov:3128"

_ALL = (
    Site(
        name="aurora",
        summary="Aurora at ALCF: PBS Pro, 6 GPUs of 2 tiles each",
        sources=(
            "https://docs.alcf.anl.gov/aurora/workflows/parsl/",
            "https://docs.alcf.anl.gov/aurora/running-jobs-aurora/",
            "https://docs.alcf.anl.gov/aurora/getting-started-on-aurora/",
            "https://docs.alcf.anl.gov/aurora/data-management/moving_data_to_aurora/globus/",
            "https://docs.alcf.anl.gov/services/globus-compute/",
        ),
        scheduler="pbs",
        provider="PBSProProvider",
        # running-jobs-aurora: debug has 1 or 2 nodes for 5 min to 1 h, one job of a user at a time.
        queue_option="queue",
        queue="debug",
        # workflows/parsl: one manager on each node, on all of its cores.
        launcher="MpiExecLauncher",
        launcher_options=MappingProxyType({"bind_cmd": "--cpu-bind", "overrides": "--ppn 1"}),
        interface="hsn0",
        cores=208,
        # workflows/parsl: a worker for each tile, and the cores that are next to it; cores 0 and 52 are the system's.
        workers=12,
        accelerators=tuple(f"{gpu}.{tile}" for gpu in range(6) for tile in range(2)),
        cpu_affinity="list:1-8,105-112:9-16,113-120:17-24,121-128:25-32,129-136:33-40,137-144:41-48,145-152"
        ":53-60,157-164:61-68,165-172:69-76,173-180:77-84,181-188:85-92,189-196:93-100,197-204",
        # running-jobs-aurora: filesystems is mandatory, -k doe and place=scatter are recommended.
        scheduler_options=("#PBS -l filesystems=home:flare", "#PBS -k doe", "#PBS -l place=scatter"),
        # data-management (datamover): /tmp is each node's own.
        local="/tmp",  # noqa: S108
        worker_init=(
            # services/globus-compute: Parsl with MpiExecLauncher on one node wants it.
            "export TMPDIR=/tmp",
            f"export http_proxy={_AURORA_PROXY} https_proxy={_AURORA_PROXY}",
            f"export HTTP_PROXY={_AURORA_PROXY} HTTPS_PROXY={_AURORA_PROXY}",
            "export no_proxy='admin,*.hostmgmt.cm.aurora.alcf.anl.gov,*.alcf.anl.gov,localhost'",
        ),
        # moving_data_to_aurora/globus: Globus Connect Personal is started by proxychains.
        gcp_prefix=(
            "/soft/tools/proxychains/bin/proxychains4",
            "-f",
            "/soft/tools/proxychains/etc/proxychains.conf",
        ),
    ),
    Site(
        name="perlmutter",
        summary="Perlmutter at NERSC: Slurm, 4 GPUs",
        sources=(
            "https://docs.nersc.gov/jobs/policy/",
            "https://docs.nersc.gov/beginner-guide/nodetypesfig",
            "https://globus-compute.readthedocs.io/en/stable/endpoints/endpoint_examples.html#perlmutter-nersc",
        ),
        scheduler="slurm",
        provider="SlurmProvider",
        # jobs/policy: a queue is a QOS; debug is the default; the project is given by -A.
        queue_option="qos",
        queue="debug",
        # endpoint_examples: all hardware threads of a node, 128 with GPUs (256 without), on its high-speed network.
        launcher="SrunLauncher",
        launcher_options=MappingProxyType({"overrides": "-c 128"}),
        interface="hsn0",
        # nodetypesfig: 1 AMD EPYC 7763 (64 cores of 2 threads) and 4 NVIDIA A100.
        cores=128,
        workers=4,
        accelerators=("0", "1", "2", "3"),
        constraint="gpu",
        gpus=4,
        cmd_timeout=120,
    ),
    Site(
        name="pbs",
        summary="any PBS Pro or OpenPBS",
        # OpenPBS, and Parsl's own defaults: mpiexec is the MPI's of the user's environment.
        sources=(
            "https://parsl.readthedocs.io/en/stable/stubs/parsl.providers.PBSProProvider.html",
            "https://parsl.readthedocs.io/en/stable/stubs/parsl.launchers.MpiExecLauncher.html",
        ),
        scheduler="pbs",
        provider="PBSProProvider",
        queue_option="queue",
        launcher="MpiExecLauncher",
        scheduler_options=("#PBS -l place=scatter",),
    ),
    Site(
        name="slurm",
        summary="any Slurm",
        sources=(
            "https://parsl.readthedocs.io/en/stable/stubs/parsl.providers.SlurmProvider.html",
            "https://parsl.readthedocs.io/en/stable/stubs/parsl.launchers.SrunLauncher.html",
        ),
        scheduler="slurm",
        provider="SlurmProvider",
        queue_option="partition",
        launcher="SrunLauncher",
    ),
    Site(
        name="local",
        summary="this machine itself",
        sources=("https://parsl.readthedocs.io/en/stable/stubs/parsl.providers.LocalProvider.html",),
        scheduler="none",
        provider="LocalProvider",
        interface="",
    ),
)

SITES: Mapping[str, Site] = MappingProxyType({site.name: site for site in _ALL})


def get(name: str) -> Site:
    """:raises ConfigInvalid: there is none of that name; the message has those that there are."""
    if name not in SITES:
        raise ConfigInvalid(
            f"There is no site {name!r}; there are: {', '.join(SITES)}.", "nodexfer compute init --help"
        )
    return SITES[name]
