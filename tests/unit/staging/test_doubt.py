"""What is not proven is not published, and what was there before is never lost: the desk in doubtful moments."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodexfer import procs
from nodexfer.errors import (
    DeadlinePassed,
    DiskFull,
    EndpointFailed,
    Interrupted,
    NodexferError,
    ServiceUnreachable,
    TokenExpired,
    TransferFailed,
    TransferUnproven,
)
from nodexfer.globus.protocol import Submission
from nodexfer.identity import ProcessId
from nodexfer.node import clean, registry
from nodexfer.node.work import refuse, submitted
from nodexfer.staging import client, exchange, follow, intake, intents, remote, spool, work
from nodexfer.staging.cases import Case
from nodexfer.staging.receipt import Receipt
from nodexfer.staging.request import BatchItem, InItem, Owner, Request
from nodexfer.staging.send import send
from tests.support.local_globus import Job
from tests.support.place import SITE, Place
from tests.support.waiting import eventually
from tests.unit.staging.test_take_up import _request, request_of, stage_in, stage_out


@pytest.mark.parametrize("fault", ["short", "written to"])
def test_each_request_of_a_shared_task_is_proven(place: Place, fault: str) -> None:
    """Not only the first of them."""
    for name in "abc":
        (place.node / name).write_text(f"data of {name}")
    if fault == "short":
        place.globus.truncate.add("0")
    place.globus.held = True
    with place.desk(serve=False) as inbox:
        waiting = [stage_out(place, name, f"site:/{name}") for name in "abc"]
        eventually(lambda: place.globus.calls.count("stat") >= 3)
        place.serve(inbox)
        eventually(lambda: len(place.globus.jobs) == 1)
        if fault != "short":
            for name in "abc":
                (place.node / name).write_text("longer than it was before")
        place.globus.held = False
        for one in waiting:
            if fault == "short":
                with pytest.raises(TransferUnproven):
                    one.result()
            else:
                assert one.result().attempts == 2
    assert [path.read_text() for path in place.site.iterdir()] == [
        "longer than it was before" for _ in ("abc" if fault != "short" else "")
    ]
    assert place.leftovers() == []


def test_a_batch_says_publishing_only_when_it_is_proven(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a desk that dies while it proves would leave its heir nothing to prove."""
    (place.node / "a").write_text("a")
    said: list[bool] = []
    prove, publish = remote.prove_sizes, remote.publish

    def look(function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> None:
            batch = spool.batch(request_of(place))
            assert batch is not None
            said.append(batch.publishing)
            function(*arguments, **named)

        return call

    monkeypatch.setattr(remote, "prove_sizes", look(prove))
    monkeypatch.setattr(remote, "publish", look(publish))
    with place.desk():
        stage_out(place).result()
    assert said == [False, True]


def test_what_is_refused_is_tidied_up_when_the_collection_is_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodexfer.staging.ending.PAUSE_SECONDS", 0.05)
    (place.node / "a").write_text("a")
    place.globus.truncate.add("0")
    place.globus.errors["delete"] = [EndpointFailed("away", ""), ServiceUnreachable("busy", "")]
    with place.desk(), pytest.raises(TransferUnproven):
        stage_out(place).result()
    assert place.globus.errors["delete"] == []
    assert list(place.site.iterdir()) == []


@pytest.mark.parametrize("lease", [1, 2])
@pytest.mark.parametrize("side", ["in", "out"])
def test_what_globus_has_of_a_request_is_ended_when_the_leader_has_given_up(
    place: Place, side: str, lease: int
) -> None:
    for top in (place.node, place.site):
        (top / "a").write_text("a")
    place.globus.held = True
    with place.desk():
        waiting = stage_in(place) if side == "in" else stage_out(place, dest="site:/b")
        eventually(lambda: (batch := spool.batch(request_of(place))) is not None and batch.task)
    (place.site / f".nodexfer-{os.path.basename(request_of(place))}-0").write_text("half" if side == "out" else "")
    refuse(request_of(place), EndpointFailed("lost, mended, and lost again", ""))
    with pytest.raises(EndpointFailed, match="lost again"):
        waiting.result()
    (job,) = place.globus.jobs.values()
    states = [job.document.status]
    with place.desk(lease=lease):
        eventually(lambda: spool.directories(place.config.node_paths.spool) == [])
    states.append(job.document.status)
    assert states == ["ACTIVE", "FAILED"]
    if side == "out":
        assert [path.name for path in place.site.iterdir()] == ["a"]


def gives_up_on(place: Place, owner: procs.Process) -> Job:
    """What Globus has of a request of ``owner`` that has been answered by a leader that gave up."""
    (place.site / "a").write_text("a")
    place.globus.held = True
    process = ProcessId.of(owner.pid)
    known = msgspec.structs.replace(client.owner(), pid=process.pid, start=process.start)
    item, deadline = InItem(0, SITE, "/a", place.config.roots[0]), place.client().deadline
    request = Request(
        id=spool.new_id(), job=place.job.key, owner=known, direction="in", ins=(item,), deadline=deadline, created=0.0
    )
    with place.desk():
        client.ask(place.client(), request)
        eventually(lambda: (batch := spool.batch(request_of(place))) is not None and batch.task)
    refuse(request_of(place), EndpointFailed("lost, mended, and lost again", ""))
    (job,) = place.globus.jobs.values()
    return job


@pytest.fixture
def owner() -> Iterator[procs.Process]:
    process = procs.spawn([sys.executable, "-c", "input()"], stdin=procs.PIPE)
    yield process
    process.kill()
    process.wait(5)
    process.close()


def test_the_task_of_who_died_before_it_read_that_the_leader_gave_up_is_ended(
    place: Place, owner: procs.Process
) -> None:
    job = gives_up_on(place, owner)
    owner.kill()
    owner.wait(5)
    with registry.Transaction(place.config.node_paths):  # as its job's keeper does, and who finds it dead
        clean.job(place.config, place.job.key).remove()
    assert len(submitted(place.config.node_paths)) == 1
    with place.desk():
        eventually(lambda: spool.directories(place.config.node_paths.spool) == [])
    assert job.document.status == "FAILED"


def test_a_desk_that_comes_before_the_answer_of_the_leader_is_read_waits_for_that(
    place: Place, owner: procs.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = gives_up_on(place, owner)
    looks: list[int] = []
    scan = intake.Intake.scan

    def look(self: intake.Intake) -> list[Case]:
        looks.append(len(found := scan(self)))
        return found

    monkeypatch.setattr(intake.Intake, "scan", look)
    with place.desk():
        eventually(lambda: len(looks) > 2)
        assert not any(looks)
        states = [job.document.status]
        spool.leave_to_the_next(request_of(place))
        eventually(lambda: spool.directories(place.config.node_paths.spool) == [])
    assert [*states, job.document.status] == ["ACTIVE", "FAILED"]


def test_nothing_gets_its_name_while_the_next_desk_could_not_know(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk, say: after a death it would call missing what has been renamed, and lose what it replaced."""
    (place.node / "a").write_text("new")
    (place.site / "a").write_text("old")
    real = spool.write

    def write(directory: str, name: str, record: Any) -> None:
        if name == spool.BATCH and record.publishing:
            raise DiskFull("full", "df")
        real(directory, name, record)

    put_back: list[object] = []
    monkeypatch.setattr(spool, "write", write)
    monkeypatch.setattr(remote, "put_back", lambda *arguments, **_: put_back.append(arguments))
    with place.desk(), pytest.raises(DiskFull):
        stage_out(place, overwrite=True).result()
    assert put_back == [], "nothing had its name"
    assert [(path.name, path.read_text()) for path in place.site.iterdir()] == [("a", "old")]
    assert place.leftovers() == []


class FullDisk:
    """The desk's records ``names`` find no room in the spool; ``refused`` are those that were tried, in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.names, self.refused = set(names), list[str]()
        self._real = spool.write
        monkeypatch.setattr(spool, "write", self._write)

    def _write(self, directory: str, name: str, record: Any) -> None:
        if name in self.names:
            self.refused.append(name)
            raise DiskFull("full", "df")
        self._real(directory, name, record)


@pytest.mark.parametrize("side", ["in", "out"])
@pytest.mark.parametrize("word", ["error", "success"])
def test_an_answer_that_finds_no_room_is_given_as_soon_as_there_is_some(
    place: Place, monkeypatch: pytest.MonkeyPatch, word: str, side: str
) -> None:
    ((place.site if side == "in" else place.node) / "a").write_text("a")
    disk = FullDisk(monkeypatch, spool.RESULT, *((spool.BATCH,) if word == "error" else ()))
    with place.desk():
        waiting = stage_in(place) if side == "in" else stage_out(place)
        eventually(lambda: disk.refused.count(spool.RESULT) > 1)
        assert not waiting.is_over
        assert place.said[-1] == {"busy": 1}
        disk.names.clear()
        if word == "success":
            assert waiting.result().files[0].size == 1
        else:
            with pytest.raises(DiskFull):
                waiting.result()
        eventually(lambda: place.said[-1] == {"busy": 0})
    assert place.leftovers() == []


def test_a_request_whose_answer_found_no_room_goes_with_its_owner(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.site / "a").write_text("a")
    disk = FullDisk(monkeypatch, spool.RESULT)
    process = procs.spawn([sys.executable, "-c", "input()"], stdin=procs.PIPE)
    owner = Owner(*ProcessId.of(process.pid))
    monkeypatch.setattr(client, "owner", lambda: owner)
    with place.desk():
        waiting = stage_in(place)
        eventually(lambda: disk.refused)
        process.kill()
        process.wait(5)
        process.close()
        eventually(lambda: place.said[-1] == {"busy": 0})
        with pytest.raises(Interrupted, match="was removed"):
            waiting.result()
    assert place.leftovers() == []


def test_a_submission_is_on_disk_before_globus_hears_of_it(place: Place) -> None:
    (place.site / "a").write_text("a")
    real, on_disk = place.globus.submit, list[bool]()

    def submit(submission: Submission) -> str:
        batch = spool.batch(request_of(place))
        on_disk.append(batch is not None and (batch.submission_id, batch.task) == (submission.submission_id, None))
        return real(submission)

    place.globus.submit = submit  # type: ignore[method-assign]
    with place.desk():
        stage_in(place).result()
    assert on_disk == [True]


def test_what_is_getting_its_name_does_so_under_another_lease_too(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes have arrived; begun anew, it would find its own outputs in the way."""
    monkeypatch.setattr("nodexfer.staging.ending.PAUSE_SECONDS", 0.05)
    for name in "ab":
        (place.node / name).write_text(name)
    sends = intents.exact_sends([("a", "site:/a"), ("b", "site:/b")], place.config, base=str(place.node))
    real, one_only = place.globus.rename, threading.Event()

    def rename(collection: str, old: str, new: str) -> None:
        if one_only.is_set():
            raise ServiceUnreachable("down", "")
        one_only.set()
        real(collection, old, new)

    place.globus.rename = rename  # type: ignore[method-assign]
    receipts: list[Receipt] = []
    thread = threading.Thread(target=lambda: receipts.append(send(place.client(), sends)))
    with place.desk(lease=1):
        thread.start()
        eventually(one_only.is_set)
    place.globus.rename = real  # type: ignore[method-assign]
    with place.desk(lease=2):
        thread.join(10)
    assert [(receipt.attempts, receipt.lease) for receipt in receipts] == [(1, 1)]
    assert {path.name: path.read_text() for path in place.site.iterdir()} == {"a": "a", "b": "b"}
    assert [path for path in place.leftovers() if "/exchange/1" not in path] == []


def test_a_task_that_needs_somebody_is_cancelled(place: Place) -> None:
    """INACTIVE is not the end: whoever mends its cause would have it go on."""
    (place.site / "a").write_text("a")
    place.globus.held = True
    with place.desk():
        waiting = stage_in(place)
        eventually(lambda: place.globus.jobs)
        (job,) = place.globus.jobs.values()
        job.change(status="INACTIVE", nice_status="PAUSED_BY_ADMIN")
        with pytest.raises(TransferFailed, match="INACTIVE"):
            waiting.result()
    assert job.document.status == "FAILED"
    assert place.leftovers() == []


def test_a_cancellation_that_was_not_heard_is_repeated(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_CANCEL_AGAIN_SECONDS", 0.1)
    (place.site / "a").write_text("a")
    place.globus.held = True
    place.globus.errors["cancel"] = [ServiceUnreachable("down", "")]
    with place.desk(), pytest.raises(DeadlinePassed):
        stage_in(place, seconds=3.0).result()
    assert [job.document.status for job in place.globus.jobs.values()] == ["FAILED"]
    assert place.leftovers() == []


def test_a_task_whose_answer_was_lost_is_ended_with_its_request(place: Place) -> None:
    """Whether Globus has heard of it is not known: only the same submission again tells the task."""
    (place.site / "a").write_text("a")
    place.globus.held = True
    place.globus.errors["submitted"] = [ServiceUnreachable("gone", "")]
    with place.desk():
        waiting = stage_in(place)
        eventually(lambda: place.globus.jobs)
        spool.cancel(request_of(place))
        with pytest.raises(Interrupted):
            waiting.result()
        eventually(lambda: place.said[-1] == {"busy": 0})
    assert [job.document.status for job in place.globus.jobs.values()] == ["FAILED"]
    assert place.leftovers() == []


def test_a_request_that_is_called_off_while_it_begins_is_not_submitted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its command saw no task of it, and removes it: nobody would know of one."""
    (place.site / "a").write_text("a")
    write, written = spool.write, list[str]()

    def called_off(directory: str, name: str, record: msgspec.Struct) -> None:
        write(directory, name, record)
        if name == spool.BATCH:
            spool.cancel(directory)
            written.append(directory)

    monkeypatch.setattr(spool, "write", called_off)
    with place.desk():
        with pytest.raises(Interrupted):
            stage_in(place).result()
        eventually(lambda: place.said[-1] == {"busy": 0})
    assert written
    assert place.globus.jobs == {}
    assert place.leftovers() == []


def test_who_calls_a_request_off_says_so_before_looking_whether_it_has_begun(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = spool.ask(place.config.node_paths, _request(place, "r1"))
    looked: list[bool] = []
    exists = os.path.exists

    def look(path: str) -> bool:
        if path == f"{directory}/{spool.BATCH}":
            looked.append(spool.is_cancelled(directory))
        return exists(path)

    monkeypatch.setattr(os.path, "exists", look)
    client.call_off(place.client(), [directory])
    assert looked == [True]
    assert not exists(directory)


def test_a_task_that_the_service_does_not_list_ends_with_its_request(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_CANCEL_SECONDS", 0.2)
    (place.site / "a").write_text("a")
    place.globus.held = True
    with place.desk():
        waiting = stage_in(place, seconds=3.0)
        eventually(lambda: place.globus.jobs)
        place.globus.unlisted |= set(place.globus.jobs)
        with pytest.raises(DeadlinePassed):
            waiting.result()
        eventually(lambda: place.said[-1] == {"busy": 0})
    assert place.leftovers() == []


def test_a_poll_that_is_refused_ends_the_tasks_and_not_only_the_requests(place: Place) -> None:
    (place.site / "a").write_text("a")
    place.globus.held = True
    with place.desk():
        waiting = stage_in(place)
        eventually(lambda: place.globus.jobs)
        place.globus.errors["tasks"] = [TokenExpired("no", "")]
        with pytest.raises(TokenExpired):
            waiting.result()
    assert [job.document.status for job in place.globus.jobs.values()] == ["FAILED"]


def test_a_task_that_is_accepted_after_its_lease_was_lost_is_cancelled(place: Place) -> None:
    (place.site / "a").write_text("a")
    go_on, real = threading.Event(), place.globus.submit
    submitted: list[str] = []

    def submit(submission: Submission) -> str:
        if not submitted:
            submitted.append("")
            assert go_on.wait(30)
            submitted[0] = real(submission)
            return submitted[0]
        return real(submission)

    place.globus.submit = submit  # type: ignore[method-assign]
    place.globus.held = True
    with place.desk() as inbox:
        waiting = stage_in(place)
        eventually(lambda: submitted)
        place.serve(inbox, lease=2)
        eventually(lambda: place.globus.jobs)  # under the new lease
        go_on.set()
        eventually(lambda: len(place.globus.jobs) == 2)
        eventually(lambda: place.globus.jobs[submitted[0]].document.status == "FAILED")
        assert (batch := spool.batch(request_of(place))) is not None
        assert batch.lease == 2
        place.globus.held = False
        assert waiting.result().lease == 2


def test_a_rename_whose_answer_was_lost_was_done(place: Place) -> None:
    """The client asks again by itself, and is told that there is nothing of the old name."""
    for top, text in ((place.site, "old"), (place.node, "new")):
        (top / "a").write_text(text)

    class Losing(set[str]):
        def __contains__(self, name: object) -> bool:
            return True

        def remove(self, name: str) -> None:
            place.globus.lost_renames = set()

    for lost in (Losing(), {"/a"}):
        place.globus.lost_renames = lost
        with place.desk():
            stage_out(place, "a", "site:/a", overwrite=True).result()
        assert (place.site / "a").read_text() == "new"
        assert place.leftovers() == []
        (place.site / "a").write_text("old")


@pytest.mark.parametrize("kind", ["file", "directory", "merge"])
def test_what_was_there_comes_back_when_the_service_goes_away_in_between(
    place: Place, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Between the two renames of a replacement, and until the deadline."""
    for top, text in ((place.site, "old"), (place.node, "new")):
        (top / "out/deep").mkdir(parents=True)
        (top / "out/deep/a").write_text(text)
    source, dest = ("out/deep/a", "site:/out/deep/a") if kind == "file" else ("out", "site:/out")
    real, away = place.globus.rename, threading.Event()

    def rename(collection: str, old: str, new: str) -> None:
        if away.is_set():
            raise ServiceUnreachable("down", "")
        real(collection, old, new)
        if "-old" in new:
            away.set()

    place.globus.rename = rename  # type: ignore[method-assign]
    monkeypatch.setattr("nodexfer.staging.ending.PAUSE_SECONDS", 0.1)
    sends = intents.exact_sends([(source, dest)], place.config, base=str(place.node))
    flags: dict[str, Any] = {"merge": True} if kind == "merge" else {"overwrite": True}
    outcome: list[NodexferError] = []

    def move() -> None:
        with pytest.raises(NodexferError) as caught:
            send(place.client(seconds=3.0), sends, **flags)
        outcome.append(caught.value)

    thread = threading.Thread(target=move)
    with place.desk():
        thread.start()
        eventually(away.is_set)
        directory = request_of(place)
        spool.cancel(directory)
        away.clear()
        place.globus.rename = real  # type: ignore[method-assign]
        thread.join()
        eventually(lambda: place.said[-1] == {"busy": 0})
        assert {path.read_text() for path in place.site.rglob("*") if path.is_file()} <= {"old", "new"}
        assert (place.site / "out/deep/a").exists()
    assert [path for path in place.leftovers() if "/spool/" not in path] == []


@pytest.mark.parametrize("flags", [{"overwrite": True}, {"merge": True}])
def test_a_publication_that_is_refused_in_between_leaves_what_was_there(place: Place, flags: dict[str, bool]) -> None:
    for top, text in ((place.site, "old"), (place.node, "new")):
        (top / "out").mkdir()
        (top / "out/a").write_text(text)
    real, asides = place.globus.rename, list[str]()

    def rename(collection: str, old: str, new: str) -> None:
        if asides:
            asides.clear()
            raise TransferFailed("no", "")
        real(collection, old, new)
        asides.extend([new] if "-old" in new else [])

    place.globus.rename = rename  # type: ignore[method-assign]
    with place.desk(), pytest.raises(TransferFailed):
        stage_out(place, "out", "site:/out", **flags).result()
    assert (place.site / "out/a").read_text() == "old"
    assert place.leftovers() == []


def test_what_an_undone_publication_put_aside_is_put_back(place: Place) -> None:
    site = place.site
    (site / "set").mkdir()
    for path, text in {
        ".nodexfer-r-0-old": "old file",
        ".nodexfer-r-0": "new file",
        ".nodexfer-r-1-old/sub/y": "old y",
        ".nodexfer-r-1-old/x": "old x",
        ".nodexfer-r-1/x": "new x",
        "set/sub/y": "new y",
        "set/kept": "kept",
    }.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    items = [
        BatchItem(0, False, "", "/out", 3, "/.nodexfer-r-0", True),
        BatchItem(1, True, "", "/set", 3, "/.nodexfer-r-1", True),
    ]
    remote.put_back(place.globus, SITE, items, merge=True)
    found = {str(path.relative_to(site)): path.read_text() for path in site.rglob("*") if path.is_file()}
    assert {"out": "old file", "set/x": "old x", "set/sub/y": "new y", "set/kept": "kept"}.items() <= found.items()


def test_a_link_in_a_source_directory_is_named_and_not_left_out_in_silence(place: Place) -> None:
    (place.site / "set/deep").mkdir(parents=True)
    (place.site / "set/a").write_text("a")
    (place.site / "set/deep/link").symlink_to("../a")
    with place.desk(), pytest.raises(TransferUnproven, match="/set/deep/link"):
        stage_in(place, "site:/set", "set").result()
    assert not (place.node / "set").exists()
    assert place.leftovers() == []


def test_a_fingerprint_does_not_depend_on_how_the_directories_are_sorted(tmp_path: Path) -> None:
    """``/tmp`` sorts before ``/tmp-b``, and ``/tmp/x`` after ``/tmp-b/x``."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    assert exchange.fingerprint([one, two]) == exchange.fingerprint([two, one])
    before = exchange.fingerprint([one, two])
    (tmp_path / "two/two").write_text("changed")
    assert exchange.fingerprint([one, two]) != before


def test_what_a_killed_command_left_in_the_exchange_goes_while_others_work(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request was answered, its job ended: the endpoint may stay for hours."""
    monkeypatch.setattr(work, "_SWEEP_SECONDS", 0.1)
    with place.desk():
        (top,) = place.exchanges(1).values()
        left, others = f"{top}/{spool.new_id()}", f"{top}/jobs"
        os.makedirs(f"{left}/0")
        os.makedirs(others)
        eventually(lambda: not os.path.exists(left))
        assert os.path.isdir(others)
