"""Globus Auth: tokens. (RFC 6749 for the grants, RFC 7009 revocation, RFC 7662 introspection.)"""

from __future__ import annotations

import time
import uuid
from typing import Any

from flask import Blueprint, Response, jsonify, request

from nodexfer.sandbox.accounts import Refused
from nodexfer.sandbox.model import AUTH_SERVER, Identity, Token
from nodexfer.sandbox.service import signing
from nodexfer.sandbox.service.context import accounts
from nodexfer.sandbox.service.guard import Unauthorized

routes = Blueprint("auth", __name__)


def refused(error: Refused) -> Response:
    response = jsonify({"error": error.error, "error_description": error.error, "errors": []})
    response.status_code = error.status
    return response


def unauthorized(error: Unauthorized) -> Response:  # noqa: ARG001  (an error handler is called with it)
    """Globus Auth's 401, as the SDK's recorded answers have it."""
    found = {
        "status": "401",
        "id": str(uuid.uuid4()),
        "code": "UNAUTHORIZED",
        "detail": "Call must be authenticated",
        "title": "Unauthorized",
    }
    response = jsonify({"errors": [found], "error": "unauthorized", "error_description": "Unauthorized"})
    response.status_code = 401
    return response


# tokens ---------------------------------------------------------------------------------------------------------


@routes.post("/v2/oauth2/token")
def token() -> Response:
    kind = request.form.get("grant_type", "")
    if kind == "client_credentials":
        client = accounts().act(_client(secret_needed=True))
        return _tokens(accounts().grant(client, client, request.form.get("scope", ""), offline=False), client)
    if kind == "refresh_token":
        client = _client()
        return _tokens(accounts().refresh(request.form.get("refresh_token", ""), client), client)
    if kind == "authorization_code":
        client = _client()
        form = request.form
        code, granted = accounts().exchange(
            form.get("code", ""), client, form.get("redirect_uri", ""), form.get("code_verifier")
        )
        response = _document(granted, client)
        response["state"] = code.family
        return jsonify(response)
    raise Refused("unsupported_grant_type")


@routes.post("/v2/oauth2/token/revoke")
def revoke() -> Response:
    _client()
    accounts().revoke(request.form.get("token", ""))
    return jsonify({"active": False})


@routes.post("/v2/oauth2/token/validate")
def validate() -> Response:
    _client()
    return jsonify({"active": accounts().look(request.form.get("token", "")) is not None})


@routes.post("/v2/oauth2/token/introspect")
def introspect() -> Response:
    _client(secret_needed=True)
    found = accounts().look(request.form.get("token", ""))
    identity = accounts().identity(found.identity) if found else None
    if found is None or identity is None:
        return jsonify({"active": False})
    document: dict[str, Any] = {
        "active": True,
        "token_type": "Bearer",
        "scope": found.scope,
        "client_id": found.client,
        "username": identity.username,
        "name": identity.name,
        "email": identity.email,
        "sub": identity.id,
        "exp": int(found.expires),
        "iat": int(found.issued),
        "nbf": int(found.issued),
        "aud": [found.resource_server, found.client],
        "iss": signing.ISSUER,
        "dependent_tokens_cache_id": found.family,
    }
    include = request.form.get("include", "").split(",")
    if "identity_set" in include or "identities_set" in include:
        document["identity_set"] = document["identities_set"] = [identity.id]
    if "session_info" in include:
        document["session_info"] = _session(identity, found)
    return jsonify(document)


def _session(identity: Identity, found: Token) -> dict[str, Any]:
    login = {"idp": signing.PROVIDER, "auth_time": int(found.issued), "acr": None, "amr": None, "custom_claims": {}}
    return {"session_id": found.family, "authentications": {identity.id: login}}


# who asks ---------------------------------------------------------------------------------------------------------


def _client(*, secret_needed: bool = False) -> str:
    """The client that authenticates (Basic, or in the form), or only names itself: a native app has no secret.

    :raises Refused: 401.
    """
    given = request.authorization
    client, secret = (given.username, given.password) if given is not None and given.type == "basic" else (None, None)
    client = client or request.form.get("client_id")
    secret = secret or request.form.get("client_secret")
    if not client:
        raise Refused("invalid_client", 401)
    if secret is not None:
        return accounts().check_client(client, secret).id
    known = accounts().identity(client)
    if secret_needed or (known is not None and known.secret is not None):
        raise Refused("invalid_client", 401)
    return client


def _tokens(granted: list[Token], client: str) -> Response:
    return jsonify(_document(granted, client))


def _document(granted: list[Token], client: str) -> dict[str, Any]:
    """One access token at the top, those of further resource servers under ``other_tokens``."""
    access = [token for token in granted if token.use == "access"]
    refresh = {token.resource_server: token.value for token in granted if token.use == "refresh"}
    rows = [_row(token, refresh.get(token.resource_server)) for token in access]
    document = {**rows[0], "other_tokens": rows[1:]}
    for token in access:
        if token.resource_server == AUTH_SERVER and "openid" in token.scope.split():
            identity = accounts().identity(token.identity)
            if identity is not None and identity.id != client:
                document["id_token"] = signing.id_token(identity, client, token.value)
    return document


def _row(token: Token, refresh: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "access_token": token.value,
        "scope": token.scope,
        "expires_in": max(0, round(token.expires - time.time())),
        "token_type": "Bearer",
        "resource_server": token.resource_server,
    }
    if refresh is not None:
        row["refresh_token"] = refresh
    return row
