"""Whole requests, from the plan to the receipt, with the desk in this process and a Globus in memory."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from nodexfer.errors import (
    DestinationExists,
    DestinationNotAllowed,
    NodexferError,
    OutputMissing,
    PermissionRefused,
    SourceMissing,
    SourceUnsupported,
    TransferUnproven,
    UrlMalformed,
)
from nodexfer.staging import intents
from nodexfer.staging.bring import bring
from nodexfer.staging.receipt import Receipt, read
from nodexfer.staging.send import send
from tests.support.place import ENDPOINT, OTHER, SITE, Place

AWKWARD = ["plain", "a b", "ü ß 漢", "100%25", "a,b", "[x]{y}", "-dash", "~t", "new\nline", "'q\"", "*", ".hidden"]


def stage_in(place: Place, *arguments: str, **flags: Any) -> Receipt:
    fetches = intents.fetches(list(arguments[:-1]), arguments[-1], place.config, base=str(place.node))
    return bring(place.client(), fetches, **flags)


def stage_out(place: Place, *arguments: str, **flags: Any) -> Receipt:
    sends = intents.sends(list(arguments[:-1]), arguments[-1], place.config, base=str(place.node))
    return send(place.client(), sends, **flags)


def tree(top: Path, names: list[str] | None = None) -> dict[str, bytes]:
    """Make a directory with files of these names, one in a subdirectory and an empty one; what is in it."""
    files = names or ["one", "two", "below/three", "empty"]
    for name in files:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"" if name == "empty" else f"data of {name}".encode() * 100)
    return contents(top)


def contents(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_a_file_arrives_with_a_receipt_and_nothing_is_left(place: Place) -> None:
    (place.site / "a").write_bytes(b"x" * 1000)
    with place.desk():
        receipt = stage_in(place, "site:/a", "here")
    assert (place.node / "here").read_bytes() == b"x" * 1000
    assert [(file.source, file.destination, file.size) for file in receipt.files] == [
        (f"globus://{SITE}/a", str(place.node / "here"), 1000)
    ]
    assert (receipt.state, receipt.bytes, receipt.endpoint, receipt.lease) == ("done", 1000, ENDPOINT, 1)
    assert receipt.tasks == tuple(place.globus.jobs)
    assert read(receipt.path) == receipt
    assert place.leftovers() == []


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_arrive_as_they_are(place: Place, name: str) -> None:
    (place.site / name).write_bytes(name.encode())
    with place.desk():
        stage_in(place, f"site:/{name}", f"./{name}.here")
        stage_out(place, f"./{name}.here", f"site:/{name}.back")
    assert (place.site / f"{name}.back").read_bytes() == name.encode()
    assert place.leftovers() == []


def test_directories_arrive_whole_there_and_back(place: Place) -> None:
    files = tree(place.site / "set")
    (place.site / "set/nothing").mkdir()
    with place.desk():
        receipt = stage_in(place, "site:/set", "set")
        stage_out(place, "set", "other:/results/deeper/set")
    assert contents(place.node / "set") == files
    assert (place.node / "set/nothing").is_dir()
    assert contents(place.top / "other/deep/results/deeper/set") == files
    assert {file.destination for file in receipt.files} == {str(place.node / "set" / name) for name in files}
    assert place.leftovers() == []


def test_sources_of_two_collections_are_one_stage_in(place: Place) -> None:
    (place.site / "a").write_text("a")
    (place.top / "other/deep").mkdir()
    (place.top / "other/deep/b").write_text("b")
    with place.desk():
        receipt = stage_in(place, "site:/a", f"globus://{OTHER}/deep/b", "both/")
    assert contents(place.node / "both") == {"a": b"a", "b": b"b"}
    assert len(receipt.tasks) == 2
    assert place.leftovers() == []


def test_an_existing_directory_is_gone_into_at_both_sides(place: Place) -> None:
    (place.site / "a").write_text("a")
    (place.site / "results").mkdir()
    (place.node / "dir").mkdir()
    with place.desk():
        stage_in(place, "site:/a", "dir")
        stage_out(place, "dir/a", "site:/results")
        stage_out(place, "dir", "site:/results")
    assert contents(place.site / "results") == {"a": b"a", "dir/a": b"a"}


def test_a_missing_source_fails_before_anything_is_submitted(place: Place) -> None:
    (place.site / "a").write_text("a")
    with place.desk(), pytest.raises(SourceMissing, match="/gone"):
        stage_in(place, "site:/a", "site:/gone", "into/")
    assert "submit" not in place.globus.calls
    assert not (place.node / "into").exists()
    assert place.leftovers() == []
    assert list((place.top / "home/receipts").rglob("*.json")) == []


def test_a_source_that_vanishes_after_the_look_ends_the_request(place: Place) -> None:
    (place.site / "a").write_text("a")
    place.globus.failing["/a"] = "FILE_NOT_FOUND"
    with place.desk(), pytest.raises(SourceMissing, match="FILE_NOT_FOUND"):
        stage_in(place, "site:/a", "here")
    assert [job.document.status for job in place.globus.jobs.values()] == ["FAILED"]
    assert place.leftovers() == []


def test_one_bad_source_does_not_take_the_others_of_its_task_along(place: Place) -> None:
    for name in "abcd":
        (place.site / name).write_text(name)
    place.globus.failing["/c"] = "PERMISSION_DENIED"
    outcomes: dict[str, object] = {}

    def one(name: str) -> None:
        try:
            outcomes[name] = stage_in(place, f"site:/{name}", f"in-{name}").state
        except NodexferError as error:
            outcomes[name] = type(error)

    with place.desk(serve=False) as inbox:
        threads = [threading.Thread(target=one, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        while place.globus.calls.count("stat") < 4:
            pass
        place.serve(inbox)
        for thread in threads:
            thread.join()
    assert outcomes == {"a": "done", "b": "done", "c": PermissionRefused, "d": "done"}
    assert len(place.globus.jobs) == 2
    assert place.leftovers() == []


def test_sixty_requests_that_wait_are_one_task(place: Place) -> None:
    for number in range(60):
        (place.site / f"f{number}").write_text(str(number))
    with place.desk(serve=False) as inbox:
        threads = [
            threading.Thread(target=stage_in, args=(place, f"site:/f{number}", f"got{number}")) for number in range(60)
        ]
        for thread in threads:
            thread.start()
        while place.globus.calls.count("stat") < 60:
            pass
        place.serve(inbox)
        for thread in threads:
            thread.join()
    assert {(place.node / f"got{number}").read_text() for number in range(60)} == {str(n) for n in range(60)}
    assert len(place.globus.jobs) <= 2
    assert place.leftovers() == []


@pytest.mark.parametrize("where", ["file", "directory"])
def test_an_existing_destination_on_the_node_is_left_alone(place: Place, where: str) -> None:
    (place.site / "a").write_text("new")
    target = place.node / "here" / "a" if where == "directory" else place.node / "here"
    target.parent.mkdir(exist_ok=True)
    target.write_text("old")
    with pytest.raises(DestinationExists):
        stage_in(place, "site:/a", "here")
    assert target.read_text() == "old"
    with place.desk():
        stage_in(place, "site:/a", "here", overwrite=True)
    assert target.read_text() == "new"
    assert place.leftovers() == []


def test_an_existing_destination_at_the_far_side_is_left_alone(place: Place) -> None:
    (place.site / "a").write_text("old")
    (place.node / "a").write_text("new")
    with place.desk():
        with pytest.raises(DestinationExists):
            stage_out(place, "a", "site:/a")
        assert place.globus.jobs == {}
        assert (place.site / "a").read_text() == "old"
        stage_out(place, "a", "site:/a", overwrite=True)
    assert (place.site / "a").read_text() == "new"
    assert place.leftovers() == []


@pytest.mark.parametrize("side", ["in", "out"])
def test_overwrite_replaces_a_directory_and_merge_adds_to_it(place: Place, side: str) -> None:
    source, target = (place.site, place.node) if side == "in" else (place.node, place.site)
    (source / "set/sub").mkdir(parents=True)
    (source / "set/both").write_text("new")
    (source / "set/sub/new").write_text("new")
    (target / "set/sub").mkdir(parents=True)
    (target / "set/both").write_text("old")
    (target / "set/sub/old").write_text("old")

    def move(**flags: Any) -> None:
        if side == "in":
            bring(
                place.client(), intents.exact_fetches([("site:/set", "set")], place.config, base=str(target)), **flags
            )
        else:
            send(place.client(), intents.exact_sends([("set", "site:/set")], place.config, base=str(source)), **flags)

    with place.desk():
        with pytest.raises(DestinationExists):
            move()
        move(merge=True)
        assert contents(target / "set") == {"both": b"new", "sub/new": b"new", "sub/old": b"old"}
        move(overwrite=True)
        assert contents(target / "set") == {"both": b"new", "sub/new": b"new"}
    assert place.leftovers() == []


def test_a_destination_outside_the_roots_is_refused_at_once(place: Place) -> None:
    for path in (str(place.top / "home/x"), "/", str(place.config.node_dir), "../escape", "nodexfer/x"):
        with pytest.raises((DestinationNotAllowed, DestinationExists)):
            stage_in(place, "site:/a", path)
    (place.node / "link").symlink_to(place.top / "home")
    with pytest.raises(DestinationNotAllowed):
        stage_in(place, "site:/a", "link/x")


def test_two_sources_of_one_destination_are_refused_whatever_it_is_called(place: Place) -> None:
    for name in "ab":
        (place.site / name).write_text(name)
    (place.node / "dir").mkdir()
    (place.node / "link").symlink_to("dir")
    pairs = [("site:/a", "dir/x"), ("site:/b", "link/x")]
    with place.desk(), pytest.raises(DestinationExists, match="Two of the sources"):
        bring(place.client(), intents.exact_fetches(pairs, place.config, base=str(place.node)), overwrite=True)
    assert not (place.node / "dir/x").exists()


def test_a_name_that_is_not_utf_8_is_refused_in_words(place: Place) -> None:
    odd = os.fsdecode(b"odd\xff")
    (place.node / "set" / odd).mkdir(parents=True)
    (place.node / odd).write_text("x")
    (place.site / "a").write_text("a")
    with place.desk():
        for source in ("set", odd):
            with pytest.raises(SourceUnsupported, match="UTF-8"):
                stage_out(place, source, "site:/out/")
        with pytest.raises(UrlMalformed, match="UTF-8"):
            stage_in(place, f"site:/{odd}", "here")
        assert stage_in(place, "site:/a", f"{odd}.in").state == "done"
    assert (place.node / f"{odd}.in").read_text() == "a"
    assert place.leftovers() == []


@pytest.mark.parametrize("size", [201, 251, 255])
def test_long_names_arrive_as_they_are(place: Place, size: int) -> None:
    name = "n" * size
    (place.site / name).write_text("x")
    with place.desk():
        stage_in(place, f"site:/{name}", "./")
        stage_in(place, f"site:/{name}", "./", overwrite=True)
        stage_out(place, name, "site:/out/")
        stage_out(place, name, "site:/out/", overwrite=True)
    assert (place.site / "out" / name).read_text() == "x"
    assert place.leftovers() == []


def test_an_output_that_is_published_has_the_modes_that_cp_would_give_it(place: Place) -> None:
    (place.site / "a").write_text("a")
    (place.site / "a").chmod(0o600)
    with place.desk():
        stage_in(place, "site:/a", "here")
    (place.node / "cp").write_text("")
    assert (place.node / "here").stat().st_mode == (place.node / "cp").stat().st_mode


def test_an_output_that_is_missing_stops_all_of_them(place: Place) -> None:
    (place.node / "a").write_text("a")
    with place.desk(), pytest.raises(OutputMissing, match="never-written"):
        stage_out(place, "a", "never-written", "site:/out/")
    assert not (place.site / "out").exists()
    assert place.leftovers() == []


def test_links_to_files_are_sent_as_files_and_other_kinds_refused(place: Place) -> None:
    (place.node / "set").mkdir()
    (place.node / "target").write_text("t")
    (place.node / "set/link").symlink_to(place.node / "target")
    with place.desk():
        stage_out(place, "set", "site:/set")
        assert (place.site / "set/link").read_text() == "t"
        assert not (place.site / "set/link").is_symlink()
        (place.node / "set/dirlink").symlink_to(place.node)
        with pytest.raises(SourceUnsupported, match="link to a directory"):
            stage_out(place, "set", "site:/set2")
        (place.node / "set/dirlink").unlink()
        os.mkfifo(place.node / "set/fifo")
        with pytest.raises(SourceUnsupported, match="neither"):
            stage_out(place, "set", "site:/set2")
    assert not (place.site / "set2").exists()


def test_a_short_arrival_is_never_published(place: Place) -> None:
    (place.site / "a").write_bytes(b"x" * 1000)
    place.globus.truncate.add("/a")
    with place.desk(), pytest.raises(TransferUnproven, match="500 bytes here and 1000"):
        stage_in(place, "site:/a", "here")
    assert not (place.node / "here").exists()
    assert place.leftovers() == []


@pytest.mark.parametrize("side", ["in", "out"])
def test_a_short_file_deep_in_a_directory_is_never_published(place: Place, side: str) -> None:
    tree((place.site if side == "in" else place.node) / "set")
    place.globus.truncate.add("three")
    with place.desk(), pytest.raises(TransferUnproven, match=r"below/three.* bytes here and"):
        stage_in(place, "site:/set", "here") if side == "in" else stage_out(place, "set", "site:/here")
    assert not (place.node / "here").exists()
    assert not (place.site / "here").exists()
    assert place.leftovers() == []


def test_a_file_that_the_service_did_not_name_is_not_proven(place: Place) -> None:
    tree(place.node / "set")
    place.globus.skipped = 1
    with place.desk(), pytest.raises(TransferUnproven, match="skipped"):
        stage_out(place, "set", "site:/set")
    assert not (place.site / "set").exists()
    assert place.leftovers() == []


def test_an_output_that_changes_on_its_way_is_sent_again(place: Place) -> None:
    (place.node / "a").write_text("first")
    place.globus.held = True
    thread = threading.Thread(target=_change_when_submitted, args=(place,))
    thread.start()
    with place.desk():
        receipt = stage_out(place, "a", "site:/a")
    thread.join()
    assert (place.site / "a").read_bytes() == (place.node / "a").read_bytes()
    assert (receipt.attempts, receipt.bytes) == (2, (place.node / "a").stat().st_size)
    assert place.leftovers() == []


def _change_when_submitted(place: Place) -> None:
    while not place.globus.jobs:
        pass
    (place.node / "a").write_text("other, longer")
    place.globus.held = False
