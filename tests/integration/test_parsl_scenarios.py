"""What Parsl promises of any staging provider, kept by ours."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import parsl
import pytest
from parsl.app.futures import DataFuture
from parsl.data_provider.files import File
from parsl.dataflow.errors import DependencyError

from tests.support import apps
from tests.support.parsl import BASH, LONG, everywhere, named, threads, workflow
from tests.support.user import User

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LONG), BASH]


@pytest.fixture
def user(user: User) -> User:
    (user.site / "in").write_text("text")
    return user


def seen(file: File) -> tuple[str, str | None]:
    return file.url, file.local_path


@everywhere
def test_the_submit_side_s_files_stay_as_they_are(user: User, tmp_path: Path, make: Callable[..., Any]) -> None:
    """Where a file lies on a node is the node's business, also where that is a thread of the submit side."""
    source, destination = named("in"), named("out")
    with workflow(user, tmp_path / "run", make()):
        future = apps.upper(inputs=[source], outputs=[destination])
        _, (path,), _ = future.result(LONG)
        assert path
        assert seen(source) == ("nodexfer://site/in", None)
        assert seen(destination) == ("nodexfer://site/out", None)
        (output,) = future.outputs
        assert isinstance(output, DataFuture)
        assert seen(output.result(LONG)) == ("nodexfer://site/out", None)
        with pytest.raises(ValueError, match="local_path"):
            _ = output.filepath


@everywhere
def test_an_app_waits_for_its_inputs_and_finds_them_by_their_names(
    user: User, tmp_path: Path, make: Callable[..., Any]
) -> None:
    with workflow(user, tmp_path / "run", make()):
        gate = tmp_path / "gate"
        first = apps.waits_and_writes(str(gate), outputs=[named("made/by hand.txt")])
        second = apps.upper(inputs=[first.outputs[0]], outputs=[named("made/later")])
        time.sleep(0.5)  # nothing is waited for here: it is given the time to be wrong
        assert not second.done()
        assert not first.outputs[0].done()
        gate.touch()
        _, (path,), _ = second.result(LONG)
        assert Path(path).name == "by hand.txt"
    assert (user.site / "made/later").read_text() == "WRITTEN"


@everywhere
def test_who_depends_on_a_failed_app_is_told_so_and_never_runs(
    user: User, tmp_path: Path, make: Callable[..., Any]
) -> None:
    with workflow(user, tmp_path / "run", make()):
        failed = apps.fails(outputs=[named("half")])
        error = apps.upper(inputs=[failed.outputs[0]], outputs=[named("never")]).exception(LONG)
        assert isinstance(error, DependencyError)
        assert isinstance(failed.outputs[0].exception(LONG), ArithmeticError)
    assert not (user.site / "never").exists()
    assert user.receipts == []


@everywhere
def test_streams_are_futures_and_may_be_named_by_the_configuration(
    user: User, tmp_path: Path, make: Callable[..., Any]
) -> None:
    def automatic(task: Any, kind: str) -> File:
        return named(f"logs/{task['func_name']}.{kind}")

    with workflow(user, tmp_path / "run", make(), std_autopath=automatic):
        future = apps.bash("echo hello; echo goodbye >&2", stdout=parsl.AUTO_LOGNAME, stderr=parsl.AUTO_LOGNAME)
        for stream, text in ((future.stdout, "hello\n"), (future.stderr, "goodbye\n")):
            assert isinstance(stream, DataFuture)
            stream.result(LONG)
            kind = stream.file_obj.url.rpartition(".")[2]
            # As soon as the future is done, the file is there.
            assert (user.site / f"logs/bash.{kind}").read_text().endswith(text)


@everywhere
def test_other_providers_go_on_beside_ours(user: User, tmp_path: Path, make: Callable[..., Any]) -> None:
    """Files of the shared file system, and members of archives, in the same app as ours, both ways."""
    (tmp_path / "plain").write_text("plain")
    with zipfile.ZipFile(tmp_path / "of.zip", "w") as archive:
        archive.writestr("member", "member")
    executor = make()
    (tmp_path / "work").mkdir()
    executor.working_dir = str(tmp_path / "work")
    sources = [File(str(tmp_path / "plain")), named("in"), File(f"zip:{tmp_path}/of.zip/member")]
    destinations = [named("plain"), File(str(tmp_path / "out")), named("member")]
    with workflow(user, tmp_path / "run", executor):
        apps.upper(inputs=sources, outputs=destinations).result(LONG)
    assert (user.site / "plain").read_text() == "PLAIN"
    assert (tmp_path / "out").read_text() == "TEXT"
    assert (user.site / "member").read_text() == "MEMBER"


def test_an_app_that_is_memoized_is_known_again_by_its_function(user: User, tmp_path: Path) -> None:
    count: list[int] = []

    def counted(inputs: Any = ()) -> int:
        count.append(1)
        return len(count)

    with workflow(user, tmp_path / "run", threads()):
        app = parsl.python_app(counted, cache=True, ignore_for_cache=["inputs"])
        assert [app(inputs=[named("in")]).result(LONG) for _ in range(3)] == [1, 1, 1]


def test_a_file_of_ours_is_refused_by_an_executor_without_us(user: User, tmp_path: Path) -> None:
    executor = threads()
    executor.storage_access = None
    with (
        workflow(user, tmp_path / "run", executor),
        pytest.raises(ValueError, match="cannot stage file"),
    ):
        apps.content(named("in"))
