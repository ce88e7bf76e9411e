"""Where the route via goes, and what it takes for dead."""

from __future__ import annotations

import fcntl
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodexfer import identity, procs
from nodexfer.clock import utc
from nodexfer.config import Config, load
from nodexfer.errors import (
    CollectionUnknown,
    DeadlinePassed,
    Interrupted,
    PermissionRefused,
    ServiceUnreachable,
    SourceMissing,
    TransferFailed,
    TransferUnproven,
)
from nodexfer.staging import client, intents, salvage_copy, via, via_area, via_child, via_errand, via_site, via_task
from nodexfer.staging.bring import bring
from nodexfer.staging.client import Client
from nodexfer.staging.request import InItem, OutItem, Progress, Request, Result
from nodexfer.staging.salvage_copy import Stopped
from nodexfer.staging.send import send
from nodexfer.staging.via_errand import Errand
from nodexfer.staging.via_site import Site
from nodexfer.staging.via_watch import Watch
from tests.support.place import OTHER, SITE, Place

HOME = "55555555-5555-4555-8555-555555555555"
UUID = "66666666-6666-4666-8666-66666666666"


def configured(place: Place, **paths: tuple[str, str]) -> Config:
    """Collections by name: (root_path, local_path)."""
    text = "".join(
        f'[collections.{name}]\nid = "{UUID}{number}"\nroot_path = "{root}"\nlocal_path = "{local}"\n'
        for number, (name, (root, local)) in enumerate(paths.items())
    )
    (place.top / "home/config.toml").write_text(text)
    return load({"HOME": str(place.top / "home"), **place.environ})


def test_a_local_path_and_a_root_path_are_the_same_directory(place: Place) -> None:
    config = configured(place, one=("/users/me", f"{place.top}"), root=("/", "/"))
    assert via_site.must_cover(config, f"{place.top}/home/x").remote(f"{place.top}/home/x/y") == "/users/me/home/x/y"
    assert via_site.must_cover(config, str(place.top)).remote(str(place.top)) == "/users/me/"
    assert via_site.must_cover(config, "/proc/self").name == "root"
    assert via_site.must_cover(config, "/usr").remote("/usr/bin") == "/usr/bin"


def test_the_longest_local_path_counts_and_a_name_that_begins_alike_does_not(place: Place) -> None:
    config = configured(place, outer=("/o", f"{place.top}"), inner=("/i", f"{place.top}/home"))
    (place.top / "homes").mkdir()
    assert via_site.must_cover(config, f"{place.top}/home/x").name == "inner"
    assert via_site.must_cover(config, f"{place.top}/homes").name == "outer"


def test_links_are_followed(place: Place) -> None:
    (place.top / "link").symlink_to(place.top / "home")
    config = configured(place, one=("/u", f"{place.top}/link"))
    assert via_site.must_cover(config, f"{place.top}/link/x").name == "one"
    assert via_site.must_cover(config, f"{place.top}/home/x").name == "one"


def test_a_local_path_that_is_not_here_is_none(place: Place) -> None:
    config = configured(place, one=("/u", f"{place.top}/away"))
    with pytest.raises(CollectionUnknown, match="local_path: none"):
        via_site.must_cover(config, f"{place.top}/away/x")


def test_the_area_is_below_the_home_or_else_where_we_may_write(place: Place) -> None:
    home = configured(place, one=("/u", f"{place.top}/home"))
    assert via_area.find(home).path == f"{place.top}/home/via"
    elsewhere = configured(place, one=("/u", f"{place.top}/site"))
    assert via_area.find(elsewhere).path == f"{place.top}/site/.nodexfer-via-{os.geteuid()}"
    with pytest.raises(CollectionUnknown, match="not open"):
        via_area.find(configured(place))


def request(place: Place, *paths: str, **fields: Any) -> Request:
    known: dict[str, Any] = {
        "id": "r0123456789abcdef",
        "job": place.job.key,
        "owner": client.owner(),
        "direction": "in",
        "ins": tuple(InItem(number, SITE, path, "/") for number, path in enumerate(paths)),
        "deadline": time.time() + 10,
        "created": time.time(),
    }
    return Request(**{**known, **fields})


@pytest.mark.parametrize(
    ("host", "boot", "left", "alive", "dead"),
    [
        ("", "", 100.0, True, False),
        ("", "", 100.0, False, True),
        ("", "another", 100.0, True, True),
        ("elsewhere", "another", 100.0, False, False),
        ("elsewhere", "another", -100.0, False, False),
        ("elsewhere", "another", -1000.0, False, True),
    ],
)
def test_only_what_is_proven_dead_is_taken_for_dead(
    place: Place, host: str, boot: str, left: float, alive: bool, dead: bool
) -> None:
    area = via_area.find(configured(place, one=("/u", f"{place.top}/home")))
    asked = request(place, "/f", deadline=time.time() + left)
    if not alive:
        asked = msgspec.structs.replace(asked, owner=msgspec.structs.replace(asked.owner, start=1))
    directory = via_area.make(area, asked)
    order = via_area.Order(host=host or identity.host(), boot=boot or identity.boot_id(), request=asked)
    Path(directory, via_area.ERRAND).write_bytes(msgspec.json.encode(order))
    assert (via_area.dead(area) == [directory]) is dead
    via_area.remove(directory)
    assert not os.path.exists(area.path)


@pytest.fixture
def by_via(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Client]:
    """Clients whose route is via, with what its child does done in this process."""
    config = place.top / "home/config.toml"
    home = f'[collections.home]\nid = "{HOME}"\nlocal_path = "{place.top}/home"\n'
    config.write_text(f"{config.read_text()}{home}")
    place.config = load({"HOME": str(place.top / "home"), **place.environ})
    place.globus.collections[HOME] = str(place.top / "home")

    def carry(who: Client, request: Request, directory: str) -> Result:
        order = via_area.read(directory)
        assert order is not None
        return via_task.carry(via_child._errand(place.globus, via_area.find(who.config), directory, order))

    monkeypatch.setattr(via, "_carry", carry)
    return lambda: place.client(route="via")


def errand(place: Place, asked: Request) -> Errand:
    place.globus.collections[OTHER] = "/"
    directory = place.top / "other"
    (directory / "data").mkdir()
    site = Site("other", OTHER, "/", "/")
    return Errand(place.globus, site, asked, f"{directory}/data", str(directory), "task.json", "nodexfer via")


def test_inputs_arrive_with_their_sizes(place: Place) -> None:
    (place.site / "d/e").mkdir(parents=True)
    (place.site / "d/e/f").write_bytes(b"12345")
    (place.site / "g").write_bytes(b"g")
    carried = via_task.carry(errand(place, request(place, "/d", "/g")))
    assert {(file.number, file.path, file.size) for file in carried.files} == {(0, "e/f", 5), (1, "", 1)}
    assert (place.top / "other/data/0/e/f").read_bytes() == b"12345"
    assert (carried.endpoint, len(carried.tasks)) == (None, 1)


def test_a_task_is_over_by_the_deadline_of_its_request(place: Place) -> None:
    (place.site / "g").write_bytes(b"g")
    asked = request(place, "/g")
    via_task.carry(errand(place, asked))
    assert [job.submission.deadline for job in place.globus.jobs.values()] == [utc(asked.deadline)]


def test_all_that_a_command_names_of_a_collection_is_one_task(place: Place, by_via: Callable[[], Client]) -> None:
    pairs = [(f"site:/{number}", f"in/{number}") for number in range(30)]
    for number in range(30):
        (place.site / str(number)).write_bytes(b"x")
    done = bring(by_via(), intents.exact_fetches(pairs, place.config, base=str(place.node)))
    assert (len(done.files), len(done.tasks), len(place.globus.jobs)) == (30, 1, 1)
    outs = [(f"in/{number}", f"site:/out/{number}") for number in range(30)]
    sent = send(by_via(), intents.exact_sends(outs, place.config, base=str(place.node)))
    assert (len(sent.files), len(sent.tasks), len(place.globus.jobs)) == (30, 1, 2)
    assert not (place.top / "home/via").exists()


def test_an_output_that_is_written_to_on_its_way_is_sent_again(
    place: Place, by_via: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.node / "out"
    path.write_bytes(b"old")
    copied, copy = list[str](), via._copy

    def meddle(who: Client, source: str, target: str, where: str) -> None:
        copy(who, source, target, where)
        if not copied:
            path.write_bytes(b"newer")
        copied.append(source)

    monkeypatch.setattr(via, "_copy", meddle)
    sends = intents.exact_sends([("out", "site:/out")], place.config, base=str(place.node))
    done = send(by_via(), sends)
    assert (done.attempts, len(copied)) == (2, 2)
    assert (place.site / "out").read_bytes() == b"newer"
    assert not (place.top / "home/via").exists()


def test_a_copy_that_hangs_in_the_file_system_is_left_behind_at_the_deadline(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.node / "a").write_text("a")
    answers = threading.Event()

    def hang(*_: object) -> None:
        answers.wait(60.0)
        raise Stopped

    monkeypatch.setattr(salvage_copy, "copy", hang)
    monkeypatch.setattr(via, "_GRACE_SECONDS", 0.1)
    try:
        with pytest.raises(DeadlinePassed, match="The time was up"):
            via._copy(place.client(0.1), str(place.node / "a"), str(place.node / "b"), "to this node")
        assert not answers.is_set()
    finally:
        answers.set()


def test_the_child_is_heard_in_a_process_with_thousands_of_files(place: Place) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    child = procs.spawn(["true"], stdout=procs.PIPE)
    assert child.stdout is not None
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        high = os.fdopen(fcntl.fcntl(child.stdout.fileno(), fcntl.F_DUPFD_CLOEXEC, 1024), "rb")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    child.close()
    child.stdout = high
    with pytest.raises(TransferFailed, match="without a word"):
        via._listen(place.client(), request(place, "/a"), child)
    child.close()
    assert child.wait(10.0) == 0


def test_what_the_task_left_out_is_no_success_and_leaves_nothing(place: Place) -> None:
    (place.site / "d").mkdir()
    (place.site / "d/f").write_bytes(b"f")
    (place.site / "d/link").symlink_to("f")
    what = errand(place, request(place, "/d"))
    with pytest.raises(TransferUnproven, match="link is there and was not moved"):
        via_task.carry(what)
    assert not os.path.exists(what.data)
    assert via_errand.saved(what) is None


def test_a_missing_source_is_said_before_anything_is_submitted(place: Place) -> None:
    what = errand(place, request(place, "/missing"))
    with pytest.raises(SourceMissing):
        via_task.carry(what)
    assert place.globus.jobs == {}


def test_a_task_that_does_not_end_is_not_forgotten(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.site / "f").write_bytes(b"f")
    monkeypatch.setattr(via_task, "_CANCEL_SECONDS", 0.1)
    place.globus.failing["/f"] = "PERMISSION_DENIED"
    place.globus.errors["cancel"] = [ServiceUnreachable("Away.", "")] * 9
    what = errand(place, request(place, "/f"))
    for _ in range(2):
        with pytest.raises(PermissionRefused):
            via_task.carry(what)
        assert len(place.globus.jobs) == 1
    place.globus.errors.clear()
    via_task.call_off(what)
    assert [job.document.fatal_code for job in place.globus.jobs.values()] == ["CANCELED"]
    assert via_errand.saved(what) is None


def released(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing moves until a task has been cancelled."""
    place.globus.held = True
    cancel = place.globus.cancel

    def then(task: str) -> None:
        cancel(task)
        place.globus.held = False

    monkeypatch.setattr(place.globus, "cancel", then)


def fates(place: Place) -> list[str | None]:
    return [job.document.fatal_code or job.document.status for job in place.globus.jobs.values()]


def test_a_task_that_stands_still_is_told_and_another_one_is_tried(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.site / "f").write_bytes(b"f")
    released(place, monkeypatch)
    told: list[Progress] = []
    what = errand(place, request(place, "/f", stall=0.2))._replace(tell=told.append)
    carried = via_task.carry(what)
    assert fates(place) == ["CANCELED", "SUCCEEDED"]
    assert carried.tasks == tuple(job.document.id for job in place.globus.jobs.values())
    assert (carried.attempts, carried.troubles) == (2, ("STALLED",))
    assert (place.top / "other/data/0").read_bytes() == b"f"
    assert ("no bytes for 0.2 s", "STALLED") in [(news.state, news.trouble) for news in told]


def test_an_output_that_stood_still_arrives_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    released(place, monkeypatch)
    out = OutItem(number=0, collection=SITE, path="/out", root="/", is_directory=False, files=1, bytes=1)
    what = errand(place, request(place, direction="out", outs=(out,), stall=0.2))
    Path(what.data, "0").write_bytes(b"x")
    via_task.carry(what)
    assert fates(place)[0] == "CANCELED"
    assert [(path.name, path.read_bytes()) for path in place.site.iterdir()] == [("out", b"x")]


def test_it_is_tried_once_and_then_only_told(place: Place) -> None:
    (place.site / "f").write_bytes(b"f")
    place.globus.held = True
    told: list[str] = []

    def tell(news: Progress) -> None:
        told.append(news.state)
        if told.count("no bytes for 0.2 s, also not in another task") == 3:
            raise Interrupted("Seen.", "")

    what = errand(place, request(place, "/f", stall=0.2))._replace(tell=tell)
    with pytest.raises(Interrupted):
        via_task.carry(what)
    assert fates(place) == ["CANCELED", "ACTIVE"]
    assert told[-1] == "no bytes for 0.2 s, also not in another task"


def test_what_a_request_met_is_counted_over_all_of_its_tasks(place: Place) -> None:
    (place.site / "f").write_bytes(b"f")
    carry = via_task.carry(errand(place, request(place, "/f")))
    task = place.globus.jobs[carry.tasks[0]].document
    watch = Watch(60.0, 0.0)
    for faults in (3, 4):
        watch.begin(None, 0.0)
        assert watch.faults_seen == 0
        watch.see(msgspec.structs.replace(task, faults=faults), (), 0.0)
    assert (watch.faults, watch.faults_seen) == (7, 4)


def test_what_only_compares_or_waits_for_its_turn_is_left_alone(place: Place) -> None:
    (place.site / "f").write_bytes(b"f")
    place.globus.held = True
    with pytest.raises(DeadlinePassed):
        via_task.carry(errand(place, request(place, "/f", deadline=time.time() + 0.2)))
    task = next(iter(place.globus.jobs.values())).document
    for fields, ends in (
        ({}, True),
        ({"bytes_transferred": 1}, False),
        ({"nice_status": "Queued"}, False),
        ({"nice_status": "PAUSED"}, False),
    ):
        watch = Watch(10.0, 0.0)
        watch.begin(1, 0.0)
        watch.see(msgspec.structs.replace(task, **fields), (), 0.0)
        watch.see(msgspec.structs.replace(task, **fields), (), 11.0)
        assert watch.ends(11.0) is ends, fields


def test_one_whose_end_is_not_heard_at_once_is_followed_until_it_is(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.site / "f").write_bytes(b"f")
    released(place, monkeypatch)
    monkeypatch.setattr(via_task, "_CANCEL_SECONDS", 0.05)
    place.globus.errors["cancel"] = [ServiceUnreachable("Away.", "")] * 2
    carried = via_task.carry(errand(place, request(place, "/f", stall=0.2)))
    assert fates(place) == ["CANCELED", "SUCCEEDED"]
    assert carried.attempts == 2


def test_one_that_was_ended_though_nobody_said_so_is_no_failure(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.site / "f").write_bytes(b"f")
    released(place, monkeypatch)
    monkeypatch.setattr(via_task, "_CANCEL_SECONDS", 0.05)
    cancel = place.globus.cancel

    def unheard(task: str) -> None:
        cancel(task)
        raise ServiceUnreachable("The answer was lost.", "")

    monkeypatch.setattr(place.globus, "cancel", unheard)
    carried = via_task.carry(errand(place, request(place, "/f", stall=0.2)))
    assert fates(place) == ["CANCELED", "SUCCEEDED"]
    assert carried.attempts == 2


def test_calling_off_ends_a_task_whose_answer_was_never_heard(place: Place) -> None:
    (place.site / "f").write_bytes(b"f")
    place.globus.held = True
    what = errand(place, request(place, "/f", deadline=time.time() + 0.2))
    with pytest.raises(Exception, match="has not ended by"):
        via_task.carry(what)
    batch = via_errand.saved(what)
    assert batch is not None
    via_errand.keep(what, msgspec.structs.replace(batch, task=None))
    via_task.call_off(what)
    assert [job.document.fatal_code for job in place.globus.jobs.values()] == ["CANCELED"]
    assert via_errand.saved(what) is None


def test_calling_off_what_has_its_name_in_part_gets_it_to_the_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death between the rename of what is replaced and that of what replaces it: neither is lost."""

    class Died(BaseException):
        pass

    (place.site / "f").write_bytes(b"old")
    out = OutItem(0, SITE, "/f", str(place.node), False, 1, 3)
    what = errand(place, request(place, direction="out", ins=(), outs=(out,), overwrite=True))
    Path(what.data, "0").write_bytes(b"new")
    rename = place.globus.rename

    def once(*names: str) -> None:
        monkeypatch.setattr(place.globus, "rename", die)
        rename(*names)

    def die(*_: str) -> None:
        raise Died

    monkeypatch.setattr(place.globus, "rename", once)
    with pytest.raises(Died):
        via_task.carry(what)
    assert not (place.site / "f").exists()
    monkeypatch.setattr(place.globus, "rename", rename)
    via_task.call_off(what)
    assert {path.name: path.read_bytes() for path in place.site.iterdir()} == {"f": b"new"}
    assert via_errand.saved(what) is None
