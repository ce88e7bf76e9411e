"""A block of Globus Compute as processes: its script sets itself up, a wrapper holds on each node, and all ends."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from nodexfer import procs
from nodexfer.identity import ProcessId
from nodexfer.integrations import block, compute_setup
from nodexfer.session import BROKEN
from tests.support.holding import NODEXFER, holds, is_cleared, job, kill, place
from tests.support.waiting import eventually

FOR_EVER = "while :; do sleep 0.05; done"
#: What a shell says of a program that a signal ended.
KILLED, TERMINATED = 128 + signal.SIGKILL, 128 + signal.SIGTERM


@pytest.fixture(autouse=True)
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of commands, first in PATH, with nodexfer in it."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    monkeypatch.setenv("NODEXFER_JOB_ID", "1")
    command(directory, "nodexfer", f'exec "{sys.executable}" -m nodexfer "$@"')
    return directory


def command(directory: Path, name: str, lines: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{lines}\n")
    (directory / name).chmod(0o700)


def script(lines: str, environ: Mapping[str, str] | None = None) -> procs.Completed:
    """A block's script, to its end."""
    return procs.run(["/bin/bash", "-c", lines], timeout=60, environ={**os.environ, **(environ or {})})


# nodexfer worker-init -------------------------------------------------------------------------------------------


def test_a_block_holds_its_first_node_from_worker_init_to_its_end(tmp_path: Path) -> None:
    config = place()
    lines = (
        'eval "$(nodexfer worker-init)"\n'
        'nodexfer status --json > "$OUT/status"\n'
        'echo "$NODEXFER_HOLD" > "$OUT/hold"\n'
        'test -d "$NODEXFER_SCRATCH" && test -z "$NODEXFER_BROKEN" && $NODEXFER_WRAPPER sh -c "exit 7"'
    )
    done = script(lines, {"OUT": str(tmp_path), BROKEN: "from a block around this one"})
    assert (done.code, done.err) == (7, "")
    assert (tmp_path / "hold").read_text().strip() in (tmp_path / "status").read_text()
    assert holds(config) == []
    eventually(lambda: is_cleared(config))


def test_the_users_own_trap_stays_and_the_hold_goes_with_the_script(tmp_path: Path) -> None:
    config = place()
    lines = f"trap ': > {tmp_path}/mine' EXIT\n" + 'eval "$(nodexfer worker-init)"; test -n "$NODEXFER_HOLD"'
    done = script(lines)
    assert done.code == 0, done.err
    assert (tmp_path / "mine").exists()
    eventually(lambda: is_cleared(config))


def test_a_killed_script_releases_its_node_though_its_session_lives(tmp_path: Path) -> None:
    """As with Parsl's LocalProvider: a process group of its own, in the endpoint's session."""
    lines = f'eval "$(nodexfer worker-init)"; echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/up; {FOR_EVER}'
    child = procs.spawn(["/bin/sh", "-c", f"/bin/bash -c {shlex.quote(lines)} & wait"], new_group=True)
    running = ProcessId.of(int(eventually((tmp_path / "up").read_text)))
    assert len(holds(place())) == 1
    kill(running)
    assert child.wait(60) is not None
    eventually(lambda: is_cleared(place()))


@pytest.fixture
def unsafe(tmp_path: Path) -> str:
    """A node_dir that nobody may trust."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    return str(tmp_path / "open")


def test_a_block_that_can_not_be_set_up_says_so_once_and_goes_on(unsafe: str) -> None:
    function = "import nodexfer\nwith nodexfer.hold(): pass"
    lines = (
        f'set -e\neval "$(nodexfer worker-init)"\necho "wrapper=$NODEXFER_WRAPPER"\n{sys.executable} -c "{function}"'
    )
    done = script(lines, {"NODEXFER_NODE_DIR": unsafe, block.WRAPPER: "that of a block around this one"})
    assert done.out == "wrapper=\n"
    assert done.code == 1  # that of the function
    assert done.err.count("can be entered by others") == 2
    worker_init, _, of_function = done.err.partition("The block goes on; every function of it that stages raises")
    assert "can be entered by others" in worker_init
    assert "nodexfer.errors.NodeDirUnsafe: " in of_function
    assert "The block goes on" not in of_function


def test_a_block_without_nodexfer_starts_its_manager_all_the_same(commands: Path) -> None:
    """The manager's line of the real script is this."""
    (commands / "nodexfer").unlink()
    done = script('eval "$(no-such-nodexfer worker-init)"\n$NODEXFER_WRAPPER echo manager')
    assert (done.code, done.out) == (0, "manager\n")


# nodexfer compute wrapper ---------------------------------------------------------------------------------------


class Wrapped:
    """A wrapper with a shell as its manager, in a group of its own; the manager has written ``up`` when it runs."""

    def __init__(self, directory: Path, line: str, first: str = ":") -> None:
        self.up = directory / "up"
        tell = f'echo "$$ $NODEXFER_HOLD" > {self.up}.new; mv {self.up}.new {self.up}'
        self._child = procs.spawn(
            [*NODEXFER, "compute", "wrapper", "sh", "-c", f"{first}; {tell}; {line}"],
            new_group=True,
        )
        self.process = ProcessId.of(self._child.pid)

    def manager(self) -> ProcessId:
        return ProcessId.of(int(eventually(self.up.read_text).split()[0]))

    def code(self) -> int | None:
        return self._child.wait(60)


def test_a_wrapper_holds_for_its_managers_life_and_gives_its_exit_code_back(tmp_path: Path) -> None:
    config = place()
    wrapped = Wrapped(tmp_path, f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; exit 7")
    wrapped.manager()
    (hold,) = holds(config)
    assert hold.owner == wrapped.process
    assert hold.id == wrapped.up.read_text().split()[1]
    (tmp_path / "go").touch()
    assert wrapped.code() == 7
    assert holds(config) == []
    eventually(lambda: is_cleared(config))


def test_a_wrapper_ends_no_descendant_that_holds_nothing(tmp_path: Path) -> None:
    """What a manager leaves behind beside its workers is its user's affair."""
    wrapped = Wrapped(tmp_path, "exit 7", first=f"{{ {FOR_EVER}; }} & echo $! > {tmp_path}/other")
    assert wrapped.code() == 7
    assert holds(place()) == []
    other = ProcessId.of(int((tmp_path / "other").read_text()))
    assert other.alive
    kill(other)


def test_a_killed_manager_releases_the_node(tmp_path: Path) -> None:
    wrapped = Wrapped(tmp_path, FOR_EVER)
    kill(wrapped.manager())
    assert wrapped.code() == KILLED
    assert holds(place()) == []
    eventually(lambda: is_cleared(place()))


def test_a_killed_wrapper_releases_the_node(tmp_path: Path) -> None:
    wrapped = Wrapped(tmp_path, FOR_EVER)
    manager = wrapped.manager()
    kill(wrapped.process)
    eventually(lambda: is_cleared(place()))
    kill(manager)
    wrapped.code()


def test_a_group_that_is_terminated_releases_the_node(tmp_path: Path) -> None:
    """As at scale-in and at the end of a block: every process of the group gets TERM, and none of ours may miss it."""
    wrapped = Wrapped(tmp_path, FOR_EVER, first="trap 'exit 9' TERM")
    wrapped.manager()
    os.killpg(wrapped.process.pid, signal.SIGTERM)
    assert wrapped.code() == 9
    assert holds(place()) == []
    eventually(lambda: is_cleared(place()))


def test_a_wrapper_passes_a_signal_on(tmp_path: Path) -> None:
    wrapped = Wrapped(tmp_path, FOR_EVER)
    wrapped.manager()
    procs.signal(wrapped.process, signal.SIGTERM)
    assert wrapped.code() == TERMINATED
    assert holds(place()) == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"NODEXFER_COMMON": "nowhere:/x"}, "ConfigMissing"),
        ({"NODEXFER_COMMON": "'"}, "ConfigInvalid"),
    ],
)
def test_a_manager_runs_where_something_common_can_not_be_staged_and_its_functions_are_told(
    variables: dict[str, str], said: str, tmp_path: Path
) -> None:
    wrapped = procs.run(
        [*NODEXFER, "compute", "wrapper", "sh", "-c", f'echo "${BROKEN}"; exit 7'],
        environ={**os.environ, **variables},
        timeout=60,
    )
    assert wrapped.code == 7
    assert f'"error": "{said}"' in wrapped.out
    assert wrapped.err.count("The block goes on") == 1
    eventually(lambda: is_cleared(place()))


def test_a_wrapper_in_a_broken_block_adds_nothing_to_what_was_said(unsafe: str) -> None:
    wrapped = procs.run(
        [*NODEXFER, "compute", "wrapper", "sh", "-c", f'echo "${BROKEN}"'],
        environ={**os.environ, BROKEN: "{}", "NODEXFER_NODE_DIR": unsafe},
        timeout=60,
    )
    assert (wrapped.code, wrapped.out, wrapped.err) == (0, "{}\n", "")


def test_a_manager_that_can_not_be_started_is_told_as_a_shell_does() -> None:
    done = procs.run([*NODEXFER, "compute", "wrapper", "no-such-manager"], timeout=60)
    assert (done.code, done.err) == (127, "nodexfer: no-such-manager was not found.\n")
    eventually(lambda: is_cleared(place()))


def test_a_signal_after_the_managers_end_does_not_come_between_its_exit_code_and_the_release() -> None:
    """Who ends a block sends TERM to all of it, and the manager may be the first that has ended."""
    done = procs.run(procs.python("-c", _TOLD_LATE), timeout=60)
    assert (done.code, done.err) == (7, "")
    assert holds(place()) == []
    eventually(lambda: is_cleared(place()))


_TOLD_LATE = """\
import signal, sys
from nodexfer.cli import worker_init
from nodexfer.integrations import orphans
end = orphans.end
def told(*given):
    signal.raise_signal(signal.SIGTERM)
    end(*given)
    signal.raise_signal(signal.SIGHUP)
orphans.end = told
sys.exit(worker_init.wrapper.main(["sh", "-c", "exit 7"], standalone_mode=False))
"""


SERVER = """\
import multiprocessing, os, sys, time
if __name__ == "__main__":
    kept = multiprocessing.get_context("spawn").Manager()
    with open(sys.argv[1] + ".new", "w") as file:
        print(os.getpid(), kept._process.pid, file=file)
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    while True:
        time.sleep(0.05)
"""
#: ``nodexfer compute wrapper``, with a file that says when it has seen something; "" for one that does not look.
_LOOKS = """\
import sys
from nodexfer.cli import worker_init
from nodexfer.integrations import servers
watch = servers.Servers.watch
def told(self):
    if not sys.argv[1]:
        return 3600.0
    pause = watch(self)
    if self._seen:
        open(sys.argv[1], "w").close()
    return min(pause, 0.2)
servers.Servers.watch = told
sys.exit(worker_init.wrapper.main(sys.argv[2:], standalone_mode=False))
"""


class Served(NamedTuple):
    """A wrapper whose manager has a server of Python's multiprocessing, as Parsl's has."""

    wrapper: procs.Process
    manager: ProcessId
    server: ProcessId
    directory: Path


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The node's temporary directory, in which somebody else listens, too. (A socket's path has 107 bytes.)"""
    with tempfile.TemporaryDirectory(prefix="nx-", dir="/tmp") as made, socket.socket(socket.AF_UNIX) as another:
        monkeypatch.setenv("TMPDIR", made)
        Path(made, "pymp-another").mkdir()
        another.bind(f"{made}/pymp-another/listener")
        another.listen()
        yield Path(made)


def served(tmp_path: Path, temporary: Path, before: str = "exec", after: str = "", *, looks: bool = True) -> Served:
    (tmp_path / "server.py").write_text(SERVER)
    up = tmp_path / "up"
    line = f"{before} {shlex.join([sys.executable, str(tmp_path / 'server.py'), str(up)])} {after}"
    looked = tmp_path / "looked"
    argv = procs.python("-c", _LOOKS, str(looked) if looks else "", "sh", "-c", line)
    wrapper = procs.spawn(argv, new_group=True)
    manager, server = (ProcessId.of(int(word)) for word in eventually(up.read_text).split())
    (directory,) = [path for path in temporary.iterdir() if path.name != "pymp-another"]
    assert list(directory.iterdir())
    if looks:
        eventually(looked.exists)
    return Served(wrapper, manager, server, directory)


@pytest.mark.parametrize("looks", [True, False])
def test_a_killed_managers_own_server_is_ended_and_leaves_nothing(looks: bool, tmp_path: Path, temporary: Path) -> None:
    """Whether it was seen before, or is only seen then."""
    found = served(tmp_path, temporary, looks=looks)
    kill(found.manager)
    assert found.wrapper.wait(60) == KILLED
    assert not found.server.alive
    assert os.listdir(temporary) == ["pymp-another"]


def test_what_it_left_is_removed_also_where_a_signal_ends_all_of_them(tmp_path: Path, temporary: Path) -> None:
    """As at the end of every block."""
    found = served(tmp_path, temporary)
    os.killpg(found.wrapper.pid, signal.SIGTERM)
    assert found.wrapper.wait(60) == TERMINATED
    assert os.listdir(temporary) == ["pymp-another"]


def test_a_server_whose_own_parent_lives_is_left_alone(tmp_path: Path, temporary: Path) -> None:
    found = served(
        tmp_path, temporary, before="", after=f"& until [ -e {tmp_path}/looked ]; do sleep 0.05; done; exit 7"
    )
    assert found.wrapper.wait(60) == 7
    assert found.server.alive
    assert list(found.directory.iterdir())
    kill(found.manager)
    kill(found.server)


# every node of a block ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # Parsl's, of its look at interfaces
def test_the_real_script_of_a_block_of_two_nodes_holds_on_each_and_leaves_both(commands: Path, tmp_path: Path) -> None:
    """The script is the one that the endpoint would submit; srun is one of ours, and its nodes are two places."""
    pytest.importorskip("globus_compute_endpoint")
    from nodexfer.integrations.compute_render import render

    places = [tmp_path / name for name in ("n1", "n2")]
    for node in places:
        node.mkdir(mode=0o700)
    command(
        commands,
        "srun",
        f'shift 3; for node in {places[0]} {places[1]}; do NODEXFER_NODE_DIR="$node/nodexfer" "$@" & done; wait',
    )
    manager = 'touch "$NODEXFER_NODE_DIR.up"; until [ -e "$OUT/go" ]; do sleep 0.05; done'
    command(commands, "globus-compute-endpoint", manager)
    options = {"nodes": 2, "interface": "lo", "worker_init": f"export PATH='{commands}':\"$PATH\""}
    text = render(compute_setup.shipped("slurm"), options).script
    (tmp_path / "block").write_text(text)
    ran = procs.spawn(
        ["/bin/bash", str(tmp_path / "block")],
        environ={**os.environ, "OUT": str(tmp_path), "SLURM_JOB_NAME": "b"},
        cwd=str(tmp_path),
        stdout=procs.DEVNULL,
        new_session=True,
    )
    configs = [place(node_dir=str(node / "nodexfer")) for node in places]
    for config in configs:
        eventually(Path(f"{config.node_dir}.up").exists)
        assert [hold.job for hold in holds(config)] == [job().key]
    assert len(holds(place())) == 1  # the batch host's, which is neither of the two here
    (tmp_path / "go").touch()
    assert ran.wait(60) == 0
    for config in (*configs, place()):
        assert holds(config) == []
        eventually(lambda config=config: is_cleared(config))  # type: ignore[misc]


def test_ourselves_is_a_command_that_needs_no_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert block.ourselves() == procs.python("-m", "nodexfer")
    monkeypatch.setattr(sys, "executable", "/a path/python")
    assert block.ourselves() == ["nodexfer"]
