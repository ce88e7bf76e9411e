"""Renewing the lease: what was proven, from when on, and what is said when it is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodexfer.errors import LeaseLost, PoolEntryBroken
from nodexfer.gcp.guard import now
from nodexfer.node import renewal as renewal_module
from nodexfer.node.renewal import Renewal
from nodexfer.pool import lease as leases
from tests.support import eventually

ME = leases.Me("slurm", "c", "host", "boot", "place", "/tmp/n", "1", 0)


@pytest.fixture
def lease(tmp_path: Path) -> leases.Lease:
    taken = leases.take(str(tmp_path), 1, ME, "endpoint", 3.0)
    assert taken is not None
    return taken


@pytest.fixture
def heard() -> threading.Event:
    return threading.Event()


@pytest.fixture
def renewal(lease: leases.Lease, heard: threading.Event) -> Iterator[Renewal]:
    made = Renewal(lease, now(), heard.set)
    yield made
    made.stop()


def test_a_lease_that_is_renewed_lasts_longer_than_it_was_taken_for(renewal: Renewal, heard: threading.Event) -> None:
    first = now() + renewal.left
    renewal.start()
    eventually(lambda: now() > first + 0.3)
    assert heard.wait(10)
    eventually(lambda: renewal.left > 0)
    assert renewal.lost is None


def test_what_is_allowed_counts_from_the_beginning_of_the_renewal(
    renewal: Renewal, heard: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that takes its time must not lengthen what the lease allows."""
    release, over = threading.Event(), threading.Event()
    # The one after it comes 0.3 s later, and is not what is looked at.
    monkeypatch.setattr(leases, "renew", lambda _: (over if heard.is_set() else release).wait(20))
    renewal.start()
    eventually(lambda: renewal.left < 0)
    release.set()
    assert heard.wait(10)
    # It began 0.3 s after the lease was taken; from its end on it would be two seconds.
    assert renewal.left < 1.0
    over.set()


@pytest.mark.parametrize(
    "error", [OSError("stale file handle"), PoolEntryBroken("The leases come and go faster than they can be read.")]
)
def test_a_file_system_that_fails_is_tried_again(
    renewal: Renewal, heard: threading.Event, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    calls = []

    def fail_once(_: leases.Lease) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise error

    monkeypatch.setattr(leases, "renew", fail_once)
    renewal.start()
    assert heard.wait(10)
    assert len(calls) >= 2


def test_a_lease_that_had_run_out_is_good_again_when_nobody_took_it_at_the_same_moment(
    renewal: Renewal, heard: threading.Event, lease: leases.Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system comes back when another node has just found the lease silent: both would start GCP."""
    renewed: list[float] = []

    def taken_at_the_same_moment(mine: leases.Lease) -> None:
        if renewal.left > 0:
            raise OSError("the file server is away")
        really(mine)
        renewed.append(renewal.left)
        if len(renewed) == 1:
            assert leases.take(lease.directory, 2, ME._replace(place="another"), "endpoint", 1.0) is not None

    really = leases.renew
    monkeypatch.setattr(renewal_module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(leases, "renew", taken_at_the_same_moment)
    renewal.start()
    assert heard.wait(20)
    assert isinstance(renewal.lost, LeaseLost)
    assert renewal.left <= 0, "GCP was never allowed to start"
    assert len(renewed) == 1


def test_a_fault_of_the_thread_is_the_loss_of_the_lease_and_not_its_silent_end(
    renewal: Renewal, heard: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: leases.Lease) -> None:
        raise ValueError("nobody thought of this")

    monkeypatch.setattr(leases, "renew", fail)
    renewal.start()
    assert heard.wait(10)
    assert isinstance(renewal.lost, LeaseLost)
    assert "ValueError: nobody thought of this" in str(renewal.lost)


def test_a_lease_that_another_has_taken_is_lost_and_never_renewed_again(
    renewal: Renewal, heard: threading.Event, lease: leases.Lease
) -> None:
    other = ME._replace(place="another", host="elsewhere")
    assert leases.take(lease.directory, 2, other, "endpoint", 1.0) is not None
    renewal.start()
    assert heard.wait(10)
    assert isinstance(renewal.lost, LeaseLost)
    assert "elsewhere" in str(renewal.lost)
    renewal.join(5)
    assert not renewal.is_alive()
