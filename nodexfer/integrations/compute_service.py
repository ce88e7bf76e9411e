"""The service of Globus Compute by its own SDK: who we are there, and what it knows of an endpoint.

The SDK's errors become ours. Nothing here ever asks for a login at a terminal: that is what its own command is for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from nodexfer.errors import (
    ConfigInvalid,
    EndpointFailed,
    NodexferError,
    PermissionRefused,
    ServiceRefused,
    ServiceUnreachable,
    TokenExpired,
    TokenMissing,
)
from nodexfer.integrations.compute_settings import CREDENTIALS, NATIVE, Settings

ID, SECRET = "GLOBUS_COMPUTE_CLIENT_ID", "GLOBUS_COMPUTE_CLIENT_SECRET"
LOGIN = "globus-compute-endpoint login"
_CURL = "curl -I https://compute.api.globus.org/v2/version"
_HELP = "nodexfer compute check --help"
SET_CLIENT = f"export {ID}=... {SECRET}=..."


class Endpoint(NamedTuple):
    """What the service says. ``identity`` is ours there; ``owner`` the endpoint's."""

    id: str
    name: str
    online: bool
    identity: str
    username: str
    owner: str
    host: str
    version: str
    managers: int | None

    @property
    def ours(self) -> bool:
        return self.owner == self.identity


def connect(settings: Settings, environ: Mapping[str, str]) -> Any:
    """The SDK's client, logged in.

    :raises TokenMissing: there is no login of the kind that ``auth_method`` names.
    :raises ServiceUnreachable, ServiceRefused: the service can not be asked.
    """
    application = bool(environ.get(ID) and environ.get(SECRET))
    if settings.auth_method in CREDENTIALS and not application:
        raise TokenMissing(f"auth_method is {settings.auth_method}, and {ID} or {SECRET} is not set.", SET_CLIENT)
    with named_errors("the service of Globus Compute"), _without(settings.auth_method == NATIVE and application):
        from globus_compute_sdk import Client

        client = Client(do_version_check=False)
        if client.app is not None and client.app.login_required() and not application_of(client):
            raise TokenMissing("You are not logged in to Globus Compute.", LOGIN)
        client.version_check()
    return client


def application_of(client: Any) -> bool:
    """Whether an application's identity is used, which logs itself in."""
    return type(client.app).__name__ == "ClientApp"


@contextmanager
def _without(yes: bool) -> Iterator[None]:
    """The SDK takes an application's identity wherever its variables are set."""
    before = {name: os.environ.pop(name, None) for name in ((ID, SECRET) if yes else ())}
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in before.items() if value is not None})


def look(client: Any, endpoint: str) -> Endpoint:
    """:raises EndpointFailed: the service knows no such endpoint, or shows it not to us."""
    with named_errors(f"endpoint {endpoint}"):
        from globus_compute_sdk.sdk.auth.auth_client import ComputeAuthClient

        user = ComputeAuthClient(app=client.app).userinfo()
        about = client.get_endpoint_metadata(endpoint)
        status = client.get_endpoint_status(endpoint)
    details = status.get("details") or {}
    return Endpoint(
        id=endpoint,
        # The one that its own commands take; what is shown to people is another.
        name=str(about.get("name") or about.get("display_name") or ""),
        online=status.get("status") == "online",
        identity=str(user["sub"]),
        username=str(user.data.get("preferred_username") or user["sub"]),
        owner=str(about.get("owner") or ""),
        host=str(about.get("hostname") or ""),
        version=str(about.get("endpoint_version") or ""),
        managers=details.get("managers"),
    )


def need_online(found: Endpoint) -> None:
    """:raises EndpointFailed: it is not connected."""
    if not found.online:
        where = f" (of {found.host})" if found.host else ""
        raise EndpointFailed(
            f"Endpoint {found.name or found.id}{where} is offline: it is not running, or has lost its connection.",
            f"globus-compute-endpoint start {found.name or 'NAME'}",
        )


@contextmanager
def named_errors(what: str) -> Iterator[None]:
    """The SDK's errors are known by what they have: http_status, or a connection that failed."""
    try:
        yield
    except NodexferError:
        raise
    except Exception as error:
        raise named(error, what) from error


def named(error: Exception, what: str) -> NodexferError:
    status = getattr(error, "http_status", None)
    said = " ".join(str(getattr(error, "message", "") or error).split())[:300].rstrip(".")
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(status, int):
        return _refusal(status, said, what)
    if kinds & {"NetworkError", "ConnectionError", "ConnectTimeout"} or isinstance(error, (OSError, TimeoutError)):
        return ServiceUnreachable(f"Globus can not be reached to ask for {what}: {said}.", _CURL)
    if kinds & {"LoginRequiredError", "TokenValidationError", "MissingTokenError", "ExpiredTokenError"}:
        return TokenMissing(f"You are not logged in to Globus Compute: {said}.", LOGIN)
    if isinstance(error, (ValueError, KeyError)):
        return ConfigInvalid(f"The SDK of Globus Compute refuses {what}: {said}.", "nodexfer compute --help")
    return ServiceRefused(f"The SDK of Globus Compute failed at {what} ({type(error).__name__}: {said}).", LOGIN)


def _refusal(status: int, said: str, what: str) -> NodexferError:
    if status == 401:
        return TokenExpired(f"Globus Compute does not accept the login: {said}.", LOGIN)
    if status == 403:
        return PermissionRefused(f"Your identity may not use {what}: {said}.", "globus-compute-endpoint whoami")
    if status == 404:
        return EndpointFailed(f"Globus Compute does not know {what}: {said}.", "globus-compute-endpoint list")
    if status >= 500:
        return ServiceUnreachable(f"Globus Compute answered {status} for {what}: {said}.", _HELP)
    return ServiceRefused(f"Globus Compute refused {what} ({status}): {said}.", _HELP)
