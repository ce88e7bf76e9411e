"""Workers that can not do what they are asked: without nodexfer, with an old one, without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parsl
import pytest
from parsl.config import Config
from parsl.data_provider.files import File
from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD

from nodexfer import __version__, errors
from tests.support import apps
from tests.support.parsl import LONG, htex, local, workflow
from tests.support.sandbox import Box
from tests.support.user import User

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LONG)]


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A Python that has all that this one has, but nodexfer."""
    made = subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=False)
    assert made.returncode == 0
    (packages,) = (tmp_path / "bare").glob("lib/python*/site-packages")
    # What lies there by a .pth of its own, as nodexfer here, is not found by this one.
    (packages / "all.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return str(tmp_path / "bare/bin/python")


@pytest.fixture
def lonely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An app of a module that names nothing of ours; the directory that it is in."""
    (tmp_path / "lonely").mkdir()
    (tmp_path / "lonely/lonely.py").write_text(
        "from parsl.app.app import python_app\n@python_app\ndef app(*files):\n    return len(files)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "lonely"))
    import lonely as module  # type: ignore[import-not-found]

    yield module.app
    del sys.modules["lonely"]


def elsewhere(python: str) -> Any:
    """A block whose workers run by another Python."""
    executor = htex(workers=1)
    program = f"{os.path.dirname(sys.executable)}/process_worker_pool.py"
    executor.launch_cmd = DEFAULT_LAUNCH_CMD.replace("process_worker_pool.py", f"{python} {program}")
    return executor


def failure_of(app: Any, executor: Any, run_dir: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    # Parsl needs a name, and a container's user may have none.
    monkeypatch.setenv("USER", os.environ.get("USER") or "tester")
    config = Config([executor], run_dir=str(run_dir), strategy="none", usage_tracking=0, initialize_logging=False)
    try:
        with parsl.load(config):
            assert app().result(LONG) == 0  # without files, it runs
            return app(File("nodexfer://site/x")).exception(LONG)
    finally:
        parsl.clear()


def test_a_worker_without_nodexfer_says_how_it_is_installed_there(
    bare: str, lonely: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = failure_of(lonely, elsewhere(bare), tmp_path / "run", str(tmp_path / "lonely"), monkeypatch)
    assert isinstance(error, errors.NodexferMissing), repr(error)
    assert f"not installed for {bare} on {os.uname().nodename}" in str(error)
    assert error.next == f"{bare} -m pip install nodexfer=={__version__}"


@pytest.mark.parametrize("has_integrations", [False, True])
def test_a_worker_with_an_old_nodexfer_says_which_versions_there_are(
    bare: str, lonely: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_integrations: bool
) -> None:
    old = tmp_path / "lonely/nodexfer"
    old.mkdir()
    (old / "__init__.py").write_text("__version__ = '0.0.7'\n")
    if has_integrations:
        (old / "integrations").mkdir()
        (old / "integrations/__init__.py").touch()
        (old / "integrations/app.py").write_text("FORMAT = 0\n")
    # Here, the new one has been imported already.
    error = failure_of(lonely, elsewhere(bare), tmp_path / "run", str(tmp_path / "lonely"), monkeypatch)
    assert isinstance(error, errors.NodexferMissing), repr(error)
    assert f"nodexfer 0.0.7 is installed for {bare} on {os.uname().nodename}" in str(error)
    assert f"{__version__} is asking" in str(error)


def test_a_block_without_a_way_out_says_so_in_time(box: Box, tmp_path: Path) -> None:
    user = User(box)
    provider = local()
    # Nobody listens there: what a node without outbound network meets, at its firewall's quickest.
    provider.worker_init = (
        "export GLOBUS_SDK_SERVICE_URL_TRANSFER=http://127.0.0.1:9/ GLOBUS_SDK_SERVICE_URL_AUTH=http://127.0.0.1:9/"
    )
    with workflow(user, tmp_path / "run", htex(provider=provider)):
        error = apps.content(File("nodexfer://site/x")).exception(LONG)
    assert isinstance(error, errors.ServiceUnreachable), repr(error)
    assert "127.0.0.1:9" in str(error)
