"""What every request passes: faults that answer for the service, the token, the rate limit."""

from __future__ import annotations

from flask import g, request

from nodexfer.sandbox.accounts import same_secret
from nodexfer.sandbox.model import AUTH_SERVER, TRANSFER_SERVER, Token
from nodexfer.sandbox.service.context import accounts, faults, world
from nodexfer.sandbox.service.errors import ApiError

#: Code and message of an answer that a fault gives.
_ANSWERS = {
    429: ("ClientError.RateLimited", "Too many requests"),
    500: ("InternalError", "Internal server error"),
    503: ("ServiceUnavailable", "Server Under Maintenance"),
}


def answer_for_faults() -> None:
    """:raises ApiError: an ``http`` fault answers instead of the service."""
    if request.path.startswith("/sandbox/"):
        return
    fault = faults().take(
        "http",
        lambda f: (
            request.path.startswith(str(f.fields.get("prefix", "/")))
            and f.fields.get("method", request.method) == request.method
        ),
    )
    if fault is not None:
        status = int(fault.fields["status"])
        code, message = _ANSWERS.get(status, ("Error", "The sandbox was told to fail this request"))
        retry_after = fault.fields.get("retry_after", 1 if status in (429, 503) else None)
        raise ApiError(status, code, message, {} if retry_after is None else {"Retry-After": str(retry_after)})


def bearer() -> str:
    """The token of the Authorization header, or ''."""
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" else ""


def find_token(resource_server: str) -> Token | None:
    token = accounts().look(bearer())
    if token is None or token.use != "access" or token.resource_server != resource_server:
        return None
    return token


def need_transfer_token() -> None:
    """:raises ApiError: 401 without a living token for Transfer; 429 with too many requests."""
    token = find_token(TRANSFER_SERVER)
    if token is None:
        message = "Token is not active" if bearer() else "Must send credentials to access resources"
        raise ApiError(401, "ClientError.AuthenticationFailed", message)
    g.identity = token.identity
    wait = world().limiter.wait(token.identity, faults().switches.requests_per_second)
    if wait > 0:
        raise ApiError(429, *_ANSWERS[429], {"Retry-After": str(max(1, round(wait)))})


def need_auth_token() -> Token:
    """:raises Unauthorized: the request has no living token for Globus Auth."""
    token = find_token(AUTH_SERVER)
    if token is None:
        raise Unauthorized
    return token


def need_admin() -> None:
    """:raises ApiError: 401: the request does not carry what is in the sandbox's ``admin-token``."""
    if not same_secret(bearer(), world().admin_token):
        raise ApiError(401, "ClientError.AuthenticationFailed", "This needs the sandbox's admin token")


class Unauthorized(Exception):
    """Globus Auth's own way of saying 401."""
