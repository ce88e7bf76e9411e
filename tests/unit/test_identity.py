"""A process is a start time in a namespace, not a number."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodexfer import identity
from nodexfer.identity import ProcessId
from tests.support import eventually


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_process_is_alive_until_it_ends_and_a_zombie_is_not(child: subprocess.Popen[bytes]) -> None:
    process = ProcessId.of(child.pid)
    assert process.alive
    child.kill()
    eventually(lambda: not process.alive)
    with pytest.raises(ProcessLookupError):  # not waited for yet: a zombie
        ProcessId.of(child.pid)


def test_a_later_process_of_the_same_number_is_another() -> None:
    me = ProcessId.of(os.getpid())
    assert me.alive
    assert not me._replace(start=me.start - 1).alive


def test_a_process_of_another_pid_namespace_counts_as_alive() -> None:
    assert ProcessId(2**22, 1, identity.pid_namespace() + 1).alive


def test_no_such_process_is_said() -> None:
    with pytest.raises(ProcessLookupError, match="there is no process"):
        ProcessId.of(2**22 + 1)


def test_a_command_name_with_parentheses_and_blanks_is_read_right(tmp_path: Path) -> None:
    program = tmp_path / ") R 1 (x"
    program.symlink_to("/bin/cat")
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        eventually(lambda: b"R 1" in Path(f"/proc/{process.pid}/stat").read_bytes())
        mine, its = ProcessId.of(os.getpid()), ProcessId.of(process.pid)
        assert its.start >= mine.start
        process.kill()


def test_host_and_boot_are_stable() -> None:
    assert identity.host() == os.uname().nodename
    assert identity.boot_id() == identity.boot_id()
    assert len(identity.boot_id()) == 36
