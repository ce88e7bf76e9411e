"""The token that goes with every call: got, kept, and replaced when it has expired or is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import globus_sdk

from nodexfer.errors import TokenMissing
from nodexfer.globus import codes
from nodexfer.globus.auth import ClientSecret, StoredToken, Token

SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"
#: After the first attempt; between two the SDK waits at most MAX_SLEEP seconds.
RETRIES, MAX_SLEEP = 2, 5.0


def client_options(timeout: float) -> dict[str, Any]:
    """Timeout and retries, as either version wants them."""
    if globus_sdk.__version__.startswith("3."):
        return {"transport_params": {"http_timeout": timeout, "max_retries": RETRIES, "max_sleep": MAX_SLEEP}}
    from globus_sdk.transport import RequestsTransport, RetryConfig

    return {
        "transport": RequestsTransport(http_timeout=timeout),
        "retry_config": RetryConfig(max_retries=RETRIES, max_sleep=MAX_SLEEP),
    }


def base_url(environ: Mapping[str, str], service: str) -> str | None:
    """As the SDK does, but from the environment that we were given."""
    return environ.get(f"GLOBUS_SDK_SERVICE_URL_{service}") or None


class Login:
    """An authorizer, by shape: what the SDK's clients ask of one. Threads may share it."""

    def __init__(self, credentials: ClientSecret | StoredToken, timeout: float, environ: Mapping[str, str]) -> None:
        self._credentials = credentials
        self._options = {**client_options(timeout), "base_url": base_url(environ, "AUTH")}
        self._token: Token | None = None
        self._lock = threading.Lock()

    def get_authorization_header(self) -> str:
        with self._lock:
            if self._token is None or not self._token.good:
                self._token = self._get(None)
            return f"Bearer {self._token.value}"

    def handle_missing_authorization(self) -> bool:
        """The service did not take the token (401): get another, once a call."""
        with self._lock:
            self._token = self._get(self._token)
        return True

    def identity(self) -> str:
        """:raises TokenMissing: the stored token does not say whose it is."""
        if isinstance(self._credentials, ClientSecret):
            return self._credentials.client_id
        found = self._credentials.identity()
        if found is None:
            raise TokenMissing(
                f"The stored token in {self._credentials.source} does not say whose it is: it has no identity_id.",
                codes.SET_CLIENT,
            )
        return found

    def _get(self, refused: Token | None) -> Token:
        if isinstance(self._credentials, StoredToken):
            stored = self._credentials.read()
            if stored.good and refused is None:
                return stored
            return self._credentials.renewed(self._refresh, refused)
        client = globus_sdk.ConfidentialAppAuthClient(
            self._credentials.client_id, self._credentials.secret, **self._options
        )
        with self._asking(client):
            answer = client.oauth2_client_credentials_tokens(requested_scopes=SCOPE)
        row = answer.by_resource_server["transfer.api.globus.org"]
        return Token(row["access_token"], row["expires_at_seconds"])

    def _refresh(self, refresh_token: str, app: str) -> Mapping[str, Any]:
        client = globus_sdk.NativeAppAuthClient(app, **self._options)
        with self._asking(client):
            return dict(client.oauth2_refresh_token(refresh_token).data)

    @contextmanager
    def _asking(self, client: globus_sdk.AuthLoginClient) -> Iterator[None]:
        try:
            yield
        except globus_sdk.GlobusAPIError as error:
            raise codes.auth_error(
                error.http_status, str(error.code), error.message or error.text, self._credentials.source
            ) from error
        except globus_sdk.NetworkError as error:
            raise codes.unreachable(client.base_url, str(error)) from error
        finally:
            client.transport.session.close()
