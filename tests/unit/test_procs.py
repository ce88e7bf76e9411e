"""procs: programs run, watched and signalled; no number is ever mistaken for a process."""

from __future__ import annotations

import os
import select
import signal
import sys

import pytest

from nodexfer import pidfds, procs
from nodexfer.clock import Deadline
from nodexfer.identity import ProcessId

SLEEPER = [sys.executable, "-S", "-c", "print('up', flush=True); import time; time.sleep(60)"]


def sleeper() -> procs.Process:
    child = procs.spawn(SLEEPER, stdout=procs.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    return child


def test_run_gives_code_and_both_outputs() -> None:
    done = procs.run(["sh", "-c", "cat; echo no >&2; exit 3"], timeout=10, input="in")
    assert done == procs.Completed(3, "in", "no\n")


def test_run_without_input_reads_an_empty_stdin() -> None:
    assert procs.run(["cat"], timeout=10).out == ""


def test_run_kills_the_whole_group_when_the_time_is_over() -> None:
    deadline = Deadline(30)
    with pytest.raises(procs.ProgramTimeout, match="did not end within"):
        procs.run(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.2)
    assert not deadline.passed, "a grandchild that holds the pipe must not keep run() waiting"


def test_run_does_not_wait_for_ever_for_what_can_not_be_killed() -> None:
    """A program that hangs in the kernel, for a disk that does not answer, ends when that answers."""
    hang = (
        "import os, subprocess; from nodexfer import procs\n"
        "procs.KILLED_SECONDS, left, kill = 0.1, [], os.killpg\n"
        "os.killpg = lambda *group: left.append(group)\n"
        "try: procs.run(['sleep', '60'], timeout=0.1)\n"
        "except procs.ProgramTimeout: print('came back')\n"
        "kill(*left[0])\n"
    )
    done = procs.run([sys.executable, "-c", hang], timeout=30)
    assert done.out == "came back\n", done


def test_run_names_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        procs.run(["/nonexistent/program"], timeout=1)


def test_a_child_inherits_no_descriptor_that_is_not_named() -> None:
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        done = procs.run(["sh", "-c", f"test ! -e /proc/self/fd/{inherited}"], timeout=10)
    finally:
        os.close(inherited)
    assert done.code == 0


def test_spawn_puts_a_new_group_into_our_session() -> None:
    child = procs.spawn(["sleep", "60"], new_group=True)
    try:
        assert os.getpgid(child.pid) == child.pid
        assert os.getsid(child.pid) == os.getsid(0)
    finally:
        child.kill()
        assert child.wait(10) == -signal.SIGKILL


def test_wait_says_none_while_the_child_runs() -> None:
    child = sleeper()
    assert child.wait(0) is None
    child.terminate()
    assert child.wait(10) == -signal.SIGTERM
    child.close()


def test_a_child_with_a_death_signal_ends_with_its_parent() -> None:
    code = (
        "from nodexfer import procs; import signal, time\n"
        "c = procs.spawn(['sleep', '60'], death_signal=signal.SIGKILL)\n"
        "print(c.pid, flush=True); time.sleep(60)"
    )
    parent = procs.spawn([sys.executable, "-c", code], stdout=procs.PIPE)
    assert parent.stdout is not None
    grandchild = ProcessId.of(int(parent.stdout.readline()))
    parent.kill()
    parent.wait(10)
    parent.close()
    assert gone(grandchild)


def test_a_pidfd_becomes_readable_when_the_process_ends() -> None:
    child = sleeper()
    descriptor = pidfds.watch(ProcessId.of(child.pid))
    assert descriptor is not None
    try:
        assert select.select([descriptor], [], [], 0)[0] == []
        child.kill()
        assert select.select([descriptor], [], [], 10)[0] == [descriptor]
    finally:
        os.close(descriptor)
        child.wait(10)
        child.close()


def test_the_session_leader_is_the_script_of_the_job() -> None:
    code = "from nodexfer import procs; print(procs.session_leader().pid)"
    script = procs.spawn(
        ["sh", "-c", f'echo $$; "{sys.executable}" -c "{code}"; true'], stdout=procs.PIPE, new_session=True
    )
    assert script.stdout is not None
    shell, leader = script.stdout.read().split()
    assert shell == leader
    assert script.wait(10) == 0
    script.close()


def test_the_topmost_parent_stands_for_a_session_leader_that_has_ended() -> None:
    code = "from nodexfer import procs; print(procs.session_leader().pid > 1)"
    script = f'("{sys.executable}" -c "import sys; sys.stdin.read()"; "{sys.executable}" -c "{code}") & exit'
    done = procs.spawn(["sh", "-c", script], stdout=procs.PIPE, new_session=True)
    assert done.wait(10) == 0
    assert done.stdout is not None
    assert done.stdout.read() == b"True\n"
    done.close()


def gone(process: ProcessId) -> bool:
    descriptor = pidfds.watch(process)
    if descriptor is None:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)
