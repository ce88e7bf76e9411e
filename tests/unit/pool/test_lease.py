"""lease: the highest number owns, exactly one gets the next one, and only proof or silence frees it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from nodexfer.errors import HomeFull, LeaseLost, PoolEntryBroken
from nodexfer.pool import lease as leases
from nodexfer.pool.lease import Lease, Me, Observer, Verdict, verdict
from tests.unit.pool.support import ID, ME

OTHER = ME._replace(host="node2", boot="boot-2", place="place-2", job="18")


def take(directory: Path, number: int, me: Me = ME) -> Lease:
    found = leases.take(str(directory), number, me, f"{ID}1", 300.0)
    assert found is not None
    return found


def held(me: Me = OTHER) -> Lease:
    return Lease(4, f"{ID}1", "node-1", "/pool/node-1", *me, 300.0, 0.0, False)


def test_no_lease_and_a_lease_given_back_are_free() -> None:
    assert verdict(None, ME, 0) is Verdict.FREE
    assert verdict(held()._replace(released=True), ME, 0) is Verdict.FREE


def test_this_places_own_lease_is_ours_whichever_job_took_it() -> None:
    assert verdict(held(ME._replace(job="3")), ME, 1000, run_over=True) is Verdict.OURS


@pytest.mark.parametrize(
    ("owner", "unchanged", "run_over", "place_dead", "expected"),
    [
        # Silence alone frees after the whole duration, and then the service is asked.
        (OTHER, 0, None, None, Verdict.HELD),
        (OTHER, 299.9, None, None, Verdict.HELD),
        (OTHER, 300, None, None, Verdict.SUSPECT),
        # The scheduler of the same cluster, after a silence that no take-over survives.
        (OTHER, 100, True, None, Verdict.DEAD),
        (OTHER, 99, True, None, Verdict.HELD),
        (OTHER, 100, False, None, Verdict.HELD),
        (OTHER._replace(cluster="beta"), 100, True, None, Verdict.HELD),
        (OTHER._replace(scheduler="pbs"), 100, True, None, Verdict.HELD),
        # The host was booted since: only where "the host" means the same.
        (OTHER._replace(host="node1"), 0, None, None, Verdict.DEAD),
        (OTHER._replace(host="node1", cluster="beta"), 0, None, None, Verdict.HELD),
        (ME._replace(boot="boot-0", scheduler="local"), 0, None, None, Verdict.DEAD),
        (OTHER._replace(host="node1", scheduler="local", cluster="node1"), 0, None, None, Verdict.HELD),
        # Another place of this node, in this boot: its locks decide, or the scheduler.
        (ME._replace(place="place-3"), 0, None, True, Verdict.DEAD),
        (ME._replace(place="place-3"), 0, None, None, Verdict.HELD),
        (ME._replace(place="place-3"), 100, True, None, Verdict.DEAD),
    ],
)
def test_only_proof_or_silence_frees(
    owner: Me, unchanged: float, run_over: bool | None, place_dead: bool | None, expected: Verdict
) -> None:
    assert verdict(held(owner), ME, unchanged, run_over=run_over, place_dead=place_dead) is expected


def test_without_a_scheduler_equal_host_names_prove_nothing() -> None:
    local = ME._replace(scheduler="local", cluster="node1")
    owner = held(local._replace(boot="boot-9", place="place-9"))
    assert verdict(owner, local, 0) is Verdict.HELD


def test_an_observer_counts_from_the_last_change_it_saw() -> None:
    observer = Observer()
    lease = held()._replace(renewed_ns=1)
    assert [observer.unchanged(lease, now) for now in (10.0, 14.0)] == [0.0, 4.0]
    assert observer.unchanged(lease._replace(renewed_ns=2), 15.0) == 0.0
    assert observer.unchanged(lease._replace(renewed_ns=2), 16.0) == 1.0
    assert observer.unchanged(lease._replace(number=5, renewed_ns=2), 17.0) == 0.0


def test_a_lease_is_read_as_it_was_taken(tmp_path: Path) -> None:
    taken = take(tmp_path, 1)
    found = leases.top(str(tmp_path))
    assert found is not None
    assert found._replace(renewed_ns=0) == taken
    assert os.listdir(tmp_path) == ["lease.1"]


def test_a_number_is_had_once(tmp_path: Path) -> None:
    take(tmp_path, 1)
    assert leases.take(str(tmp_path), 1, OTHER, f"{ID}1", 300.0) is None
    assert os.listdir(tmp_path) == ["lease.1"]


def test_a_gap_below_the_highest_is_not_taken_by_who_slept(tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        take(tmp_path, number)
    assert leases.numbers(str(tmp_path)) == [3, 4], "the owner of n removes what lies below n - 1"
    assert leases.take(str(tmp_path), 2, OTHER, f"{ID}1", 300.0) is None
    assert leases.numbers(str(tmp_path)) == [3, 4]


def test_numbers_are_not_compared_as_text(tmp_path: Path) -> None:
    for number in (9, 10):
        take(tmp_path, number)
    top = leases.top(str(tmp_path))
    assert top is not None
    assert top.number == 10


def test_a_renewal_shows_and_a_higher_number_is_the_end(tmp_path: Path) -> None:
    mine = take(tmp_path, 1)
    os.utime(mine.path, (1, 1))
    leases.renew(mine)
    assert os.stat(mine.path).st_mtime > 1
    take(tmp_path, 2, OTHER)
    with pytest.raises(LeaseLost, match="taken over by job 18 on node2"):
        leases.renew(mine)


def test_a_lease_whose_file_is_gone_is_lost(tmp_path: Path) -> None:
    mine = take(tmp_path, 1)
    os.unlink(mine.path)
    with pytest.raises(LeaseLost, match="gone"):
        leases.renew(mine)


def test_a_lease_whose_files_all_go_while_it_is_renewed_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = take(tmp_path, 1)
    monkeypatch.setattr(leases, "numbers", lambda directory: [])
    with pytest.raises(LeaseLost, match="gone"):
        leases.renew(mine)


def test_a_lease_that_its_owner_writes_anew_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS: what was renamed over on the server is a stale handle to who has it open."""
    mine = take(tmp_path, 3)
    stale, fstat = [True], os.fstat

    def once(descriptor: int) -> os.stat_result:
        if stale:
            stale.pop()
            raise OSError(errno.ESTALE, "Stale file handle")
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", once)
    top = leases.top(str(tmp_path))
    assert not stale
    assert top is not None
    assert top.number == mine.number


def test_given_back_it_is_free_and_keeps_its_number(tmp_path: Path) -> None:
    mine = take(tmp_path, 3)
    leases.give_back(mine)
    top = leases.top(str(tmp_path))
    assert top is not None
    assert (top.number, top.released, verdict(top, OTHER, 0)) == (3, True, Verdict.FREE)
    assert os.listdir(tmp_path) == ["lease.3"]


def test_a_take_over_goes_on_under_the_number_in_its_own_name(tmp_path: Path) -> None:
    mine = take(tmp_path, 3)
    next_leader = ME._replace(job="99", run=2)
    resumed = leases.resume(mine, next_leader)
    top = leases.top(str(tmp_path))
    assert resumed is not None
    assert top is not None
    assert (resumed.number, top.number, top.job, top.run, top.released) == (3, 3, "99", 2, False)


def test_a_take_over_after_a_long_silence_takes_the_next_number(tmp_path: Path) -> None:
    mine = take(tmp_path, 3)
    long_ago = os.stat(mine.path).st_mtime - 300 * leases.RESUME - 1
    os.utime(mine.path, (long_ago, long_ago))
    assert leases.resume(mine, ME) is None
    assert os.listdir(tmp_path) == ["lease.3"]


@pytest.mark.parametrize(("seconds", "goes_on"), [(24.0, True), (26.0, False)])
def test_a_take_over_that_took_long_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, goes_on: bool
) -> None:
    """A file system may keep its steps apart for as long as a contender needs."""
    mine, clock, rename = take(tmp_path, 3), [1000.0], os.rename

    def renamed(old: str, new: str) -> None:
        clock[0] += seconds
        rename(old, new)

    monkeypatch.setattr("nodexfer.pool.lease.time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(os, "rename", renamed)
    assert (leases.resume(mine, ME) is not None) == goes_on


def test_a_take_over_that_lost_the_lease_does_not_go_on(tmp_path: Path) -> None:
    mine = take(tmp_path, 3)
    take(tmp_path, 4, OTHER)
    assert leases.resume(mine, ME) is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"format": 1}', b"\xff", b'{"format": 1, "host": 7}'])
def test_a_lease_that_can_not_be_read_is_held_until_it_was_silent(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "lease.7").write_bytes(text)
    top = leases.top(str(tmp_path))
    assert top is not None
    assert verdict(top, ME, 599) is Verdict.HELD
    assert verdict(top, ME, 601) is Verdict.SUSPECT
    assert top.holder == "an owner that can not be read"


def test_a_newer_lease_is_respected_for_ever(tmp_path: Path) -> None:
    take(tmp_path, 1)
    record = json.loads((tmp_path / "lease.1").read_text())
    (tmp_path / "lease.2").write_text(json.dumps({**record, "format": 2}))
    top = leases.top(str(tmp_path))
    assert top is not None
    assert verdict(top, ME, 1e9) is Verdict.HELD


def test_a_full_home_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HomeFull, match="No space"):
        leases.take(str(tmp_path), 1, ME, f"{ID}1", 300.0)
    assert os.listdir(tmp_path) == []


def test_an_entry_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoolEntryBroken, match="node-1 is gone"):
        leases.top(str(tmp_path / "node-1"))
