"""The environment that GCP gets: a job's own is full of modules, conda and proxies that break it.

Conda's tcl hides the system's, a Python of a module breaks GCP's scripts, and its data channels use no proxy. GCP
needs a user name (``getpass.getuser()`` in gc-ctrl.py), which a container's passwd may not know.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

PATH = "/usr/bin:/bin"
KEPT = ("LANG", "LC_ALL", "TMPDIR")
#: Says whose a process is, for as long as it lives and wherever it was re-parented to: the working config directory.
MARK = "NODEXFER_GCP_DIR"


def clean(environ: Mapping[str, str], keep: Sequence[str], working_dir: str) -> dict[str, str]:
    """``keep`` names further variables that GCP gets from ``environ`` (``gcp_environment`` of the configuration)."""
    user = environ.get("LOGNAME") or environ.get("USER") or passwd_name()
    result = {
        "HOME": environ.get("HOME") or os.path.expanduser("~"),
        "USER": user,
        "LOGNAME": user,
        "PATH": PATH,
        "LANG": "C.UTF-8",
    }
    result.update({name: environ[name] for name in (*KEPT, *keep) if name in environ})
    result[MARK] = working_dir
    return result


def passwd_name() -> str:
    """Of this process's user; made of the number where nobody knows a name."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid{os.getuid()}"
