"""A parsl.Config for a site, from its row in :mod:`nodexfer.integrations.sites`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from parsl import launchers, providers
from parsl.addresses import address_by_interface
from parsl.config import Config
from parsl.data_provider.staging import Staging
from parsl.executors import HighThroughputExecutor

from nodexfer.errors import ConfigInvalid
from nodexfer.integrations.sites import Site


def config(
    site: Site,
    storage_access: list[Staging],
    *,
    account: str,
    queue: str,
    nodes: int,
    blocks: int,
    walltime: str,
    workers: int | None,
    worker_init: str,
    address: str | None,
    provider: Mapping[str, Any],
    launch_cmd: str,
    more: Mapping[str, Any],
) -> Config:
    """See :func:`nodexfer.integrations.parsl.config`."""
    if nodes < 1 or blocks < 1:
        raise ConfigInvalid(f"A block has at least one node, and there is at least one block: {nodes=}, {blocks=}.")
    if not site.batch and shutil.which("ps") is None:
        raise ConfigInvalid(
            "Parsl ends a block on this machine by what ps(1) tells it, and there is no ps: its workers would stay.",
            "apt install procps",
        )
    options = {
        **_everywhere(site, nodes, blocks, worker_init),
        **_scheduled(site, account, queue, walltime),
        **provider,
    }
    executor = HighThroughputExecutor(
        label=site.name,
        launch_cmd=launch_cmd,
        address=_address(site) if address is None else address,
        max_workers_per_node=workers or site.workers,
        # The number of workers is the number above, however many cores a node has.
        cores_per_worker=1e-6,
        cpu_affinity=site.cpu_affinity if workers in (None, site.workers) else "none",
        available_accelerators=list(site.accelerators),
        storage_access=storage_access,
        provider=getattr(providers, site.provider)(**options),
    )
    return Config(executors=[executor], **more)


def _address(site: Site) -> str | None:
    """Where the workers find the submit side. None: Parsl tries all addresses of this machine."""
    if site.interface is None:
        return None
    if not site.interface:
        return "127.0.0.1"
    try:
        return str(address_by_interface(site.interface))
    except OSError as error:
        raise ConfigInvalid(
            f"This machine has no network interface {site.interface}, on which the nodes of {site.name} reach its "
            f"login nodes: start the workflow there, or name its address: config(address=...).",
            "ip -brief address",
        ) from error


def _everywhere(site: Site, nodes: int, blocks: int, worker_init: str) -> dict[str, Any]:
    # A batch system need not hand our environment on: the workers are to be of the Python that we are.
    path = f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH"
    # By the environment, for whichever process of the block it is that starts Globus Connect Personal.
    prefix = f"export NODEXFER_GCP_PREFIX={shlex.quote(shlex.join(site.gcp_prefix))}" if site.gcp_prefix else ""
    return {
        "launcher": getattr(launchers, site.launcher)(**site.launcher_options),
        "nodes_per_block": nodes,
        "init_blocks": 1,
        "min_blocks": 0,
        "max_blocks": blocks,
        "worker_init": "\n".join(filter(None, (path, *site.worker_init, prefix, worker_init))),
        **({} if site.cmd_timeout is None else {"cmd_timeout": site.cmd_timeout}),
    }


def _scheduled(site: Site, account: str, queue: str, walltime: str) -> dict[str, Any]:
    if not site.batch:
        return {}
    found: dict[str, Any] = {
        "account": account or None,
        "walltime": walltime or site.walltime,
        "scheduler_options": "\n".join(site.scheduler_options),
    }
    if queue or site.queue:
        found[site.queue_option] = queue or site.queue
    if site.scheduler == "pbs":
        return {**found, "cpus_per_node": site.cores or 1, "select_options": site.select_options}
    return {
        **found,
        "cores_per_node": site.cores,
        "constraint": site.constraint or None,
        "gpus_per_node": site.gpus or None,
    }
