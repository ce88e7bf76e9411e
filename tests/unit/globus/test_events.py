"""events: the one table of what the codes of a task mean."""

from __future__ import annotations

import pytest

from nodexfer.errors import DiskFull, SourceMissing
from nodexfer.globus import events
from nodexfer.globus.events import CODES, SOURCES

#: What Globus staff named in 2020 as the full list, and what today's page adds.
KNOWN = """ABEND ACL_CHANGED AMBIGUOUS_PATH AUTH CANCELED CLOCK CONNECT_FAILED CONNECTION_BROKEN CONNECTION_RESET
ENDPOINT_ERROR ENDPOINT_TOO_BUSY EXPIRED EXTERNAL_CHECKSUM_MISMATCH FILE_ACCESS FILE_NOT_FOUND FILE_SIZE_CHANGED
GC_NOT_CONNECTED GC_PAUSED GSI_DN_MISMATCH INTERNAL_ERROR INVALID_PATH_NAME INVALID_SERVICE_CREDENTIAL INVALID_SYMLINK
IS_A_DIRECTORY IS_A_FILE LIMIT_EXCEEDED MPU_NOT_FOUND NO_APPEND_FILESYSTEM NO_CREDENTIALS NO_PHYSICALS NO_SPACE_LEFT
NOT_A_DIRECTORY NOT_A_FILE NOT_A_SYMLINK PAUSED PERMISSION_DENIED PROGRESS QUOTA_EXCEEDED STARTED SUCCEEDED TIMEOUT
UNKNOWN UNPAUSED VERIFY_CHECKSUM SKIPPED_ERRORS"""


def test_every_code_that_globus_names_is_explained() -> None:
    assert set(KNOWN.split()) <= CODES.keys()


@pytest.mark.parametrize("code", CODES)
def test_every_row_is_whole(code: str) -> None:
    row = CODES[code]
    assert (row.kind == "fatal") == (row.error is not None)
    assert row.cause.endswith(".")
    assert len(row.cause) < 110
    assert row.next.partition(" ")[0] in ("globus", "nodexfer")
    assert row.sources
    assert set(row.sources) <= SOURCES.keys()
    assert row.kind == "fatal" or not row.path


def test_every_source_is_used() -> None:
    assert {name for row in CODES.values() for name in row.sources} == set(SOURCES)


def test_a_code_is_found_in_small_letters_too_and_an_unknown_one_is_none() -> None:
    assert events.find("no_space_left") is CODES["NO_SPACE_LEFT"]
    assert events.find("queued") is CODES["Queued"]
    assert events.find("SOMETHING_NEW") is None
    assert events.find(None) is None


def test_only_what_nothing_mends_is_fatal() -> None:
    found = events.fatal("FILE_NOT_FOUND")
    assert found is not None
    assert (found.error, found.path) == (SourceMissing, True)
    full = events.fatal("QUOTA_EXCEEDED")
    assert full is not None
    assert (full.error, full.path) == (DiskFull, False)
    for code in ("GC_NOT_CONNECTED", "CONNECTION_RESET", "SUCCEEDED", "SOMETHING_NEW", None):
        assert events.fatal(code) is None


@pytest.mark.parametrize("code", [None, "", "OK", "Queued", "QUEUED", "STARTED", "PROGRESS"])
def test_a_task_that_moves_or_waits_for_its_turn_is_calm(code: str | None) -> None:
    assert events.calm(code)


@pytest.mark.parametrize("code", ["TIMEOUT", "GC_NOT_CONNECTED", "NO_SPACE_LEFT", "PAUSED", "SOMETHING_NEW"])
def test_a_task_in_trouble_is_not(code: str) -> None:
    assert not events.calm(code)


def test_the_next_command_names_the_task() -> None:
    assert events.next_command("PAUSED", "t1") == "globus task pause-info t1"
    assert events.next_command("SOMETHING_NEW", "t1") == "globus task event-list t1"
