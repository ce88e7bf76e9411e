"""The SDK, turned to an address of our own.

``globus_compute_sdk`` passes an address to globus-sdk, on which ``GLOBUS_SDK_SERVICE_URL_COMPUTE`` has no effect then,
and takes it from a table by environment, in which ``local`` is http://localhost:5000. A sandbox at that port needs
nothing else. For any other, a directory with a ``sitecustomize.py`` goes first on PYTHONPATH: it makes the one function
that looks into the table heed the variable. Nothing is imported before the SDK itself is.
"""

from __future__ import annotations

import os
from pathlib import Path

#: Where the SDK looks with GLOBUS_SDK_ENVIRONMENT=local.
LOCAL = "http://localhost:5000"

SITECUSTOMIZE = '''\
"""Written by `nodexfer sandbox start --compute`: globus_compute_sdk heeds GLOBUS_SDK_SERVICE_URL_COMPUTE."""
import importlib.machinery
import importlib.util
import os
import sys

_NAME = "globus_compute_sdk.sdk._environments"


class _Loader:
    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        before = module.get_web_service_url
        module.get_web_service_url = lambda envname=None: (
            os.environ.get("GLOBUS_SDK_SERVICE_URL_COMPUTE", "").rstrip("/") or before(envname)
        )


class _Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != _NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def _next():
    """The sitecustomize that this one hides, if there is one."""
    here = os.path.dirname(os.path.abspath(__file__))
    rest = [path for path in sys.path if os.path.abspath(path or ".") != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


sys.meta_path.insert(0, _Finder)
_next()
'''


def write(directory: str) -> None:
    """Into ``directory``, which is made."""
    os.makedirs(directory, 0o700, exist_ok=True)
    path = Path(directory, "sitecustomize.py")
    if not path.exists() or path.read_text(encoding="utf-8") != SITECUSTOMIZE:
        path.write_text(SITECUSTOMIZE, encoding="utf-8")


def environment(url: str, directory: str, python_path: str | None) -> dict[str, str]:
    """What turns the SDK and the endpoint to the service at ``url``.

    :param directory: where :func:`write` has written.
    :param python_path: the PYTHONPATH of whoever asks, which is kept.
    """
    found = {"GLOBUS_SDK_SERVICE_URL_COMPUTE": url}
    if url == LOCAL:
        return {**found, "GLOBUS_SDK_ENVIRONMENT": "local"}
    rest = [path for path in (python_path or "").split(os.pathsep) if path and path != directory]
    return {**found, "PYTHONPATH": os.pathsep.join([directory, *rest])}
