"""The stand-in's flags, files, words, exit codes and process tree are those of Globus Connect Personal 3.2.8."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodexfer import procs
from nodexfer.sandbox.storage import StorageError
from tests.support import eventually
from tests.support.standins import OWNER, Lab, lab

NOT_RUNNING = "No Globus Connect Personal connected to Globus Online Service\n"


@pytest.fixture
def gcp(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path) as found:
        yield found


def test_it_tells_its_version_and_its_usage(gcp: Lab) -> None:
    assert gcp.run("-version") == (0, "3.2.8\n", "")
    assert gcp.run("-help").out.startswith("Usage: globusconnectpersonal")
    assert gcp.run("-h").code == 0
    for words in ((), ("-nonsense",), ("-start", "-dir")):
        assert gcp.run(*words).code == 1


def test_a_link_to_the_launcher_works(gcp: Lab, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/one").symlink_to(gcp.program)
    (tmp_path / "bin/two").symlink_to("one")
    assert procs.run([f"{tmp_path}/bin/two", "-status"], timeout=30.0).out == NOT_RUNNING


# setup


def test_setup_writes_what_the_real_one_writes(gcp: Lab) -> None:
    key = gcp.new_key()
    config = gcp.directory / "config"
    done = gcp.run("-dir", str(config), "-setup", key, "--description", "a node", "-n", "x", USER="somebody")
    assert done.code == 0
    assert "setup completed successfully" in done.out
    lta = config / "lta"
    assert {file.name for file in lta.iterdir()} == {
        "client-id.txt",
        "config",
        "ftp-cert2.pem",
        "ftp-key2.pem",
        "gridmap",
        "register.log",
    }
    assert f"id: {(lta / 'client-id.txt').read_text()}\n" in done.out
    assert stat.S_IMODE(lta.stat().st_mode) == 0o700
    for name in ("ftp-cert2.pem", "ftp-key2.pem"):
        assert stat.S_IMODE((lta / name).stat().st_mode) == 0o600
    assert dict(line.split("=") for line in (lta / "config").read_text().split()) == {
        "SERVER": "127.0.0.1",
        "SERVER_PORT": str(gcp.relay.address[1]),
    }
    subject, user = (lta / "gridmap").read_text().rsplit(maxsplit=1)
    assert user == "somebody"
    assert subject.startswith('"/C=US/O=Globus Consortium/OU=Globus Connect User/CN=u_')
    assert key not in (lta / "register.log").read_text()


def test_the_gridmap_names_the_owner_as_the_sdk_reads_it(gcp: Lab) -> None:
    from globus_sdk import LocalGlobusConnectPersonal

    done = gcp.set_up()
    local = LocalGlobusConnectPersonal(config_dir=done.config_dir)
    assert local.endpoint_id == done.endpoint
    owner = local.get_owner_info()
    assert owner is not None
    assert owner.id == OWNER


def test_a_setup_key_is_good_for_one_setup(gcp: Lab) -> None:
    key = gcp.new_key()
    assert gcp.run("-setup", "--setup-key", key, "-dir", str(gcp.directory / "a")).code == 0
    again = gcp.run("-setup", "--setup-key", key, "-dir", str(gcp.directory / "b"))
    assert again == (1, "", f"Setup Code {key} not found\n")
    assert key not in (gcp.directory / "b/lta/register.log").read_text()


def test_setup_without_a_key_asks_and_ends_without_an_answer(gcp: Lab) -> None:
    done = gcp.run("-setup", "--no-gui")
    assert done.code == 1
    assert "Enter the auth code: " in done.out


def test_start_without_setup_says_so(gcp: Lab) -> None:
    done = gcp.run("-start", "-dir", f"{gcp.directory}/none")
    assert done.code == 1
    assert "lta' does not exist\nPlease run setup\nSubprocess pid " in done.err
    assert done.err.endswith("exited, rc=1\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused as root")
def test_root_is_refused_unless_the_switch_allows_it(gcp: Lab) -> None:
    done = gcp.set_up()
    gcp.install(allow_root=False)
    for words in (("-start", "-dir", done.config_dir), ("-setup", "key")):
        assert gcp.run(*words) == (1, "", "Running Globus Connect Personal as root is not supported\n")


# one per user


def test_a_second_start_is_refused_whatever_its_directory(gcp: Lab) -> None:
    first, second = gcp.set_up("first"), gcp.set_up("second")
    gcp.start(first)
    for done in (first, second):
        again = gcp.run("-start", "-dir", done.config_dir)
        assert again == (1, "", "Another Globus Connect Personal is currently running\n")
    assert gcp.relay.connected(first.endpoint)


def test_the_address_is_of_the_user_and_free_the_moment_gcp_is_killed(gcp: Lab) -> None:
    done = gcp.set_up()
    gcp.start(done)
    name = f"@/org/globusonline/globusconnect/sandbox-{gcp.id}forward/uid={os.getuid()}"
    assert name in Path("/proc/net/unix").read_text().split()
    procs.signal(gcp.process("gc-ctrl.py"), signal.SIGKILL)
    eventually(lambda: name not in Path("/proc/net/unix").read_text().split())
    gcp.start(done)


def test_labs_do_not_see_each_other(gcp: Lab, tmp_path: Path) -> None:
    gcp.start(gcp.set_up())
    (tmp_path / "other").mkdir()
    with lab(tmp_path / "other") as other:
        assert other.run("-status").out == NOT_RUNNING
        other.start(other.set_up())


# status and stop


def test_nothing_runs(gcp: Lab) -> None:
    for verb in ("-status", "-stop", "-pause", "-unpause", "-trace"):
        assert gcp.run(verb) == (1, NOT_RUNNING, "")


def test_status_tells_the_relay_and_the_transfers(gcp: Lab) -> None:
    shared = gcp.directory / "shared"
    storage = gcp.serve(shared)
    idle = (0, "Globus Online:   connected\nTransfer Status: idle\n", "")
    assert eventually(lambda: (found := gcp.run("-status")) == idle and found)
    storage.ls(str(shared))
    active = (0, "Globus Online:   connected\nTransfer Status: active\n", "")
    assert eventually(lambda: gcp.run("-status") == active)


def test_status_waits_for_the_next_report(gcp: Lab) -> None:
    gcp.install(report_seconds=3600.0)
    gcp.start(gcp.set_up())
    with pytest.raises(procs.ProgramTimeout):
        procs.run([gcp.program, "-status"], timeout=0.3)


def test_status_without_a_relay_says_connecting_or_disconnected_and_start_stays(gcp: Lab) -> None:
    done = gcp.set_up()
    gcp.start(done)
    gcp.relay.disconnect(done.endpoint, 3600.0)
    lost = ("Globus Online:   disconnected", "Globus Online:   connecting")
    assert eventually(lambda: gcp.run("-status").out.splitlines()[0] in lost)
    assert not gcp.relay.connected(done.endpoint)
    gcp.relay.disconnect(done.endpoint)
    assert eventually(lambda: gcp.relay.connected(done.endpoint))


def test_stop_is_said_at_once_and_happens_soon(gcp: Lab) -> None:
    process = gcp.start(gcp.set_up())
    words = "Globus Connect Personal is currently running and connected to Globus Online\nSending stop signal... Done\n"
    assert gcp.run("-stop") == (0, words, "")
    assert process.wait(30.0) == 0
    eventually(lambda: not gcp.processes())


def test_pause_keeps_it_running_and_forwards_nothing(gcp: Lab) -> None:
    done = gcp.set_up()
    gcp.start(done)
    assert gcp.run("-pause").code == 0
    assert eventually(lambda: gcp.relay.paused(done.endpoint))
    assert eventually(lambda: gcp.run("-status").out.startswith("Globus Online:   paused\n"))
    with pytest.raises(StorageError, match="GC_PAUSED"):
        gcp.relay.storage(done.endpoint).ls("/")
    assert gcp.run("-unpause").code == 0
    assert eventually(lambda: gcp.relay.connected(done.endpoint) and not gcp.relay.paused(done.endpoint))


def test_debug_prints_what_gc_says_and_trace_reads_it(gcp: Lab) -> None:
    log = gcp.directory / "log"
    with log.open("w") as file:
        gcp.spawn("-debug", "-dir", gcp.set_up().config_dir, stdout=file)
    eventually(lambda: "#gridftp 0\n#relaytool connected\n" in log.read_text())
    trace = gcp.directory / "trace"
    with trace.open("w") as file:
        tracing = gcp.spawn("-trace", stdout=file)
    eventually(lambda: "#relaytool connected\n" in trace.read_text())
    gcp.run("-stop")
    assert tracing.wait(30.0) == 0


def test_an_interrupt_ends_it_with_1(gcp: Lab) -> None:
    process = gcp.start(gcp.set_up())
    procs.signal(gcp.process("gc-ctrl.py"), signal.SIGINT)
    assert process.wait(30.0) == 1
    eventually(lambda: not gcp.processes())


# the tree


def running(gcp: Lab) -> None:
    shared = gcp.directory / "shared"
    storage = gcp.serve(shared)
    storage.ls(str(shared))


def test_the_tree_is_that_of_the_real_one(gcp: Lab) -> None:
    running(gcp)
    parents = procs.parents_now()
    shell, control = gcp.process("globusconnectpersonal"), gcp.process("gc-ctrl.py", "-start", "forward")
    gc, relaytool = gcp.process("gc.py"), gcp.process("relaytool")
    server = gcp.process("globus-gridftp-server", "-restrict-paths", f"rw{gcp.directory}/shared,n~/.*")
    assert [parents[child.pid] for child in (control, gc, relaytool, server)] == [
        shell.pid,
        control.pid,
        gc.pid,
        gc.pid,
    ]
    assert os.getpgid(relaytool.pid) == relaytool.pid


@pytest.mark.parametrize("victim", ["gc-ctrl.py", "gc.py"])
def test_killing_the_top_takes_the_whole_tree_down(gcp: Lab, victim: str) -> None:
    running(gcp)
    procs.signal(gcp.process(victim), signal.SIGKILL)
    eventually(lambda: not gcp.processes())


def test_killing_only_the_shell_leaves_it_running(gcp: Lab) -> None:
    running(gcp)
    procs.signal(gcp.process("globusconnectpersonal"), signal.SIGKILL)
    eventually(lambda: not gcp.processes("globusconnectpersonal"))
    assert gcp.run("-status").code == 0


def test_a_killed_relaytool_is_started_again_and_is_the_same_instance(gcp: Lab) -> None:
    done = gcp.set_up()
    gcp.start(done)
    instance = gcp.relay.process(done.endpoint)
    old = gcp.process("relaytool")
    procs.signal(old, signal.SIGKILL)
    eventually(lambda: gcp.processes("relaytool") not in ([], [old]) and gcp.relay.connected(done.endpoint))
    assert gcp.relay.process(done.endpoint) == instance
    assert (gcp.relay.started(), gcp.relay.live_max()) == (1, {done.endpoint: 1})


def test_the_children_hold_nothing_of_each_other(gcp: Lab) -> None:
    running(gcp)
    ends = [_links(gcp.process(name).pid) for name in ("relaytool", "globus-gridftp-server")]
    assert all(len(links) == 4 for links in ends)  # its three standard descriptors and its connection
    assert not {link for link in ends[0] & ends[1] if link.startswith("socket:")}
    lifeline = _links(gcp.process("gc.py").pid)
    assert {_link(f"/proc/{gcp.process(name).pid}/fd/0") for name in ("relaytool", "globus-gridftp-server")} <= lifeline
    assert _link(f"/proc/{gcp.process('gc.py').pid}/fd/0") not in ends[0] | ends[1]


def _links(pid: int) -> set[str]:
    return {_link(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


# rules


def refusal(operation: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        operation()
    return caught.value


def test_only_the_restricted_paths_are_served(gcp: Lab) -> None:
    shared = gcp.directory / "shared"
    storage = gcp.serve(shared)
    list(storage.write(f"{shared}/new/file", 0, iter([b"x"]), None))
    (gcp.directory / "outside").write_text("secret")
    (shared / "link").symlink_to(gcp.directory / "outside")
    for path in (f"{gcp.directory}/outside", f"{shared}/link", f"{shared}/../outside", "/", "~/"):
        error = refusal(lambda path=path: storage.stat(path))  # type: ignore[misc]
        assert (error.code, error.details) == ("PERMISSION_DENIED", "500 Command failed. : Path not allowed.")
    assert (
        refusal(lambda: list(storage.write(f"{gcp.directory}/new", 0, iter([b"x"]), None))).code == "PERMISSION_DENIED"
    )
    assert not (gcp.directory / "new").exists()


def test_reading_can_be_allowed_without_writing(gcp: Lab) -> None:
    shared = gcp.directory / "shared"
    shared.mkdir()
    done = gcp.set_up()
    gcp.start(done, "-restrict-paths", f"r{shared}")
    storage = gcp.relay.storage(done.endpoint)
    assert storage.ls(str(shared)) == []
    assert refusal(lambda: storage.mkdir(f"{shared}/x")).code == "PERMISSION_DENIED"


def test_only_shared_paths_denies_everything(gcp: Lab) -> None:
    done = gcp.set_up()
    gcp.start(done, "-shared-paths", f"rw{gcp.directory}")
    assert refusal(lambda: gcp.relay.storage(done.endpoint).ls(str(gcp.directory))).code == "PERMISSION_DENIED"


def test_config_paths_is_made_at_the_first_need_and_serves_the_home(gcp: Lab) -> None:
    done = gcp.set_up()
    config_paths = Path(done.config_dir, "lta/config-paths")
    gcp.start(done)
    assert not config_paths.exists()
    storage = gcp.relay.storage(done.endpoint)
    home = Path(os.environ["HOME"])
    (home / "seen").write_text("1")
    (home / ".hidden").write_text("1")
    assert storage.stat("/~/seen").size == 1
    assert config_paths.read_text() == "~/,0,1\n"
    assert refusal(lambda: storage.stat("~/.hidden")).code == "PERMISSION_DENIED"


def test_credentials_that_others_can_read_are_refused(gcp: Lab) -> None:
    done = gcp.set_up()
    Path(done.config_dir, "lta/ftp-key2.pem").chmod(0o644)
    log = gcp.directory / "log"
    with log.open("w") as file:
        gcp.spawn("-debug", "-dir", done.config_dir, stdout=file)
    eventually(lambda: "are too open" in log.read_text())
    assert not gcp.relay.connected(done.endpoint)
