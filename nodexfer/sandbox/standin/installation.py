"""Writes the stand-in's installation directory. Its programs run with a copy of the few modules that they need."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time

VERSION = "3.2.8"

_HERE = os.path.dirname(os.path.abspath(__file__))
_SANDBOX = os.path.dirname(_HERE)
#: Modules that are copied below ``lib/nodexfer/sandbox``: standard library and each other, nothing else.
_SHARED = ("storage.py", "wire.py", "owners.py", "local.py", "reach.py", "pathrules.py")
_OWN = ("settings.py", "children.py", "control.py", "ctrl.py", "gc.py", "relaytool.py", "gridftp.py", "register.py")
#: Program -> the module of it; the names are the real ones.
_PROGRAMS = {
    "gc-ctrl.py": "ctrl",
    "gc.py": "gc",
    "gt_amd64/bin/relaytool": "relaytool",
    "gt_amd64/bin/register": "register",
    "gt_amd64/sbin/globus-gridftp-server": "gridftp",
}
_PROGRAM = """\
import os
import sys

here = os.path.realpath(__file__)
for _ in range({depth}):
    here = os.path.dirname(here)
sys.path.insert(0, here + "/lib")

from nodexfer.sandbox.standin.{module} import main

sys.exit(main(here, sys.argv[1:]))
"""


def install(
    directory: str,
    *,
    url: str,
    relay_host: str,
    relay_port: int,
    sandbox_id: str,
    allow_root: bool,
    connect_seconds: float = 0.0,
    report_seconds: float = 5.0,
    reconnect_seconds: float = 5.0,
    relay_unix: str | None = None,
) -> str:
    """Write ``directory/globusconnectpersonal-3.2.8`` and return the path of its ``globusconnectpersonal``.

    Doing it again replaces file by file; what runs notices new settings when it next connects or starts.

    :param url: the sandbox's base URL; ``-setup`` posts its key to ``<url>/sandbox/register``.
    :param relay_unix: a Unix socket of the relay, used instead of host and port (another network namespace).
    :param sandbox_id: part of the one-per-user address, so that sandboxes run side by side.
    :param connect_seconds: how long the stand-in is "connecting".
    :param report_seconds: how often GCP reports its state, which ``-status`` waits for (the real one: 5).
    :param reconnect_seconds: pause before GCP connects again after a loss (the real one: 5).
    """
    base = f"{os.path.abspath(directory)}/globusconnectpersonal-{VERSION}"
    for name in _SHARED:
        _copy(f"{_SANDBOX}/{name}", f"{base}/lib/nodexfer/sandbox/{name}")
    for name in _OWN:
        _copy(f"{_HERE}/{name}", f"{base}/lib/nodexfer/sandbox/standin/{name}")
    for package in ("nodexfer", "nodexfer/sandbox", "nodexfer/sandbox/standin"):
        _write(f"{base}/lib/{package}/__init__.py", "")
    for program, module in _PROGRAMS.items():
        _write(f"{base}/{program}", _PROGRAM.format(depth=program.count("/") + 1, module=module))
    settings = {
        "url": url,
        "relay_host": relay_host,
        "relay_port": relay_port,
        "relay_unix": relay_unix,
        "address": f"/org/globusonline/globusconnect/sandbox-{sandbox_id}",
        "allow_root": allow_root,
        "connect_seconds": connect_seconds,
        "report_seconds": report_seconds,
        "reconnect_seconds": reconnect_seconds,
    }
    _write(f"{base}/etc/sandbox.json", json.dumps(settings, indent=1) + "\n")
    with open(f"{_HERE}/launcher.sh", encoding="utf-8") as file:
        launcher = file.read().replace("@PYTHON@", shlex.quote(sys.executable)).replace("@VERSION@", VERSION)
    for name in ("globusconnect", "globusconnectpersonal"):
        _write(f"{base}/{name}", launcher, mode=0o755)
    return f"{base}/globusconnectpersonal"


def _copy(source: str, target: str) -> None:
    with open(source, encoding="utf-8") as file:
        _write(target, file.read())


def _write(path: str, text: str, mode: int = 0o644) -> None:
    """By rename: a program that starts meanwhile sees the old file or the new one."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.tmp-{os.getpid()}-{time.monotonic_ns()}"
    with open(
        os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "w", encoding="utf-8"
    ) as f:
        f.write(text)
    os.rename(temporary, path)
