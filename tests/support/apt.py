"""Programs of the distribution that tests need: installed where they are missing, so that nothing is skipped."""

from __future__ import annotations

import os
import shutil

from nodexfer import procs

#: Where daemons lie, which an ordinary PATH may not have.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_APT = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
_APT_SECONDS = 300.0


def install(*packages: str) -> str:
    """What apt-get said where it failed. The services in the packages are not started.

    :raises PermissionError: we are not root. :raises FileNotFoundError: there is no apt-get.
    """
    if os.geteuid() != 0:
        raise PermissionError(f"Only root can install {', '.join(packages)}.")
    if shutil.which("apt-get", path=PATH) is None:
        raise FileNotFoundError(f"There is no apt-get to install {', '.join(packages)}.")
    return _apt("update") + _apt("install", "--yes", "--no-install-recommends", *packages)


def _apt(*arguments: str) -> str:
    # RUNLEVEL: invoke-rc.d(8) starts nothing at a level at which nothing is to run.
    environ = {**os.environ, "PATH": PATH, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    done = procs.run([*_APT, *arguments], timeout=_APT_SECONDS, environ=environ)
    return "" if done.code == 0 else f"{done.out}{done.err}"
