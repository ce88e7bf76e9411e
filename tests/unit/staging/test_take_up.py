"""The desk over deaths, cancellations and other leases: nothing moves twice, nothing is left, nobody waits for ever."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.errors import (
    DeadlinePassed,
    DestinationExists,
    EndpointFailed,
    EndpointNotOurs,
    Interrupted,
    NodexferError,
    PermissionRefused,
    ServiceRefused,
    ServiceUnreachable,
    SourceMissing,
    TokenExpired,
    TransferFailed,
    TransferUnproven,
    from_record,
)
from nodexfer.globus.protocol import Submission
from nodexfer.identity import ProcessId
from nodexfer.node import leader
from nodexfer.scheduler import Job
from nodexfer.staging import client, fence, follow, intents, readiness, remote, spool
from nodexfer.staging.bring import bring
from nodexfer.staging.cases import Case
from nodexfer.staging.intake import Intake
from nodexfer.staging.receipt import Receipt
from nodexfer.staging.request import BatchItem, InItem, Request, Result
from nodexfer.staging.send import send
from tests.support.local_globus import LocalGlobus
from tests.support.place import ENDPOINT, SITE, Place
from tests.support.waiting import eventually


class Following:
    """A command in a thread."""

    def __init__(self, work: Callable[[], Receipt]) -> None:
        self.receipt: Receipt | None = None
        self.error: NodexferError | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.receipt = self._work()
        except NodexferError as error:
            self.error = error

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Receipt:
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        assert self.receipt is not None
        return self.receipt


def stage_in(place: Place, source: str = "site:/a", dest: str = "here", **fields: Any) -> Following:
    fetches = intents.fetches(source, dest, place.config, base=str(place.node))
    job = fields.pop("job", place.job)
    return Following(lambda: bring(place.client(**fields)._replace(job=job), fetches))


def stage_out(place: Place, source: str = "a", dest: str = "site:/a", **flags: Any) -> Following:
    sends = intents.exact_sends([(source, dest)], place.config, base=str(place.node))
    return Following(lambda: send(place.client(), sends, **flags))


def request_of(place: Place) -> str:
    """The directory of the only request that is there."""
    return eventually(lambda: spool.directories(place.config.node_paths.spool))[0]


def test_the_next_desk_follows_the_task_of_the_last(place: Place) -> None:
    (place.site / "a").write_text("a")
    place.globus.held = True
    with place.desk():
        waiting = stage_in(place)
        eventually(lambda: (batch := spool.batch(request_of(place))) is not None and batch.task)
    place.globus.held = False
    with place.desk():
        assert waiting.result().tasks == tuple(place.globus.jobs)
    assert len(place.globus.jobs) == 1
    assert place.leftovers() == []


def test_a_submission_whose_answer_was_lost_is_never_a_second_task(place: Place) -> None:
    (place.site / "a").write_text("a")
    place.globus.errors["submitted"] = [ServiceUnreachable("gone", "")]
    with place.desk():
        receipt = stage_in(place).result()
    assert place.globus.calls.count("submit") == 2
    assert receipt.tasks == tuple(place.globus.jobs)


def test_a_desk_that_died_before_it_knew_the_task_is_continued(place: Place) -> None:
    (place.site / "a").write_text("a")
    place.globus.held = True
    with place.desk():
        waiting = stage_in(place)
        eventually(lambda: (batch := spool.batch(request_of(place))) is not None and batch.task)
    directory = request_of(place)
    batch = spool.batch(directory)
    assert batch is not None
    spool.write(directory, spool.BATCH, msgspec.structs.replace(batch, task=None))
    place.globus.held = False
    with place.desk():
        assert waiting.result().tasks == tuple(place.globus.jobs)
    assert len(place.globus.jobs) == 1


@pytest.mark.parametrize("side", ["in", "out"])
def test_under_another_lease_it_starts_anew_at_another_place(place: Place, side: str) -> None:
    for top in (place.site, place.node):
        (top / "a").write_text("a")
    place.globus.held = True
    with place.desk(lease=1):
        waiting = stage_in(place) if side == "in" else stage_out(place, dest="site:/out/a")
        eventually(lambda: (batch := spool.batch(request_of(place))) is not None and batch.task)
    fence.fence(place.globus, ENDPOINT, 2, Deadline(5))
    place.globus.held = False
    with place.desk(lease=2):
        receipt = waiting.result()
    assert (receipt.lease, receipt.attempts, len(receipt.tasks)) == (2, 2, 2)
    assert (place.node / "here" if side == "in" else place.site / "out/a").read_text() == "a"
    assert [path for path in place.leftovers() if "/exchange/1/" not in path] == []


def test_a_task_at_an_endpoint_that_we_have_no_more_is_cancelled(place: Place) -> None:
    """No fence reaches it: that is for the endpoint that we got instead."""
    (place.site / "a").write_text("a")
    place.globus.held = True
    with place.desk(lease=1):
        waiting = stage_in(place)
        eventually(lambda: (batch := spool.batch(request_of(place))) is not None and batch.task)
    with place.desk(lease=2):
        eventually(lambda: len(place.globus.jobs) == 2)
        eventually(lambda: [job.document.status for job in place.globus.jobs.values()] == ["FAILED", "ACTIVE"])
        place.globus.held = False
        assert waiting.result().lease == 2


def test_a_dead_owners_task_is_cancelled_and_nothing_is_left(place: Place) -> None:
    (place.site / "a").write_text("a")
    place.globus.held = True
    ended = procs.spawn([sys.executable, "-c", "input()"], stdin=procs.PIPE)
    process = ProcessId.of(ended.pid)
    with place.desk():
        name = spool.new_id()
        litter = place.node / f".nodexfer-{name}-0"
        litter.write_text("half")
        owner = msgspec.structs.replace(client.owner(), pid=process.pid, start=process.start)
        request = _request(place, name, owner=owner, litter=(str(litter),))
        client.ask(place.client(), request)
        eventually(lambda: place.globus.jobs)
        ended.kill()
        ended.wait(5)
        ended.close()
        eventually(lambda: place.leftovers() == [])
    assert [job.document.status for job in place.globus.jobs.values()] == ["FAILED"]
    assert place.said[-1] == {"busy": 0}


def test_what_a_lost_submission_left_at_the_far_side_goes_with_its_dead_owner(place: Place) -> None:
    """Under another lease, where the disk was too full to note the task: nobody but this desk knows of the half."""
    (place.node / "a").write_text("a")
    place.globus.held = True
    with place.desk(lease=1):
        waiting = stage_out(place, dest="site:/out/a")
        eventually(lambda: (batch := spool.batch(request_of(place))) is not None and batch.task)
    directory = request_of(place)
    batch, request = spool.batch(directory), spool.request(directory)
    assert batch is not None
    assert request is not None
    spool.write(directory, spool.BATCH, msgspec.structs.replace(batch, task=None))
    dead = msgspec.structs.replace(request.owner, start=1)
    spool.write(directory, spool.REQUEST, msgspec.structs.replace(request, owner=dead))
    fence.fence(place.globus, ENDPOINT, 2, Deadline(5))
    half = place.site / batch.items[0].temporary.lstrip("/")
    half.parent.mkdir(exist_ok=True)
    half.write_text("half")
    with place.desk(lease=2):
        eventually(lambda: not half.exists())
        eventually(lambda: not os.path.exists(directory))
        eventually(lambda: waiting.is_over)
    assert isinstance(waiting.error, NodexferError)


def _request(place: Place, name: str, **fields: Any) -> Request:
    known = {
        "id": name,
        "job": place.job.key,
        "owner": client.owner(),
        "direction": "in",
        "ins": (InItem(0, SITE, "/a", place.config.roots[0]),),
        "deadline": place.client().deadline,
        "created": place.client().deadline,
    }
    return Request(**{**known, **fields})


@pytest.mark.parametrize("side", ["in", "out"])
def test_a_command_that_is_interrupted_cancels_its_task(place: Place, side: str) -> None:
    for top in (place.site, place.node):
        (top / "a").write_text("a")
    place.globus.held = True
    news: list[str] = []

    def stop(progress: Any) -> None:
        news.append(progress.state)
        if progress.task is not None:
            raise KeyboardInterrupt

    def move() -> Receipt:
        who = place.client(on_progress=stop)
        if side == "in":
            return bring(who, intents.fetches("site:/a", "here", place.config, base=str(place.node)))
        return send(who, intents.sends("a", "site:/b", place.config, base=str(place.node)))

    with place.desk():
        with pytest.raises(Interrupted):
            move()
        eventually(lambda: place.leftovers() == [])
    assert news[0] == "waiting for an endpoint"
    assert [job.document.status for job in place.globus.jobs.values()] == ["FAILED"]


def test_at_its_deadline_a_request_is_over_and_its_task_with_it(place: Place) -> None:
    (place.site / "a").write_text("a")
    place.globus.held = True
    with place.desk(), pytest.raises(DeadlinePassed):
        stage_in(place, seconds=3.0).result()
    assert [job.document.status for job in place.globus.jobs.values()] == ["FAILED"]
    assert not (place.node / "here").exists()
    assert place.leftovers() == []


def test_one_that_leaves_a_shared_task_does_not_end_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    leave, left = Case.leave, list[str]()

    def note(case: Case, error: NodexferError | None) -> None:
        leave(case, error)
        left.append(case.id)

    monkeypatch.setattr(Case, "leave", note)
    for name in "ab":
        (place.site / name).write_text(name)
    place.globus.held = True
    with place.desk(serve=False) as inbox:
        impatient = stage_in(place, "site:/a", "a", seconds=3.0)
        patient = stage_in(place, "site:/b", "b")
        eventually(lambda: place.globus.calls.count("stat") == 2)
        place.serve(inbox)
        eventually(lambda: place.globus.jobs)
        eventually(lambda: left)
        place.globus.held = False
        assert patient.result().state == "done"
        with pytest.raises(DeadlinePassed):
            impatient.result()
    assert len(place.globus.jobs) == 1
    assert place.leftovers() == []


def test_while_paused_nothing_new_is_submitted(place: Place) -> None:
    (place.site / "a").write_text("a")
    with place.desk() as inbox:
        inbox.put({"do": "pause"})
        waiting = stage_in(place)
        eventually(lambda: place.globus.calls.count("stat") == 1)
        eventually(lambda: (news := spool.progress(request_of(place))) is not None and "endpoint" in news.state)
        assert place.globus.jobs == {}
        place.serve(inbox)
        waiting.result()


def test_a_lost_endpoint_is_told_to_the_leader_and_its_task_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_LOST_SECONDS", 0.1)
    (place.site / "a").write_text("a")
    with place.desk():
        place.globus.offline.add(ENDPOINT)
        waiting = stage_in(place)
        eventually(lambda: {"lost": "GCDisconnected"} in place.said)
        place.globus.offline.clear()
        assert waiting.result().faults >= 1
    assert len(place.globus.jobs) == 1


def test_a_lost_endpoint_is_noticed_within_15_s_and_told_within_a_minute() -> None:
    noticed = follow._LOST_SECONDS + 3 * follow._POLL[1]
    stopped = 5.0  # after which GCP is killed
    assert noticed <= 15.0
    assert noticed + stopped + leader.AGAIN_SECONDS <= 60.0


def test_a_service_that_answers_late_is_waited_for_and_one_that_never_does_is_named(place: Place) -> None:
    (place.site / "a").write_text("a")
    place.globus.errors["stat"] = [ServiceUnreachable("down", "")]
    with place.desk():
        stage_in(place).result()
        place.globus.errors["stat"] = [ServiceUnreachable("down", "curl")] * 100
        with pytest.raises(ServiceUnreachable, match="down"):
            stage_in(place, dest="there").result()
    assert place.leftovers() == []


def test_a_poll_that_fails_costs_nothing(place: Place) -> None:
    (place.site / "a").write_text("a")
    place.globus.errors["tasks"] = [ServiceUnreachable("down", "")]
    place.globus.errors["moved"] = [ServiceUnreachable("down", "")]
    with place.desk():
        assert stage_in(place).result().state == "done"


def test_requests_of_another_service_identity_or_format_are_left_alone(place: Place) -> None:
    directories = [
        client.ask(place.client(), _request(place, spool.new_id(), **fields))
        for fields in ({"service": "http://else"}, {"client": "somebody"}, {"format": 99})
    ]
    broken = client.ask(place.client(), _request(place, spool.new_id()))
    (Path(broken) / "request.json").write_text("{")
    with place.desk():
        answer = eventually(lambda: spool.result(broken))
        assert answer is not None
        assert answer.error is not None
        assert answer.error["error"] == "RecordBroken"
        assert not any(message.get("busy") for message in place.said)
    assert [sorted(os.listdir(path)) for path in directories] == [["request.json"]] * 3


def test_publishing_is_finished_by_the_next_desk(place: Place) -> None:
    """The task is proven; two of three outputs have their names already."""
    globus = place.globus
    items = [BatchItem(n, False, "", f"/out{n}", 1, f"/.nodexfer-r-{n}", n == 1) for n in range(3)]
    (place.site / "out0").write_text("0")
    (place.site / ".nodexfer-r-1-old").write_text("old")
    (place.site / ".nodexfer-r-1").write_text("1")
    (place.site / ".nodexfer-r-2").write_text("2")
    remote.publish(globus, SITE, items, overwrite=True, merge=False)
    assert {path.name: path.read_text() for path in place.site.iterdir()} == {"out0": "0", "out1": "1", "out2": "2"}


@pytest.mark.parametrize("there", ["file", "directory"])
def test_what_was_to_be_replaced_is_not_taken_for_what_was_sent_and_is_gone(place: Place, there: str) -> None:
    """Somebody tidied up at the far side between two desks, or between two resumes."""
    items = [BatchItem(0, there == "directory", "", "/out", 3, "/.nodexfer-r-0", True)]
    if there == "file":
        (place.site / "out").write_text("before")
    else:
        (place.site / "out").write_text("not a directory")
    with pytest.raises(TransferUnproven, match="is not what was sent"):
        remote.publish(place.globus, SITE, items, overwrite=True, merge=False)
    remote.put_back(place.globus, SITE, items, merge=False)
    assert [path.name for path in place.site.iterdir()] == ["out"]


def test_a_merge_keeps_apart_what_is_new_and_what_it_replaces(place: Place) -> None:
    """A file that is called as what is put aside might be; and a conflict that is found before anything is renamed."""
    for top, text in ((".nodexfer-r-0", "new"), ("set", "old")):
        (place.site / top / "sub").mkdir(parents=True)
        for name in ("x", "x-old", "x-old0", "sub/y"):
            (place.site / top / name).write_text(f"{text} {name}")
    (place.site / "set/kept").write_text("kept")
    item = BatchItem(0, True, "", "/set", None, "/.nodexfer-r-0", True)
    (place.site / ".nodexfer-r-0/kept").mkdir()
    with pytest.raises(DestinationExists, match="/set/kept"):
        remote.publish(place.globus, SITE, [item], overwrite=False, merge=True)
    assert (place.site / "set/x").read_text() == "old x"
    (place.site / ".nodexfer-r-0/kept").rmdir()
    remote.publish(place.globus, SITE, [item], overwrite=False, merge=True)
    found = {str(path.relative_to(place.site)): path.read_text() for path in place.site.rglob("*") if path.is_file()}
    news = {f"set/{name}": f"new {name}" for name in ("x", "x-old", "x-old0", "sub/y")}
    assert found == {**news, "set/kept": "kept"}


def test_many_outputs_cost_one_rename_each_and_little_more(place: Place) -> None:
    (place.node / "many").mkdir()
    for number in range(100):
        (place.node / f"many/{number}").write_text(str(number))
    pairs = [(f"many/{number}", f"site:/deep/{number}") for number in range(100)]
    with place.desk():
        send(place.client(), intents.exact_sends(pairs, place.config, base=str(place.node)))
    assert place.globus.calls.count("rename") == 100
    assert place.globus.calls.count("stat") + place.globus.calls.count("ls") < 12


def test_an_old_output_comes_back_when_its_replacement_can_not_take_its_name(place: Place) -> None:
    class Refusing(LocalGlobus):
        def rename(self, collection: str, old: str, new: str) -> None:
            if old == "/.nodexfer-r-0":
                raise TransferFailed("no", "")
            super().rename(collection, old, new)

    (place.site / "out").write_text("old")
    (place.site / ".nodexfer-r-0").write_text("new")
    item = BatchItem(0, False, "", "/out", 3, "/.nodexfer-r-0", True)
    with pytest.raises(TransferFailed):
        remote.publish(Refusing({SITE: str(place.site)}), SITE, [item], overwrite=True, merge=False)
    remote.put_back(place.globus, SITE, [item], merge=False)
    assert {path.name: path.read_text() for path in place.site.iterdir()} == {"out": "old"}


def test_the_fence_ends_tasks_of_earlier_leases_and_leaves_our_own(place: Place) -> None:
    def submit(label: str) -> str:
        return place.globus.submit(Submission(label, SITE, ENDPOINT, (), label, ""))

    ours = submit(f"nodexfer {ENDPOINT} lease 2 abc")
    theirs = [submit(f"nodexfer {ENDPOINT} lease 1 abc"), submit("somebody's own")]
    fence.fence(place.globus, ENDPOINT, 2, Deadline(5))
    assert [place.globus.jobs[name].document.status for name in (ours, *theirs)] == ["ACTIVE", "FAILED", "FAILED"]


@pytest.mark.parametrize("ends", [True, False])
def test_the_fence_sees_the_tasks_ended_before_gcp_connects(
    place: Place, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """Globus says yes to a cancellation, and the task goes on for a while."""
    task = place.globus.submit(Submission("s", SITE, ENDPOINT, (), f"nodexfer {ENDPOINT} lease 1 abc", ""))
    looks, look, cancel = list[int](), place.globus.unfinished_tasks, place.globus.cancel

    def looked(endpoint: str) -> Any:
        looks.append(1)
        if ends and len(looks) == 3:
            cancel(task)
        return look(endpoint)

    monkeypatch.setattr(place.globus, "cancel", lambda _: None)
    monkeypatch.setattr(place.globus, "unfinished_tasks", looked)
    if ends:
        assert fence.fence(place.globus, ENDPOINT, 2, Deadline(20)) is None
        assert place.globus.jobs[task].document.status == "FAILED"
    else:
        left = fence.fence(place.globus, ENDPOINT, 2, Deadline(0.2))
        assert left is not None
        assert isinstance(left.error, EndpointFailed)
        assert left.error.message == f"Task {task} of an earlier lease of the endpoint {ENDPOINT} does not end."
        assert left.error.next == f"globus task cancel {task}"


@pytest.mark.parametrize("kind", [ServiceRefused, PermissionRefused, SourceMissing])
def test_a_task_that_the_service_refuses_to_cancel_is_left_and_named_and_the_others_are_ended(
    place: Place, kind: type[NodexferError]
) -> None:
    def submit(label: str) -> str:
        return place.globus.submit(Submission(label, SITE, ENDPOINT, (), label, ""))

    refused, other = submit("somebody's own"), submit(f"nodexfer {ENDPOINT} lease 1 abc")
    place.globus.errors["cancel"] = [kind(f"Globus does not cancel {refused}.", "nodexfer status")]
    left = fence.fence(place.globus, ENDPOINT, 2, Deadline(20))
    assert left is not None
    assert isinstance(left.error, kind)
    assert [place.globus.jobs[name].document.status for name in (refused, other)] == ["ACTIVE", "FAILED"]


def test_a_task_that_ends_by_itself_while_its_cancellation_is_refused_is_no_trouble(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = place.globus.submit(Submission("s", SITE, ENDPOINT, (), "somebody's own", ""))
    cancel = place.globus.cancel

    def refuse(name: str) -> None:
        cancel(name)
        raise ServiceRefused("It has just ended.", "")

    monkeypatch.setattr(place.globus, "cancel", refuse)
    assert fence.fence(place.globus, ENDPOINT, 2, Deadline(20)) is None
    assert place.globus.jobs[task].document.status == "FAILED"


@pytest.mark.parametrize("kind", [ServiceUnreachable, TokenExpired])
def test_a_service_that_can_not_be_asked_is_no_endpoints_fault(place: Place, kind: type[NodexferError]) -> None:
    place.globus.submit(Submission("s", SITE, ENDPOINT, (), "somebody's own", ""))
    place.globus.errors["cancel"] = [kind("It is down.", "")]
    with pytest.raises(kind):
        fence.fence(place.globus, ENDPOINT, 2, Deadline(20))


def test_an_endpoint_of_another_identity_is_refused(place: Place) -> None:
    place.globus.owners[ENDPOINT] = "somebody"
    with pytest.raises(EndpointNotOurs, match="somebody"):
        fence.fence(place.globus, ENDPOINT, 1, Deadline(5))


def test_an_endpoint_with_another_tmp_is_never_ready(place: Place, tmp_path: Path) -> None:
    (exchange,) = place.exchanges(1).values()
    readiness.prove(place.globus, ENDPOINT, [exchange], Deadline(5))
    assert os.listdir(exchange) == []
    os.makedirs(f"{tmp_path}/private{exchange}")
    place.globus.collections[ENDPOINT] = f"{tmp_path}/private"
    Path(f"{tmp_path}/private{exchange}/nonce-{'0' * 16}").touch()  # what somebody was killed over
    with pytest.raises(EndpointFailed, match="another"):
        readiness.prove(place.globus, ENDPOINT, [exchange], Deadline(0.1))
    place.globus.offline.add(ENDPOINT)
    with pytest.raises(EndpointFailed, match="not currently connected"):
        readiness.prove(place.globus, ENDPOINT, [exchange], Deadline(0.1))
    assert os.listdir(exchange) == []


def test_an_answer_of_the_leader_ends_the_wait(place: Place) -> None:
    (place.site / "a").write_text("a")
    waiting = stage_in(place)
    error = SourceMissing("as if", "")
    Path(request_of(place), "result.json").write_text(json.dumps({"format": 1, "error": error.as_record()}))
    with pytest.raises(SourceMissing, match="as if"):
        waiting.result()
    assert place.leftovers() == []
    assert type(from_record(error.as_record())) is SourceMissing


def test_jobs_that_come_one_after_the_other_share_a_task(place: Place) -> None:
    for number in range(6):
        (place.site / f"f{number}").write_text(str(number))
    with place.desk():
        waiting = []
        for number in range(6):
            waiting.append(stage_in(place, f"site:/f{number}", f"g{number}", job=Job("local", "host", str(number), 0)))
            eventually(lambda: place.globus.calls.count("stat") == len(waiting))
        assert [one.result().state for one in waiting] == ["done"] * 6
    assert len(place.globus.jobs) <= 3


def test_tasks_that_back_off_from_errors_do_not_hold_up_others(place: Place) -> None:
    for name in ("a", "b", "c", "d"):
        (place.site / name).write_text(name)
        (place.top / "other/deep").mkdir(exist_ok=True)
        (place.top / "other/deep" / name).write_text(name)
    place.globus.failing = {f"/{name}": "CONNECT_FAILED" for name in "abc"}
    with place.desk():
        stuck = []
        for name in "abc":
            stuck.append(stage_in(place, f"site:/{name}", name))
            eventually(lambda: sum(job.document.faults > 0 for job in place.globus.jobs.values()) == len(stuck))
        stage_in(place, "other:/d", "d").result()
        assert not any(one.is_over for one in stuck)
        place.globus.failing = {}
        for one in stuck:
            one.result()


@pytest.mark.parametrize("lease", [1, 2])
def test_the_first_cause_is_what_is_said_also_by_the_next_desk(
    place: Place, monkeypatch: pytest.MonkeyPatch, lease: int
) -> None:
    """The first one dies when it has removed what was gathered for sending, and has not answered yet."""
    (place.node / "a").write_text("a")
    place.globus.held = True
    tidied = threading.Event()
    with monkeypatch.context() as dying:
        dying.setattr(Intake, "close", lambda *_: tidied.set())
        with place.desk():
            waiting = stage_out(place, dest="site:/b")
            eventually(lambda: (batch := spool.batch(request_of(place))) is not None and batch.task)
            batch = spool.batch(request_of(place))
            assert batch is not None
            place.globus.failing[batch.items[0].temporary] = "PERMISSION_DENIED"
            place.globus.held = False
            assert tidied.wait(30.0)
    with place.desk(lease=lease), pytest.raises(NodexferError, match="PERMISSION_DENIED"):
        waiting.result()
    assert len(place.globus.jobs) == 1
    assert place.leftovers() == []


def test_what_is_met_after_the_owner_has_died_is_told_to_nobody(place: Place) -> None:
    """It would lie there as the request's end, and say that what the owner had gathered is gone."""
    paths, dead = place.config.node_paths, msgspec.structs.replace(client.owner(), start=1)
    for owner, left in ((client.owner(), 1), (dead, 0)):
        asked = Request(
            id=spool.new_id(),
            job="j",
            owner=owner,
            direction="in",
            ins=(InItem(0, SITE, "/a", "/"),),
            deadline=1e12,
            created=0.0,
        )
        directory = spool.ask(paths, asked)
        intake = Intake(place.config, place.globus.service, "")
        [case] = intake.scan()
        intake.close(case, Result(error=TransferFailed("It is gone.").as_record()))
        assert len(spool.directories(paths.spool)) == left
        spool.forget(directory)


def test_a_request_that_can_not_be_read_now_is_looked_at_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither answered as broken, nor forgotten."""
    paths = place.config.node_paths
    sources = (InItem(0, SITE, "/a", "/"),)
    asked = Request(
        id=spool.new_id(), job="j", owner=client.owner(), direction="in", ins=sources, deadline=1e12, created=0.0
    )
    directory = spool.ask(paths, asked)
    intake = Intake(place.config, place.globus.service, "")

    def refuse(_: str) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(spool, "request", refuse)
        assert intake.scan() == []
    assert sorted(os.listdir(directory)) == ["request.json"]
    assert [case.id for case in intake.scan()] == [asked.id]
    spool.forget(directory)
