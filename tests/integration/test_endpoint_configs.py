"""Every Globus Compute configuration that is shipped is rendered by the endpoint's own code."""

from __future__ import annotations

import json
import os
import pathlib
import pwd
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest

from nodexfer.clock import Deadline
from nodexfer.sandbox.demo.leftovers import files, processes
from nodexfer.sandbox.demo.offline import offline

CONFIGS = pathlib.Path(__file__).parents[2] / "endpoint_configs"
NAMES = sorted(path.name for path in CONFIGS.iterdir() if path.is_dir())

utils = pytest.importorskip("globus_compute_endpoint.endpoint.config.utils")


def local_user() -> pwd.struct_passwd:
    """A container's user may have no entry; a real endpoint's has one."""
    try:
        return pwd.getpwuid(os.getuid())
    except KeyError:
        return pwd.struct_passwd(("tester", "x", os.getuid(), os.getgid(), "", os.environ["HOME"], "/bin/sh"))


def render(directory: pathlib.Path, options: dict[str, Any]) -> Any:
    """The user endpoint's configuration, as the endpoint makes it: the engine and the provider are real objects."""
    from globus_compute_endpoint.endpoint.config import CoreEndpointConfig, UserEndpointConfig
    from globus_compute_endpoint.endpoint.endpoint import Endpoint
    from globus_compute_endpoint.endpoint.identity_mapper import MappedPosixIdentity
    from globus_compute_sdk.sdk.batch import create_user_runtime

    core = utils.get_config(directory)
    assert isinstance(core, CoreEndpointConfig)
    template = Endpoint.user_config_template_path(directory, core)
    text = utils.render_config_user_template(
        parent_config=core,
        user_config_template=utils.load_user_config_template(template),
        user_config_template_path=template,
        mapped_identity=MappedPosixIdentity(
            local_user_record=local_user(), matched_identity=None, globus_identity_candidates=[]
        ),
        user_config_schema=utils.load_user_config_schema(Endpoint.user_config_schema_path(directory, core)),
        user_opts=options,
        user_runtime=json.loads(json.dumps(asdict(create_user_runtime()))),
    )
    user = utils.load_config_yaml(text)
    assert isinstance(user, UserEndpointConfig)
    return user


@pytest.fixture(autouse=True)
def _no_home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GLOBUS_COMPUTE_USER_DIR", str(tmp_path / "globus_compute"))


@pytest.mark.parametrize("name", NAMES)
def test_the_real_code_builds_an_engine_without_any_option(name: str) -> None:
    user = render(CONFIGS / name, {})
    assert type(user.engine).__name__ == "GlobusComputeEngine"
    assert "nodexfer acquire" in user.engine.executor.provider.worker_init


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_refused(name: str) -> None:
    refusal: type[Exception] = pytest.importorskip("jsonschema").ValidationError
    with pytest.raises(refusal, match="no_such_option"):
        render(CONFIGS / name, {"no_such_option": 1})


@pytest.mark.parametrize("name", NAMES)
def test_options_reach_the_engine(name: str) -> None:
    user = render(CONFIGS / name, {"workers": 7, "max_idletime": 3.5})
    assert user.engine.executor.max_workers_per_node == 7


def test_the_users_worker_init_comes_first_and_survives_its_quoting() -> None:
    init = "export A=\"x y\"\nexport B='{1}: #'\nexport C=back\\\\slash"
    text = render(CONFIGS / "local", {"worker_init": init}).engine.executor.provider.worker_init
    assert text.startswith(init + "\n")
    assert text.endswith("eval \"$(nodexfer acquire)\" || exit\ntrap 'nodexfer release' EXIT")


@pytest.mark.parametrize(
    ("acquired", "log", "code"), [("export HELD=1", "acquire\nblock 1\nrelease\n", 0), ("(exit 31)", "acquire\n", 31)]
)
def test_a_block_holds_from_its_first_line_to_its_end(
    acquired: str, log: str, code: int, tmp_path: pathlib.Path
) -> None:
    """A block whose acquire fails ends at once, with the exit code; workers never start without a hold."""
    command = tmp_path / "nodexfer"
    command.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/log\n[ "$1" = acquire ] && echo "{acquired}"\nexit 0\n')
    command.chmod(0o700)
    init = render(CONFIGS / "local", {"worker_init": f"PATH={tmp_path}:$PATH"}).engine.executor.provider.worker_init
    script = f'{init}\necho "block $HELD" >> {tmp_path}/log\n'
    assert subprocess.run(["/bin/bash", "-c", script], check=False, timeout=20).returncode == code
    assert (tmp_path / "log").read_text() == log


@pytest.mark.slow
def test_a_function_on_a_real_block_stages_and_the_block_leaves_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tmp_path = tmp_path_factory.mktemp("b")  # short: a worker's socket is made in it, and a socket's path has 107 bytes
    with offline(str(tmp_path), prefix="compute") as user:
        pathlib.Path(user.stage.site, "input").write_bytes(b"what is at the site")
        (tmp_path / "run").mkdir()
        program = [sys.executable, "-m", "tests.integration.compute_block"]
        done = subprocess.run(
            [*program, str(CONFIGS / "local"), str(tmp_path / "run"), "site:/input", "site:/output"],
            env={
                **user.environment,
                # The endpoint looks its own programs up in PATH.
                "PATH": f"{user.stage.bin}:{os.path.dirname(sys.executable)}:{user.environment['PATH']}",
                "GLOBUS_COMPUTE_USER_DIR": str(tmp_path / "globus_compute"),
            },
            cwd=pathlib.Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
            timeout=140,
            start_new_session=True,
        )
        assert done.returncode == 0, done.stderr
        assert pathlib.Path(user.stage.site, "output").read_bytes() == b"what is at the site"[::-1]
        deadline = Deadline(30)
        while processes(f"NODEXFER_NODE_DIR={user.stage.node_dir}", []) and not deadline.passed:
            pass
        assert processes(f"NODEXFER_NODE_DIR={user.stage.node_dir}", []) == []
        assert files(user.stage.node_dir, user.stage.site) == []
