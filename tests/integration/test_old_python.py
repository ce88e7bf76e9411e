"""What a conda Python lacks, and a kernel before 5.3: jobs stage, take over, end, and leave nothing all the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodexfer import procs
from tests.support import eventually, oldpython
from tests.support.holding import is_cleared, keeper, script
from tests.support.sandbox import Box
from tests.support.user import User


@pytest.mark.parametrize("code", [oldpython.WITHOUT_FUNCTIONS, oldpython.WITHOUT_SYSTEM_CALL], ids=["conda", "kernel"])
def test_jobs_go_on_without_pidfds(box: Box, tmp_path: Path, code: str) -> None:
    user = User(box)
    (user.site / "data").write_bytes(os.urandom(100_000))
    environ = {**user.environ, **oldpython.startup(tmp_path / "startup", code)}
    look = procs.run(
        [*procs.python("-c", "import os; os.pidfd_open(1)")], timeout=60.0, environ={**os.environ, **environ}
    )
    assert look.code == 1, "these Pythons are what they are said to be"
    with script("1", environ) as leader, script("2", environ) as other:
        leader.acquire("--endpoint")
        other.acquire("--endpoint")
        leader.must("stage-in site:/data $NODEXFER_SCRATCH/")
        leader.kill()
        other.must("stage-in site:/data $NODEXFER_SCRATCH/")
        other.must("stage-out $NODEXFER_SCRATCH/data other:/back")
        left = keeper(user.config, "2")
        other.must("release")
        assert not left.alive, "release comes back when the keeper has ended"
    eventually(lambda: is_cleared(user.config))
    assert (user.other / "back").read_bytes() == (user.site / "data").read_bytes()


def test_a_keeper_sees_the_end_of_its_script_without_pidfds(box: Box, tmp_path: Path) -> None:
    user = User(box, endpoints=0)
    environ = {**user.environ, **oldpython.startup(tmp_path / "startup", oldpython.WITHOUT_SYSTEM_CALL)}
    with script("1", environ) as job:
        job.acquire()
        kept = keeper(user.config)
        job.end()
    eventually(lambda: not kept.alive)
