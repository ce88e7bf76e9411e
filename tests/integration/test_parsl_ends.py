"""However a worker, a manager or a block ends: what it held is given back, and the node is as it was before."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from parsl.executors.errors import BadStateException
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

from nodexfer import procs
from nodexfer.identity import ProcessId, descendants, parents_now
from nodexfer.integrations.parsl import LAUNCH_CMD
from tests.support import apps
from tests.support.parsl import LONG, htex, named, workflow
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LONG)]


@pytest.fixture
def user(user: User) -> User:
    (user.site / "in").write_text("text")
    return user


def holders(user: User) -> set[int]:
    """The processes that hold the node, dead or alive."""
    try:
        record = json.loads(Path(user.config.node_paths.registry).read_text())
    except FileNotFoundError:
        return set()
    return {hold["owner"][0] for hold in record["holds"].values()}


def is_clean(user: User) -> bool:
    """No hold, no scratch, no request, no lease."""
    jobs = user.root / "nodexfer/jobs"
    held = [path for path in (user.home / "pool").rglob("lease.*") if not json.loads(path.read_text())["released"]]
    return not holders(user) and not (jobs.exists() and os.listdir(jobs)) and not user.leftovers() and not held


def in_all_workers(user: User, count: int) -> set[int]:
    """Until so many workers hold, each by an app that it ran."""
    seen: set[int] = set()

    def all_of_them() -> bool:
        futures = [apps.parents(inputs=[named("in")]) for _ in range(2 * count)]
        seen.update(future.result(LONG)[0] for future in futures)
        return len(seen) >= count

    eventually(all_of_them, LONG / 2)
    return seen


def test_a_worker_s_hold_lasts_longer_than_an_app_and_goes_with_the_block(user: User, tmp_path: Path) -> None:
    with workflow(user, tmp_path / "run", htex()):
        workers = in_all_workers(user, 2)
        assert holders(user) == workers
        (scratch,) = (user.root / "nodexfer/jobs").iterdir()
        assert list(scratch.glob("shared/*/in"))
    eventually(lambda: is_clean(user), LONG / 2)
    assert len(user.receipts) == 1


def test_a_scale_in_releases_and_the_next_block_begins_anew(user: User, tmp_path: Path) -> None:
    with workflow(user, tmp_path / "run", htex()) as kernel:
        in_all_workers(user, 2)
        kernel.executors["htex"].scale_in_facade(1)
        eventually(lambda: is_clean(user), LONG / 2)
        kernel.executors["htex"].scale_out_facade(1)
        assert apps.content(named("in")).result(LONG) == ["text"]
    eventually(lambda: is_clean(user), LONG / 2)
    assert len(user.receipts) == 2


def test_a_killed_worker_gives_up_its_own_hold_only(user: User, tmp_path: Path) -> None:
    with workflow(user, tmp_path / "run", htex()):
        before = in_all_workers(user, 2)
        assert isinstance(apps.dies(inputs=[named("in")]).exception(LONG), WorkerLost)
        eventually(lambda: len(holders(user) & before) == 1, LONG / 2)
        # Another one is started in its place, and finds what is shared.
        assert in_all_workers(user, 2) != before
    eventually(lambda: is_clean(user), LONG / 2)
    assert len(user.receipts) == 1


def test_a_lost_manager_s_workers_release(user: User, tmp_path: Path) -> None:
    executor = htex()
    executor.heartbeat_threshold = 10
    with workflow(user, tmp_path / "run", executor):
        in_all_workers(user, 2)
        manager = apps.parents(inputs=[named("in")]).result(LONG)[1]
        gate = tmp_path / "gate"
        waiting = apps.waits(str(gate), inputs=[named("in")])
        eventually(lambda: (tmp_path / "gate.runs").exists(), LONG / 2)
        family = descendants([ProcessId.of(manager)])
        os.kill(manager, signal.SIGKILL)
        gate.touch()
        # Which of the two comes first, that a manager is silent or that the only block has ended, Parsl does not say.
        assert isinstance(waiting.exception(LONG), (ManagerLost, BadStateException))
        eventually(lambda: is_clean(user), LONG / 2)
        for process in family:  # Parsl's own helper of the manager outlives it
            procs.signal(process, signal.SIGKILL)


def test_a_batch_system_that_ends_its_own_program_alone_finds_all_given_back(user: User, tmp_path: Path) -> None:
    """Slurm does so, and kills what is left as soon as that has ended; the workers of a manager notice late.

    Parsl's own helper of the manager, which would outlive it, and the directory of that go as well.
    """
    executor = htex()
    executor.launch_cmd = LAUNCH_CMD
    with workflow(user, tmp_path / "run", executor):
        temporary = Path(os.environ["TMPDIR"])
        workers = in_all_workers(user, 2)
        manager = apps.parents(inputs=[named("in")]).result(LONG)[1]
        wrapper = ProcessId.of(parents_now()[manager])
        assert holders(user) == {wrapper.pid, *workers}
        family = descendants([ProcessId.of(manager)])
        assert list(temporary.glob("pymp-*/*"))
        procs.signal(wrapper, signal.SIGTERM)
        eventually(lambda: not wrapper.alive, LONG / 2)
        assert is_clean(user)
        assert not list(temporary.glob("pymp-*"))
        eventually(lambda: not [process for process in family if process.alive])


def test_a_worker_that_is_killed_while_it_brings_something_leaves_it_to_who_waits(user: User, tmp_path: Path) -> None:
    (user.site / "in").write_text("text" * 50_000)
    slow = user.box.sandbox.fault("slow", endpoint=user.box.site_id, bytes_per_second=1000)
    with workflow(user, tmp_path / "run", htex()):
        found: list[Any] = [apps.content(named("in")) for _ in range(2)]
        eventually(lambda: len(holders(user)) == 2, LONG / 2)
        os.kill(eventually(lambda: who_brings(user), LONG / 2), signal.SIGKILL)
        user.box.sandbox.clear(slow)
        outcomes = [future.exception(LONG) for future in found]
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "WorkerLost"]
    eventually(lambda: is_clean(user), LONG / 2)
    assert sorted(receipt["state"] for receipt in user.receipts) == ["asked", "done"]


def who_brings(user: User) -> int:
    """The process whose request is there."""
    for path in (user.root / "nodexfer/spool").glob("*/*/request.json"):
        return int(json.loads(path.read_text())["owner"]["pid"])
    return 0
