"""codes: what the services answer becomes an error of ours, with the next command."""

from __future__ import annotations

import pytest

from nodexfer.errors import (
    CollectionUnknown,
    DestinationExists,
    EndpointFailed,
    NodexferError,
    PermissionRefused,
    ServiceRefused,
    ServiceUnreachable,
    SourceMissing,
    TokenExpired,
)
from nodexfer.globus import codes


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (502, "ExternalError.DirListingFailed.GCDisconnected", EndpointFailed),
        (404, "ClientError.NotFound", SourceMissing),
        (404, "NotFound", SourceMissing),
        (404, "EndpointNotFound", CollectionUnknown),
        (403, "EndpointPermissionDenied", PermissionRefused),
        (403, "PermissionDenied", PermissionRefused),
        (502, "ExternalError.DirListingFailed.PermissionDenied", PermissionRefused),
        (403, "ConsentRequired", PermissionRefused),
        (502, "ExternalError.MkdirFailed.Exists", DestinationExists),
        (401, "ClientError.AuthenticationFailed", TokenExpired),
        (401, "AuthenticationFailed", TokenExpired),
        (429, "ClientError.RateLimited", ServiceUnreachable),
        (500, "InternalError", ServiceUnreachable),
        (503, "ServiceUnavailable", ServiceUnreachable),
        (504, "ExternalError.DirListingFailed.Timeout", ServiceRefused),
        (502, "EndpointError", ServiceRefused),
        (502, "ExternalError.DirListingFailed.ConnectFailed", EndpointFailed),
        (502, "Error", ServiceUnreachable),  # a gateway's page, which has no code of Transfer
        (502, "None", ServiceUnreachable),
        (400, "Error", ServiceRefused),
        (409, "ClientError.Conflict", ServiceRefused),
        (400, "ClientError.BadRequest.NoTransferItems", ServiceRefused),
    ],
)
def test_a_code_of_transfer_becomes_a_class(status: int, code: str, expected: type[NodexferError]) -> None:
    error = codes.transfer_error(status, code, "some\nwords", "listing /a on X")
    assert type(error) is expected
    assert "listing /a on X" in str(error)
    assert f"{code} (HTTP {status}): some words" in str(error)


def test_a_consent_that_is_missing_comes_with_the_command_that_gives_it() -> None:
    command = "globus session consent 'urn:x'"
    assert codes.transfer_error(403, "ConsentRequired", "Missing", "listing /", command).next == command


def test_a_long_message_is_cut_to_a_sentence() -> None:
    assert len(str(codes.transfer_error(400, "X", "word " * 1000, "asking"))) < 400


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(401, "invalid_client", TokenExpired), (400, "invalid_grant", TokenExpired), (503, "Error", ServiceUnreachable)],
)
def test_a_code_of_auth_names_where_the_secret_is_from(status: int, code: str, expected: type[NodexferError]) -> None:
    error = codes.auth_error(status, code, "no", "/home/u/.nodexfer/credentials.json")
    assert type(error) is expected
    assert code in str(error)
    if expected is TokenExpired:
        assert "/home/u/.nodexfer/credentials.json" in str(error)


def test_what_can_not_be_reached_is_named() -> None:
    error = codes.unreachable("https://transfer.api.globus.org", "[Errno 111] refused")
    assert "https://transfer.api.globus.org" in str(error)
    assert error.next.startswith("curl ")


@pytest.mark.parametrize("mark", codes.ANSWERS)
def test_what_is_said_of_an_answer_is_what_becomes_of_it(mark: str) -> None:
    row = codes.ANSWERS[mark]
    assert type(codes.transfer_error(row.status, mark, "m", "asking")) is row.error
    assert codes.find_answer(f"ExternalError.{mark}") == (mark, row)


def test_a_part_of_a_code_that_is_none_finds_nothing() -> None:
    for code in ("Error", "33", "not", "PoolExhausted"):
        assert codes.find_answer(code) is None
