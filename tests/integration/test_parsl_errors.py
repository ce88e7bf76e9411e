"""What an app's future says when its data can not be had or sent: nodexfer's own errors, as they are."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from parsl.app.errors import BashExitFailure, MissingOutputs
from parsl.data_provider.files import File

from nodexfer import errors
from tests.support import apps
from tests.support.parsl import BASH, LONG, everywhere, named, threads, workflow
from tests.support.user import User

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LONG), BASH]


def failure(future: Future[Any]) -> Any:
    found = future.exception(LONG)
    assert found is not None, "the app ended well"
    return found


def left_of_apps(user: User) -> list[str]:
    """What single apps left on the node; what is shared stays as long as the job."""
    return [str(path) for path in (user.root / "nodexfer/jobs").glob("*/parsl-*")]


@everywhere
def test_errors_reach_the_future_as_they_are(user: User, tmp_path: Path, make: Callable[..., Any]) -> None:
    (user.site / "here").write_text("here")
    (user.other / "there").write_text("there")
    nowhere = str(uuid.uuid4())
    with workflow(user, tmp_path / "run", make()):
        unnamed = apps.content(File("nodexfer://nowhere/x"))
        unknown = apps.content(File(f"globus://{nowhere}/x"))
        malformed = apps.content(File("globus://not-a-uuid/x"))
        absent = apps.content(named("not there"))
        unwritten = apps.nothing(inputs=[named("here")], outputs=[named("out/a"), named("out/b")])
        exists = apps.upper(inputs=[named("here")], outputs=[File(f"globus://{user.box.other_id}/there")])
        own = apps.fails(outputs=[named("out/half")])
        code = apps.bash("echo half > '{outputs[0]}'; exit 3", outputs=[named("out/bash")])
        bash = apps.bash("true", outputs=[named("out/none")])

        assert "nowhere" in str(_is(failure(unnamed), errors.CollectionUnknown))
        assert nowhere in str(_is(failure(unknown), errors.CollectionUnknown, errors.SourceMissing))
        assert "not-a-uuid" in str(_is(failure(malformed), errors.UrlMalformed))
        assert "not there" in str(_is(failure(absent), errors.SourceMissing))
        missing = _is(failure(unwritten), errors.OutputMissing)
        assert "site:/out/a" in str(missing)
        assert "site:/out/b" in str(missing)
        taken = _is(failure(exists), errors.DestinationExists)
        assert "overwrite=True" in str(taken)
        assert (user.other / "there").read_text() == "there"
        for error in (missing, taken):
            # Whoever brought the input has its receipt: it is in the error, as plain data.
            assert all(receipt["state"] == "done" for receipt in error.receipts)
        assert len(missing.receipts) + len(taken.receipts) == 1
        assert isinstance(failure(own), ArithmeticError)
        assert isinstance(failure(code), BashExitFailure)
        assert isinstance(failure(bash), MissingOutputs)  # Parsl's own, which looks before us
        assert "out/none" in str(failure(bash))
        assert not (user.site / "out").exists()
        assert left_of_apps(user) == []


def _is(error: BaseException, *kinds: type[BaseException]) -> Any:
    assert isinstance(error, kinds), repr(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
    assert getattr(again, "receipts", ()) == getattr(error, "receipts", ())
    return error


@everywhere
def test_a_retry_finds_its_files_again(user: User, tmp_path: Path, make: Callable[..., Any]) -> None:
    (user.site / "in").write_text("text")
    with workflow(user, tmp_path / "run", make(), retries=1):
        mark = str(tmp_path / "mark")
        again = apps.fails_once(mark, inputs=[named("in")], outputs=[named("out/again")])
        assert again.result(LONG).startswith(str(user.root))
    assert (user.site / "out/again").read_text() == "text"
    assert [one["direction"] for one in user.receipts] == ["in", "out"]


def test_what_could_not_be_had_is_tried_again_by_the_next_app(user: User, tmp_path: Path) -> None:
    with workflow(user, tmp_path / "run", threads(workers=8)):
        failed = [failure(future) for future in [apps.content(named("late")) for _ in range(8)]]
        assert {type(error) for error in failed} == {errors.SourceMissing}
        (user.site / "late").write_text("in the end")
        assert apps.content(named("late")).result(LONG) == ["in the end"]
