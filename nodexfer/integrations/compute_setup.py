"""The configurations that come with nodexfer, and writing one into the directory in which the endpoint looks.

A shipped template is copied as it is; what the user said once is put before it, as defaults of its options.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import nodexfer
from nodexfer.errors import ConfigInvalid, ConfigMissing, DestinationExists
from nodexfer.integrations import compute_schema, sites

#: The endpoint's own files; a README may be beside them.
TEMPLATE = "user_config_template.yaml.j2"
SCHEMA = "user_config_schema.json"
_HELP = "nodexfer compute init --help"
FILES = ("config.yaml", TEMPLATE, SCHEMA, "user_environment.yaml")


def shipped(site: str) -> str:
    """The directory of a site's configuration: in the installed package, or beside it in a source tree.

    :raises ConfigInvalid: there is no such site.
    :raises ConfigMissing: the installation is not whole.
    """
    sites.get(site)
    package = os.path.dirname(os.path.abspath(nodexfer.__file__))
    places = [f"{base}/endpoint_configs/{site}" for base in (package, os.path.dirname(package))]
    for place in places:
        if os.path.isfile(f"{place}/{TEMPLATE}"):
            return place
    raise ConfigMissing(
        f"There is no {places[0]}: nodexfer was not installed whole.", "pip install --force-reinstall nodexfer"
    )


def user_directory(environ: Mapping[str, str]) -> str:
    """Where the endpoint keeps its configurations."""
    return environ.get("GLOBUS_COMPUTE_USER_DIR") or os.path.expanduser("~/.globus_compute")


def find(name: str, environ: Mapping[str, str]) -> str:
    """The directory of a configuration of the user's, by its name; or any directory, by its path.

    :raises ConfigMissing: there is none.
    """
    directory = name if os.sep in name else f"{user_directory(environ)}/{name}"
    if not os.path.isfile(f"{directory}/{TEMPLATE}"):
        raise ConfigMissing(f"There is no {directory}/{TEMPLATE}.", _HELP)
    return directory


def default_worker_init() -> str:
    """What puts the environment that we run in into a block's PATH: the login node's is not there."""
    return f"export PATH='{os.path.dirname(sys.executable)}':\"$PATH\""


def init(
    site: str, name: str, options: Mapping[str, Any], environ: Mapping[str, str], *, overwrite: bool = False
) -> str:
    """Write a site's configuration as the user's ``name``; its directory. Only the user can read it.

    All or nothing: it is written beside its place, and renamed.

    :param options: defaults for the template's options. What is None is left to the template.
    :raises DestinationExists: there is one of that name; with ``overwrite``, its four files are replaced and whatever
        else is there (the endpoint's identity) stays.
    :raises ConfigInvalid: the name or an option can not be used.
    """
    source = shipped(site)
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) is None:
        raise ConfigInvalid(f"{name!r} can not be an endpoint's name: letters, digits, - and _ are wanted.", _HELP)
    said = {key: value for key, value in options.items() if value is not None}
    compute_schema.refuse(f"{source}/{SCHEMA}", site, said)
    base = user_directory(environ)
    target = f"{base}/{name}"
    if os.path.lexists(target) and not overwrite:
        raise DestinationExists(
            f"{target} is there already.", f"nodexfer compute init --overwrite --site {site} {name}"
        )
    os.makedirs(base, 0o700, exist_ok=True)
    unborn = tempfile.mkdtemp(prefix=f".{name}.", dir=base)
    try:
        for file in FILES:
            with open(f"{source}/{file}", encoding="utf-8") as read:
                text = read.read()
            _write(f"{unborn}/{file}", defaults(said) + text if file == TEMPLATE else text)
        if not os.path.lexists(target):
            os.rename(unborn, target)
        else:
            for file in FILES:
                os.replace(f"{unborn}/{file}", f"{target}/{file}")
            os.chmod(target, 0o700)
    finally:
        shutil.rmtree(unborn, ignore_errors=True)
    return target


def defaults(options: Mapping[str, Any]) -> str:
    """Lines of the template's language: what an option is where the caller says nothing.

    The endpoint gives the template every text of an option as its JSON, and so must a default be.
    """
    lines = []
    for key, value in options.items():
        lines.append("{%- set " + f"{key} = {key} | default({json.dumps(_quoted(value))})" + " %}")
    return "".join(f"{line}\n" for line in ["{#- By nodexfer compute init: -#}", *lines]) if lines else ""


def _quoted(value: Any) -> Any:
    if isinstance(value, str):
        return json.dumps(value)
    return [_quoted(one) for one in value] if isinstance(value, (list, tuple)) else value


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
