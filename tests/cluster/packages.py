"""Slurm from the distribution: installed where it is missing. Nothing is skipped for want of it."""

from __future__ import annotations

import os
import shutil

from nodexfer import procs

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "iproute2", "util-linux")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "ip", "unshare", "nsenter", "setpriv")
#: Where the daemons lie, which an ordinary PATH may not have.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_APT = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
_APT_SECONDS = 300.0


class CanNotTest(Exception):
    """The machine does not let us build a cluster; the message says what it refuses."""


def missing() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


def need() -> None:
    """Install what is missing.

    :raises CanNotTest: not root, no apt-get, or the packages can not be had.
    """
    if os.geteuid() != 0:
        raise CanNotTest("A cluster needs root: it makes namespaces, and its daemons start jobs as another user.")
    if not missing():
        return
    if shutil.which("apt-get", path=PATH) is None:
        raise CanNotTest(f"Not here, and there is no apt-get to install them: {', '.join(missing())}.")
    said = _apt("update") + _apt("install", "--yes", "--no-install-recommends", *PACKAGES)
    if missing():
        raise CanNotTest(f"apt-get could not install {', '.join(missing())}: {said[-1500:]}")


def _apt(*arguments: str) -> str:
    environ = {**os.environ, "PATH": PATH, "DEBIAN_FRONTEND": "noninteractive"}
    done = procs.run([*_APT, *arguments], timeout=_APT_SECONDS, environ=environ)
    return "" if done.code == 0 else f"{done.out}{done.err}"
