"""Salvaged outputs reach their destinations, whoever dies on the way, and never a half of one."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodexfer.config import load
from nodexfer.errors import (
    CollectionUnknown,
    DeadlinePassed,
    DestinationExists,
    OutputMissing,
    ReceiptUnknown,
    SourceMissing,
    TransferFailed,
    TransferUnproven,
)
from nodexfer.globus.protocol import Submission
from nodexfer.staging import intents, journal, receipt, salvage, salvage_record, via_task
from nodexfer.staging.receipt import Receipt
from nodexfer.staging.resume import Options, find, resume
from nodexfer.staging.salvage import Salvaged
from tests.support.dying import survives
from tests.support.place import OTHER, SITE, Place

#: The site's own collection: it shows the home.
HOME = "55555555-5555-4555-8555-555555555555"


@pytest.fixture
def there(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place whose home a collection shows, as /users/me."""
    monkeypatch.setattr(via_task, "_POLL", (0.01, 0.02))
    config = place.top / "home/config.toml"
    config.write_text(
        f'{config.read_text()}[collections.home]\nid = "{HOME}"\nroot_path = "/users/me"\n'
        f'local_path = "{place.top}/home"\n'
    )
    place.config = load({"HOME": str(place.top / "home"), **place.environ})
    (place.top / "users").mkdir()
    (place.top / "users/me").symlink_to(place.top / "home")
    place.globus.collections[HOME] = str(place.top)
    return place


def save(place: Place, *sources: str, dest: str = "site:/out/", **options: Any) -> Salvaged:
    sends = intents.sends(list(sources), dest, place.config, base=str(place.node))
    return salvage.save(place.client(), sends, deadline=time.time() + 30, **options)


def send(place: Place, name: str = "", seconds: float = 20.0, **flags: bool) -> Receipt:
    (directory,) = find(place.config, [name] if name else [])
    return resume(place.config, directory, place.globus, Options(time.time() + seconds, **flags))


def tree(top: Path) -> dict[str, bytes]:
    for name in ("one", "below/two", "below/ü 漢"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(os.urandom(3000))
    (top / "nothing").write_bytes(b"")
    return contents(top)


def contents(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def is_clean(place: Place) -> bool:
    assert salvage_record.directories(place.config.home_paths) == []
    assert not (place.top / "home/salvage").exists()
    assert [path for top in (place.site, place.top / "other") for path in top.rglob(".nodexfer*")] == []
    return True


def test_outputs_arrive_by_one_task_and_the_salvage_goes(there: Place) -> None:
    have = tree(there.node / "d")
    (there.node / "f").write_bytes(b"f")
    saved = save(there, "d", "f")
    done = send(there, saved.receipt.id)
    assert contents(there.site / "out/d") == have
    assert (there.site / "out/f").read_bytes() == b"f"
    assert (done.state, done.salvage, done.unsaved, len(done.tasks)) == ("done", None, (), 1)
    assert {file.destination for file in done.files} == {
        f"globus://{SITE}/out/{path}" for path in [*(f"d/{name}" for name in have), "f"]
    }
    assert all(file.checksum for file in done.files)
    kept = receipt.read(done.path)
    assert kept == done
    assert is_clean(there)


@pytest.mark.parametrize("what", ["f", "d"])
def test_what_did_not_arrive_whole_is_not_published_and_the_salvage_stays(there: Place, what: str) -> None:
    tree(there.node / "d")
    (there.node / "f").write_bytes(b"of some length")
    saved = save(there, what)
    there.globus.truncate |= {"one", "0", f".nodexfer-{saved.receipt.id}-0"}
    with pytest.raises(TransferUnproven, match="bytes"):
        send(there)
    assert not (there.site / "out" / what).exists()
    there.globus.truncate.clear()
    assert send(there).state == "done"
    assert contents(there.site / "out") == {
        name: data for name, data in contents(there.node).items() if name.split("/")[0] == what
    }
    assert is_clean(there)


def test_all_that_waits_is_found_the_oldest_first_and_what_is_done_is_done(there: Place) -> None:
    (there.node / "f").write_bytes(b"f")
    ids = [save(there, "f", dest=f"site:/{name}").receipt.id for name in ("a", "b")]
    assert sorted(os.path.basename(path) for path in find(there.config, [])) == sorted(ids)
    paths = [f"/some/where/{ids[0]}.json", ids[1]]
    assert [os.path.basename(path) for path in find(there.config, paths)] == ids
    send(there, ids[0])
    assert find(there.config, [ids[0]]) == []
    with pytest.raises(ReceiptUnknown, match="r123"):
        find(there.config, ["r123"])
    with pytest.raises(ReceiptUnknown):
        find(there.config, [""])
    assert [os.path.basename(path) for path in find(there.config, [ids[1][:-1], ids[1]])] == [ids[1]]


def test_a_file_of_the_users_beside_the_salvages_is_in_nobodys_way(there: Place) -> None:
    (there.node / "a").write_text("a")
    saved = save(there, "a")
    (Path(saved.directory).parents[1] / "README").write_text("what is all this?")
    assert find(there.config, []) == [saved.directory]


def test_each_collection_gets_its_own_task(there: Place) -> None:
    (there.node / "f").write_bytes(b"f")
    pairs = [(str(there.node / "f"), "site:/x/f"), (str(there.node / "f"), "other:/y/")]
    sends = intents.exact_sends(pairs, there.config, base="/")
    salvage.save(there.client(), sends, deadline=time.time() + 9)
    done = send(there)
    assert (there.site / "x/f").read_bytes() == (there.top / "other/deep/y/f").read_bytes() == b"f"
    assert len(done.tasks) == 2
    assert {file.destination for file in done.files} == {f"globus://{SITE}/x/f", f"globus://{OTHER}/deep/y/f"}


def test_without_a_collection_that_shows_it_the_error_says_what_to_write(place: Place) -> None:
    (place.node / "f").write_bytes(b"f")
    save(place, "f")
    with pytest.raises(CollectionUnknown, match="local_path") as caught:
        send(place)
    assert "config.toml" in caught.value.next
    assert len(find(place.config, [])) == 1


def test_an_existing_destination_is_an_error_and_the_salvage_waits(there: Place) -> None:
    (there.node / "f").write_bytes(b"new")
    (there.site / "f").write_bytes(b"old")
    save(there, "f", dest="site:/f")
    with pytest.raises(DestinationExists):
        send(there)
    assert (there.site / "f").read_bytes() == b"old"
    send(there, overwrite=True)
    assert (there.site / "f").read_bytes() == b"new"
    assert is_clean(there)


def test_the_flags_of_the_stage_out_are_kept(there: Place) -> None:
    (there.node / "f").write_bytes(b"new")
    (there.site / "f").write_bytes(b"old")
    save(there, "f", dest="site:/f", overwrite=True)
    send(there)
    assert (there.site / "f").read_bytes() == b"new"


def cut(saved: Salvaged, keep: int) -> None:
    """As if the saver had died after ``keep`` files."""
    path = Path(saved.directory) / "journal"
    path.write_bytes(b"".join(line + b"\n" for line in path.read_bytes().splitlines()[:keep]) + b'{"order": 9')


def test_a_directory_that_lacks_files_is_sent_only_under_a_name_that_says_so(there: Place) -> None:
    have = tree(there.node / "d")
    saved = save(there, "d")
    cut(saved, 2)
    with pytest.raises(TransferUnproven, match=r"2 of 4 files") as caught:
        send(there)
    assert caught.value.next == f"nodexfer resume --partial {saved.receipt.id}"
    assert not (there.site / "out").exists()
    done = send(there, partial=True)
    sent = contents(there.site / "out/d.partial")
    assert len(sent) == 2
    assert sent.items() <= have.items()
    assert os.listdir(there.site / "out") == ["d.partial"]
    assert done.state == "done"
    assert is_clean(there)


def test_whole_outputs_go_even_if_another_lacks_files(there: Place) -> None:
    tree(there.node / "d")
    (there.node / "f").write_bytes(b"f")
    saved = save(there, "d", "f")
    Path(next(copy.place(saved.directory) for copy in journal.read(saved.directory) if copy.number == 0)).unlink()
    with pytest.raises(TransferUnproven):
        send(there)
    assert os.listdir(there.site / "out") == ["f"]
    send(there, partial=True)
    assert sorted(os.listdir(there.site / "out")) == ["d.partial", "f"]
    assert is_clean(there)


def test_a_name_that_is_not_utf8_is_sent_under_the_one_that_was_said(there: Place) -> None:
    name = os.fsdecode(b"caf\xe9")
    (there.node / "d").mkdir()
    (there.node / "d" / name).write_bytes(b"x")
    (there.node / name).write_bytes(b"y")
    save(there, "d", name)
    done = send(there)
    assert contents(there.site / "out") == {"d/caf%E9": b"x", "caf%E9": b"y"}
    assert [text.rpartition(" as ")[2] for text in done.warnings] == ["caf%E9"] * 2
    kept = receipt.read(done.path)
    assert kept is not None
    assert {file.source for file in kept.files} == {f"{there.node}/d/caf%E9", f"{there.node}/caf%E9"}
    assert kept.warnings == done.warnings
    assert is_clean(there)


def test_a_damaged_copy_is_never_sent(there: Place) -> None:
    (there.node / "f").write_bytes(b"good")
    (there.node / "g").write_bytes(b"good")
    saved = save(there, "f", "g")
    Path(saved.files[0].destination).write_bytes(b"evil")
    done = send(there)
    assert os.listdir(there.site / "out") == [os.path.basename(saved.files[1].source)]
    assert done.unsaved == (f"{saved.files[0].source}: its copy was damaged",)


def test_a_salvage_of_nothing_is_forgotten_in_words(there: Place) -> None:
    (there.node / "f").write_bytes(b"good")
    saved = save(there, "f")
    cut(saved, 0)
    with pytest.raises(OutputMissing, match="before anything"):
        send(there)
    assert not os.path.exists(saved.receipt.path)
    assert is_clean(there)


def test_a_hopeless_task_is_ended_and_leaves_nothing_and_the_next_resume_starts_anew(there: Place) -> None:
    (there.node / "f").write_bytes(b"f")
    saved = save(there, "f")
    name = f"/users/me/{Path(saved.directory).relative_to(there.top / 'home')}/data/0"
    there.globus.failing[name] = "FILE_NOT_FOUND"
    with pytest.raises(SourceMissing):
        send(there)
    assert [job.document.fatal_code for job in there.globus.jobs.values()] == ["CANCELED"]
    there.globus.failing.clear()
    assert len(send(there).tasks) == 2
    assert is_clean(there)


def test_what_is_still_under_way_at_the_deadline_goes_on_next_time(there: Place) -> None:
    (there.node / "f").write_bytes(b"f")
    save(there, "f")
    there.globus.held = True
    with pytest.raises(DeadlinePassed):
        send(there, seconds=2.0)
    there.globus.held = False
    assert len(send(there).tasks) == 1
    assert len(there.globus.jobs) == 1
    assert is_clean(there)


def test_a_task_that_expired_meanwhile_is_replaced(there: Place) -> None:
    (there.node / "f").write_bytes(b"f")
    save(there, "f")
    there.globus.held = True
    with pytest.raises(DeadlinePassed):
        send(there, seconds=2.0)
    (job,) = there.globus.jobs.values()
    job.change(status="FAILED", fatal_code="EXPIRED", nice_status=None)
    there.globus.held = False
    assert len(send(there).tasks) == 2
    assert (there.site / "out/f").read_bytes() == b"f"


def test_two_at_once_are_told(there: Place) -> None:
    (there.node / "f").write_bytes(b"f")
    saved = save(there, "f")
    with salvage_record.claimed(saved.directory), pytest.raises(TransferFailed, match="another process"):
        send(there)


class Shared:
    """A Globus whose submissions and tasks survive the process that uses it: on disk, by their ids."""

    def __init__(self, place: Place, directory: Path) -> None:
        self._globus = place.globus
        self._directory = directory
        directory.mkdir(exist_ok=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._globus, name)

    def submit(self, submission: Submission) -> str:
        (self._directory / submission.submission_id).write_bytes(msgspec.json.encode(submission))
        return submission.submission_id

    def _known(self, task: str) -> str:
        submission = msgspec.json.decode((self._directory / task).read_bytes(), type=Submission)
        return str(self._globus.submit(submission))

    def tasks(self, ids: list[str]) -> dict[str, Any]:
        there = {task: self._known(task) for task in ids if (self._directory / task).exists()}
        found = self._globus.tasks(list(there.values()))
        ours = {task: msgspec.structs.replace(found[real], id=task) for task, real in there.items() if real in found}
        return {**ours, **self._globus.tasks([task for task in ids if task in self._globus.jobs])}

    def moved(self, task: str) -> Any:
        self._globus.tasks([self._known(task)])
        return self._globus.moved(self._known(task))


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", [False, True])
def test_whenever_it_dies_the_next_resume_brings_it_to_the_end(there: Place, tmp_path: Path, overwrite: bool) -> None:
    """At every change of a file and at every call of the service: nothing lost, nothing twice, nothing left."""
    have = tree(there.node / "d")
    globus = Shared(there, tmp_path / "service")
    calls: list[tuple[object, str]] = [
        (globus, name) for name in ("submit", "tasks", "moved", "submission_id", "stat", "ls", "mkdir", "rename")
    ]
    points = 0
    while True:
        if overwrite:
            (there.site / "out").mkdir(exist_ok=True)
            (there.site / "out/d").mkdir(exist_ok=True)
            (there.site / "out/d/old").write_bytes(b"old")
        saved = save(there, "d", overwrite=overwrite)
        over = survives(partial(_resume, there, globus, saved.directory), points + 1, calls)
        if not over:
            points += 1
            for directory in find(there.config, [saved.receipt.id]):
                _resume(there, globus, directory)
        assert contents(there.site / "out/d") == have
        assert os.listdir(there.site / "out") == ["d"]
        kept = receipt.read(saved.receipt.path)
        assert kept is not None
        assert kept.state == "done"
        salvage_record.sweep(there.config.home_paths)
        assert is_clean(there)
        assert len(list((tmp_path / "service").iterdir())) == 1
        if over:
            break
        for path in [*(tmp_path / "service").iterdir()]:
            path.unlink()
        shutil.rmtree(there.site / "out")
    assert points > 40


def _resume(place: Place, globus: Any, directory: str) -> None:
    resume(place.config, directory, globus, Options(time.time() + 20))
