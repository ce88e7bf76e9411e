"""Whatever is left is found: each mark by itself is enough."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nodexfer.sandbox.demo import leftovers


@contextmanager
def left_behind(*arguments: str, environ: dict[str, str] | None = None, session: bool = False) -> Iterator[int]:
    program = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, **(environ or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=session,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
        child.kill()


def found(tmp_path: pathlib.Path, *sessions: int) -> list[int]:
    return [process.pid for process in leftovers.processes(str(tmp_path), sessions)]


def test_nothing_is_found_where_nothing_is(tmp_path: pathlib.Path) -> None:
    assert found(tmp_path) == []


def test_a_process_with_the_directory_in_its_arguments_is_found(tmp_path: pathlib.Path) -> None:
    with left_behind(f"-dir={tmp_path}/x") as pid:
        assert found(tmp_path) == [pid]


def test_a_process_with_the_directory_in_its_environment_is_found(tmp_path: pathlib.Path) -> None:
    with left_behind(environ={"SOME": f"{tmp_path}/home"}) as pid:
        assert found(tmp_path) == [pid]


def test_a_process_of_a_jobs_session_is_found_whatever_it_did_to_its_environment(tmp_path: pathlib.Path) -> None:
    with left_behind(session=True) as pid:
        assert found(tmp_path, pid) == [pid]
        assert leftovers.processes(str(tmp_path), [pid], but=[pid]) == []


def test_a_lease_that_was_not_given_back_is_found() -> None:
    entries: list[dict[str, object]] = [{"name": "demo-1", "state": "free"}, {"name": "demo-2", "state": "leased"}]
    assert leftovers.leases(entries) == ["demo-2: leased"]


def test_files_of_requests_and_jobs_and_half_files_at_the_site_are_found(tmp_path: pathlib.Path) -> None:
    node, site = tmp_path / "node", tmp_path / "site"
    wanted = [
        node / "exchange/3/a1/0/deep/file",
        node / "jobs/j/x",
        node / "spool/j/a1/request.json",
        node / "outgoing/a1/0",
        node / "gcp-ab12/lta/key.pem",
        site / "results/.nodexfer-a1-0-results/half",
    ]
    kept = [node / "registry.json", node / "logs/keeper.log", node / "exchange", site / "results/whole"]
    for path in wanted:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.touch()
    assert sorted(leftovers.files(str(node), str(site))) == sorted(map(str, wanted))
    assert leftovers.files(str(tmp_path / "none"), str(tmp_path / "none either")) == []
