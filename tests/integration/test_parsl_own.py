"""Parsl's own tests of data staging, which are installed with it, with our provider in its place.

Left out is what needs the internet, or looks at a provider of its own.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from parsl.data_provider.files import File

from tests.support.parsl import BASH, LONG, everywhere, threads, workflow
from tests.support.sandbox import Box
from tests.support.user import User

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LONG), BASH]

#: Of files that Parsl's own providers stage, which stand behind ours.
BESIDE = {
    "test_file_apps": ["test_files", "test_increment"],
    "test_file_staging": ["test_regression_200"],
    "test_output_chain_filenames": ["test_behavior"],
    "test_staging_stdout": ["test_stdout_staging_file", "test_stdout_stderr_staging_zip"],
    "test_zip_in": ["test_zip_in"],
    "test_zip_out": ["test_zip_out"],
    "test_zip_to_zip": ["test_zip_pipeline"],
}

#: The collection that Parsl's tests read.
THEIRS = "03d7d06a-cb6b-11e8-8c6a-0a1d4c5c824a"


@pytest.fixture(autouse=True)
def _marks(pytestconfig: pytest.Config) -> None:
    """Those of Parsl's tests are not ours."""
    for name in ("local", "shared_fs", "staging_required"):
        pytestconfig.addinivalue_line("markers", f"{name}: of Parsl")


def module(name: str) -> Any:
    return importlib.import_module(f"parsl.tests.test_staging.{name}")


def test_files_of_globus(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of Parsl's Globus provider, as they are but for the collections' ids."""
    options: dict[str, Any] = importlib.import_module("parsl.tests.configs.user_opts").user_opts
    monkeypatch.setitem(options, "globus", {"remote_writeable": f"globus://{box.other_id}"})
    user, tests = User(box), module("test_staging_globus")
    (user.site / "unsorted.txt").write_text("b\na\n")
    monkeypatch.setattr(tests, "File", lambda url: File(url.replace(THEIRS, box.site_id)))
    monkeypatch.setattr(tests, "remote_writeable", f"globus://{box.other_id}")
    monkeypatch.chdir(tmp_path)
    with workflow(user, tmp_path / "run", threads()):
        tests.test_stage_in_globus()
        tests.test_stage_in_out_globus()
    assert (tmp_path / "sorted.txt").read_text() == (user.other / "sorted.txt").read_text() == "a\nb\n"


@everywhere
def test_other_files(box: Box, tmp_path: Path, make: Callable[..., Any]) -> None:
    """But for their look at the log, in which threads of other tests may write as well."""
    executor = make()
    executor.working_dir = str(tmp_path / "work")
    (tmp_path / "work").mkdir()
    with workflow(User(box, endpoints=0), tmp_path / "run", executor):
        for name, tests in BESIDE.items():
            for test in tests:
                own = tmp_path / test
                (own / "data").mkdir(parents=True)
                (own / "data/test1.txt").write_text("1\n")
                (own / "data/test2.txt").write_text("2\n")
                function = getattr(module(name), test)
                given = {"tmpd_cwd": own, "setup_data": own / "data", "caplog": SimpleNamespace(records=[])}
                function(**{key: given[key] for key in inspect.signature(function).parameters if key in given})
