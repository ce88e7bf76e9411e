"""The sitecustomize that turns the SDK: another process, with a package of the SDK's name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.sandbox.compute import turned

TABLE = 'def get_web_service_url(envname=None):\n    return f"the table\'s {envname}"\n'


@pytest.fixture
def path(tmp_path: Path) -> str:
    package = tmp_path / "lib" / "globus_compute_sdk" / "sdk"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "_environments.py").write_text(TABLE)
    turned.write(str(tmp_path / "turned"))
    return f"{tmp_path}/turned:{tmp_path}/lib"


def run(path: str, code: str, **more: str) -> str:
    done = procs.run([sys.executable, "-c", code], timeout=30.0, environ={**os.environ, "PYTHONPATH": path, **more})
    assert done.code == 0, done.err
    return done.out.strip()


ASK = "from globus_compute_sdk.sdk._environments import get_web_service_url as ask; print(ask('production'))"


def test_the_sdk_heeds_the_variable(path: str) -> None:
    assert run(path, ASK, GLOBUS_SDK_SERVICE_URL_COMPUTE="http://localhost:1234/") == "http://localhost:1234"
    assert run(path, ASK) == "the table's production"


def test_who_does_not_use_the_sdk_does_not_import_it(path: str) -> None:
    assert run(path, "import sys; print([name for name in sys.modules if 'globus' in name])") == "[]"


def test_a_sitecustomize_of_the_users_own_is_run_as_well(path: str, tmp_path: Path) -> None:
    (tmp_path / "lib" / "sitecustomize.py").write_text("import builtins\nbuiltins.mine = 'mine'\n")
    assert run(path, "print(mine)") == "mine"
    assert run(path, ASK, GLOBUS_SDK_SERVICE_URL_COMPUTE="http://localhost:1") == "http://localhost:1"


def test_a_path_of_the_users_own_is_kept() -> None:
    found = turned.environment("http://localhost:1", "/box/python", "/mine:/box/python:/too")
    assert found["PYTHONPATH"] == "/box/python:/mine:/too"
    assert turned.environment("http://localhost:1", "/box/python", None)["PYTHONPATH"] == "/box/python"


def test_at_the_sdks_own_port_nothing_is_turned() -> None:
    found = turned.environment(turned.LOCAL, "/box/python", "/mine")
    assert found == {"GLOBUS_SDK_SERVICE_URL_COMPUTE": turned.LOCAL, "GLOBUS_SDK_ENVIRONMENT": "local"}
