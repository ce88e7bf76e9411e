"""A function as its text: read where nothing of nodexfer is, by whatever pickles it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import dill  # type: ignore[import-untyped]
import pytest
from parsl.data_provider.files import File

from nodexfer import errors
from nodexfer.integrations import app
from nodexfer.integrations.by_value import ARRIVE, arrive
from nodexfer.integrations.parsl import NodeStaging, Staged


@pytest.mark.parametrize("pickler", [pickle, dill])
def test_it_is_read_without_anything_of_ours(pickler: Any, tmp_path: Path) -> None:
    (tmp_path / "pickled").write_bytes(pickler.dumps(ARRIVE))
    # Isolated: neither this package nor what is installed for it, but for dill.
    code = f"""import sys
sys.path.append({str(Path(dill.__file__).parents[1])!r})
import {pickler.__name__} as pickler
print(pickler.load(open("pickled", "rb")))
assert not [name for name in sys.modules if name.startswith("nodexfer")]"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "arrive" in done.stdout


def test_it_finds_what_is_wanted() -> None:
    again = pickle.loads(pickle.dumps(ARRIVE))
    assert again("app", app.FORMAT, "1") is app


def test_a_library_that_is_missing_besides_is_said_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "nodexfer.integrations.app")
    monkeypatch.setitem(sys.modules, "tempfile", None)
    with pytest.raises(ImportError, match="tempfile") as caught:
        arrive("app", app.FORMAT, "1")
    assert caught.value.name == "tempfile"


def test_an_older_one_is_named_here_as_there(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("nodexfer.integrations.app")
    old.FORMAT = 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nodexfer.integrations.app", old)
    with pytest.raises(ImportError, match=r"9\.9 is asking") as caught:
        arrive("app", 1, "9.9")
    for pickler in (pickle, dill):
        again = pickler.loads(pickler.dumps(caught.value))
        assert isinstance(again, errors.NodexferMissing)
        assert str(again) == str(caught.value)
        assert again.next.endswith("-m pip install nodexfer==9.9")


def test_an_app_is_the_same_function_wherever_it_runs() -> None:
    def add(left: int, right: int) -> int:
        return left + right

    staged = Staged(add, {"settings": {}, "options": {}, "overwrite": False})
    assert staged.__name__ == "add"
    for function in (staged, dill.loads(dill.dumps(staged))):
        assert function(1, right=2) == 3
        assert function.__name__ == "add"


def test_an_app_is_wrapped_once_so_that_it_is_pickled_once() -> None:
    """Parsl keeps what it has pickled, by the function; and its workers what they have unpickled, by the bytes."""

    def function() -> None:
        pass

    staging: Any = NodeStaging()
    other: Any = NodeStaging(overwrite=True)
    first = staging.replace_task(None, "", File("nodexfer://site/a"), function)
    again = staging.replace_task_stage_out(None, "", File("nodexfer://site/b"), function)
    assert first is again
    assert staging.replace_task(None, "", File("nodexfer://site/c"), first) is first
    assert other.replace_task(None, "", File("nodexfer://site/a"), first) is not first
