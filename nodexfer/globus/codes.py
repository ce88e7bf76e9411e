"""What an error of the services means: HTTP status and code in, an error of ours with the next command out. Pure.

Codes and bodies as the SDK's recorded answers and the documentation have them (Transfer API, "Common error codes";
globus-sdk, ``services/transfer`` testing data). What task events mean is the desk's (:mod:`nodexfer.staging.outcome`).
"""

from __future__ import annotations

from typing import NamedTuple

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

#: How an Auth client is given, for whoever has to do it again.
SET_CLIENT = "export NODEXFER_CLIENT_ID=... NODEXFER_CLIENT_SECRET=..."
LENGTH = 300


class Answer(NamedTuple):
    """A refusal of Transfer, known by a part of its code: what becomes of it, why it comes, what to type.

    ``status`` is the HTTP status that it was seen with.
    """

    error: type[NodexferError]
    status: int
    cause: str
    next: str


#: Part of a code -> what it means: for people; :func:`transfer_error` decides, and a test keeps the two together.
ANSWERS: dict[str, Answer] = {
    "GCDisconnected": Answer(
        EndpointFailed, 502, "A Globus Connect Personal is not connected to Globus.", "nodexfer status"
    ),
    "ConnectFailed": Answer(
        EndpointFailed,
        502,
        "A collection's server can not be reached; for a minute it is tried again.",
        "nodexfer status",
    ),
    "AuthenticationFailed": Answer(TokenExpired, 401, "The token is no longer accepted.", SET_CLIENT),
    "ConsentRequired": Answer(
        PermissionRefused,
        403,
        "The collection asks for a consent that the token lacks.",
        "globus session consent SCOPE",
    ),
    "EndpointNotFound": Answer(
        CollectionUnknown,
        404,
        "There is no such collection, or none that you may see.",
        "globus endpoint search --filter-scope recently-used",
    ),
    "ClientError.NotFound": Answer(SourceMissing, 404, "Nothing is at this path.", "globus ls COLLECTION:DIRECTORY"),
    "FileExists": Answer(DestinationExists, 502, "Something is at this path already.", "globus ls COLLECTION:PATH"),
    "PermissionDenied": Answer(
        PermissionRefused, 403, "The collection does not let your identity do this there.", "globus ls COLLECTION:PATH"
    ),
    "ServiceUnavailable": Answer(
        ServiceUnreachable, 503, "Globus is under maintenance, or too busy.", "nodexfer status"
    ),
    "NoTransferItems": Answer(ServiceRefused, 400, "A transfer of nothing was asked for.", "nodexfer stage-in --help"),
}


def find_answer(code: str) -> tuple[str, Answer] | None:
    """The row of a whole code of Transfer, or of a part of one, in capitals or not."""
    wanted = code.casefold()
    for mark, row in ANSWERS.items():
        if mark.casefold() in wanted or (len(wanted) > 3 and wanted in mark.casefold().split(".")):
            return mark, row
    return None


def transfer_error(status: int, code: str, message: str, what: str, next: str = "") -> NodexferError:
    """An answer of Transfer that is not 2xx, after the SDK's retries.

    :param what: what was asked, as in "listing /a on 1f3a...": it is in the sentence.
    :param next: what somebody could type to see more, where the error's kind does not say better.
    """
    said = f"While {what}, Globus Transfer said {code} (HTTP {status}): {_one_line(message)}"
    if "GCDisconnected" in code:
        return EndpointFailed(f"The endpoint is not connected to Globus ({said}).")
    if "ConnectFailed" in code:  # as CONNECT_FAILED of a task: it is waited for
        return EndpointFailed(f"A collection's server can not be reached ({said}).", next or "nodexfer status")
    # A gateway's own page has no code of Transfer: the SDK then says "Error", or none.
    is_gateway = status >= 500 and code in ("Error", "None", "")
    if is_gateway or (status in (429, 500, 503, 504) and "External" not in code):
        return ServiceUnreachable(f"Globus Transfer is too busy or down ({said}).", "nodexfer status")
    if status == 401:
        return TokenExpired(f"The token is no longer accepted ({said}).", SET_CLIENT)
    if code == "ConsentRequired":
        return PermissionRefused(f"The collection asks for a consent that the token lacks ({said}).", next)
    if "EndpointNotFound" in code:
        return CollectionUnknown(said, "globus endpoint search --filter-scope recently-used")
    for marks, kind in _KINDS:
        if any(mark in code for mark in marks):
            return kind(said, next)
    return ServiceRefused(said, next)


#: In this order: the first that has one of its marks in the code.
_KINDS: tuple[tuple[tuple[str, ...], type[NodexferError]], ...] = (
    (("NotFound",), SourceMissing),
    ((".Exists", "FileExists"), DestinationExists),
    (("PermissionDenied",), PermissionRefused),
)


def auth_error(status: int, code: str, message: str, source: str) -> NodexferError:
    """An answer of Globus Auth to a client id and secret, or to a refresh token, from ``source``."""
    named = "" if code in ("", "None") else f"{code}, "
    said = f"Globus Auth said: {named}HTTP {status}, {_one_line(message)}"
    if status >= 500 or status == 429:
        return ServiceUnreachable(f"Globus Auth is too busy or down. {said}", "nodexfer status")
    return TokenExpired(f"What is in {source} is not accepted any more, or never was. {said}", SET_CLIENT)


def unreachable(url: str, reason: str) -> ServiceUnreachable:
    return ServiceUnreachable(
        f"{url} can not be reached from this node: {_one_line(reason)}.", f"curl -sS -o /dev/null {url}"
    )


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LENGTH else line[:LENGTH] + "..."
