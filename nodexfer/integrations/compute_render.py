"""What the endpoint would make of a configuration, by the endpoint's own code: the engine, and the submit script.

Nothing is submitted: of all that runs, only the call of the scheduler's command is replaced.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import pwd
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from nodexfer.errors import ConfigInvalid

#: What the schedulers answer where they took a job: sbatch, and qsub; LocalProvider starts the script itself.
_ANSWERS = {"SlurmProvider": "Submitted batch job 1\n", "PBSProProvider": "1.server\n", "LocalProvider": "PID:1\n"}


class Rendered(NamedTuple):
    """``text`` is the user endpoint's YAML, ``script`` what ``command`` would give to the scheduler."""

    text: str
    user: Any
    script: str
    command: str


def render(directory: str, options: Mapping[str, Any]) -> Rendered:
    """What a caller with ``options`` would get of the configuration in ``directory``.

    :raises ConfigInvalid: the endpoint refuses the configuration, or the options.
    """
    with _refusals(directory):
        text = _text(Path(directory), dict(options))
        user = _utils().load_config_yaml(text)
        script, command = submit_script(user)
    return Rendered(text, user, script, command)


def engine(directory: str, options: Mapping[str, Any]) -> Any:
    """The engine alone, as the endpoint would start it. :raises ConfigInvalid: as :func:`render`."""
    with _refusals(directory):
        return _utils().load_config_yaml(_text(Path(directory), dict(options))).engine


def _utils() -> Any:
    from globus_compute_endpoint.endpoint.config import utils

    return utils


@contextmanager
def _refusals(directory: str) -> Iterator[None]:
    """What refuses is YAML, jinja2, jsonschema, typeguard, Parsl or the endpoint: each has errors of its own."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # the endpoint logs as well what it raises
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        words = " ".join((str(error) or type(error).__name__).split())[:300].rstrip(".")
        next_ = "nodexfer compute validate --help"
        if os.strerror(errno.ENODEV) in words:  # all that Parsl says of an interface that is not there
            words += ": this machine has not the network interface that the site's nodes are reached on"
            next_ = "nodexfer compute validate -o interface=lo NAME"
        raise ConfigInvalid(f"The endpoint refuses {directory}: {words}.", next_) from error
    finally:
        logging.disable(before)


def _user() -> pwd.struct_passwd:
    """A container's user may have no entry; a real endpoint's has one."""
    try:
        return pwd.getpwuid(os.getuid())
    except KeyError:
        home = os.environ.get("HOME", "/")
        return pwd.struct_passwd((f"uid{os.getuid()}", "x", os.getuid(), os.getgid(), "", home, "/bin/sh"))


def _text(directory: Path, options: dict[str, Any]) -> str:
    from globus_compute_endpoint.endpoint.endpoint import Endpoint
    from globus_compute_endpoint.endpoint.identity_mapper import MappedPosixIdentity
    from globus_compute_sdk.sdk.batch import create_user_runtime

    utils = _utils()
    core = utils.get_config(directory)
    if hasattr(core, "engine"):  # (the class without one has had several names)
        raise ValueError("config.yaml has an engine, which belongs into user_config_template.yaml.j2")
    template = Endpoint.user_config_template_path(directory, core)
    text: str = utils.render_config_user_template(
        parent_config=core,
        user_config_template=utils.load_user_config_template(template),
        user_config_template_path=template,
        mapped_identity=MappedPosixIdentity(
            local_user_record=_user(), matched_identity=None, globus_identity_candidates=[]
        ),
        user_config_schema=utils.load_user_config_schema(Endpoint.user_config_schema_path(directory, core)),
        user_opts=options,
        user_runtime=json.loads(json.dumps(asdict(create_user_runtime()))),
    )
    return text


def submit_script(user: Any) -> tuple[str, str]:
    """The script of one block of a user endpoint's configuration, and the command that would submit it."""
    engine, executor = user.engine, user.engine.executor
    provider = executor.provider
    with tempfile.TemporaryDirectory(prefix="nodexfer-render-") as directory:
        provider.script_dir = directory
        executor.run_dir = directory
        executor.logconf_path = None
        executor.launch_cmd = engine.containerized_launch_cmd() if engine.container_type else executor.launch_cmd
        executor.initialize_scaling()
        commands: list[str] = []

        def answer(command: str, *_: Any, **__: Any) -> tuple[int, str, str]:
            commands.append(command)
            return 0, _ANSWERS.get(type(provider).__name__, "1\n"), ""

        with _calling(provider, answer):
            provider.submit(executor._get_launch_command("0"), 1, "block-0")  # noqa: SLF001 (as Parsl's own scale_out)
        names = [name for name in os.listdir(directory) if os.path.isfile(f"{directory}/{name}")]
        script = Path(directory, sorted(names)[0]).read_text(encoding="utf-8")
        return script, commands[-1]


@contextmanager
def _calling(provider: Any, answer: Any) -> Iterator[None]:
    """A provider of a batch system has the call as a method; LocalProvider's is a function of its module."""
    place: Any = provider if hasattr(provider, "execute_wait") else sys.modules[type(provider).__module__]
    before = place.execute_wait
    place.execute_wait = answer
    try:
        yield
    finally:
        place.execute_wait = before
