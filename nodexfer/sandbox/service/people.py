"""Globus Auth: who somebody is, and how a person logs in."""

from __future__ import annotations

import time
import urllib.parse
import uuid
from typing import Any

from flask import Blueprint, Response, jsonify, redirect, request

from nodexfer.sandbox.accounts import same_secret
from nodexfer.sandbox.model import PROVIDER, PROVIDER_NAME, Identity
from nodexfer.sandbox.service import signing
from nodexfer.sandbox.service.context import accounts, body, world
from nodexfer.sandbox.service.errors import bad_request
from nodexfer.sandbox.service.guard import bearer, need_auth_token

routes = Blueprint("people", __name__)


@routes.get("/v2/oauth2/userinfo")
def userinfo() -> Response:
    token = need_auth_token()
    found = accounts().identity(token.identity)
    scopes = token.scope.split()
    document: dict[str, Any] = {"sub": token.identity}
    if found is not None:
        described = _described(found)
        document.update(described)
        if any(scope.endswith((":view_identity_set", ":manage_projects")) for scope in scopes):
            document["identity_set"] = [described]
    return jsonify(document)


def _described(found: Identity) -> dict[str, Any]:
    return {
        "sub": found.id,
        "preferred_username": found.username,
        "username": found.username,
        "name": found.name,
        "email": found.email,
        "organization": "",
        "identity_provider": PROVIDER,
        "identity_provider_display_name": PROVIDER_NAME,
        "last_authentication": int(time.time()),
    }


@routes.get("/v2/api/identities")
def identities() -> Response:
    need_auth_token()
    wanted = request.args
    ids, names = wanted.get("ids", "").split(","), wanted.get("usernames", "").split(",")
    return jsonify({"identities": [_identity(found) for found in accounts().find(ids, names)]})


@routes.get("/v2/api/identities/<id>")
def identity(id: str) -> Response:
    need_auth_token()
    return jsonify({"identity": [_identity(found) for found in accounts().find([id])]})


def _identity(found: Identity) -> dict[str, Any]:
    return {
        "id": found.id,
        "username": found.username,
        "name": found.name,
        "email": found.email,
        "organization": None,
        "identity_provider": PROVIDER,
        "identity_type": "login",
        "status": "used",
    }


# the client that `globus login` makes for itself ------------------------------------------------------------------


@routes.post("/v2/api/clients")
def create_client() -> Response:
    """A client from a template: anybody may have one, and it may do nothing by itself."""
    fields = body().get("client")
    if not isinstance(fields, dict):
        raise bad_request("Could not parse JSON: a client is expected")
    made = accounts().add_client(str(fields.get("name", "a client")), acts=False)
    credential = {"id": str(uuid.uuid4()), "client": made.id, "secret": made.secret, "name": "", "created": None}
    client = {"id": made.id, "name": made.name, "template_id": fields.get("template_id")}
    response = jsonify({"client": client, "included": {"client_credential": credential}})
    response.status_code = 201
    return response


@routes.delete("/v2/api/clients/<id>")
def delete_client(id: str) -> Response:
    given = request.authorization
    accounts().check_client(id, (given.password if given else None) or "")
    accounts().remove(id)
    return jsonify({"client": {"id": id}})


# logging in -------------------------------------------------------------------------------------------------------

_FORM = """<!doctype html><title>Sandbox login</title>
<h1>Log in to the nodexfer sandbox</h1>
<p>As {username}. The key is the text of the file <tt>admin-token</tt> in the sandbox's directory.</p>
<form method="post"><input type="password" name="key" autofocus><button>Allow</button></form>"""


@routes.route("/v2/oauth2/authorize", methods=["GET", "POST"])
def authorize() -> Response:
    """Where a browser is sent. Whoever knows the sandbox's key is its one person, and allows everything.

    Other users of this machine can reach the port as well: without the key nobody gets a code.
    """
    given = request.form.get("key", "").strip() or bearer()
    if not same_secret(given, world().admin_token):
        response = Response(_FORM.format(username=world().person.username), mimetype="text/html")
        response.status_code = 403 if given else 200
        return response
    wanted = request.args
    target = wanted.get("redirect_uri", "")
    code = accounts().give_code(
        world().person.id,
        wanted.get("client_id", ""),
        wanted.get("scope", ""),
        target,
        wanted.get("code_challenge"),
        wanted.get("access_type") == "offline",
    )
    query = urllib.parse.urlencode({"code": code, "state": wanted.get("state", "_default")})
    if target.rstrip("/").endswith("/v2/web/auth-code"):
        target = request.host_url + "v2/web/auth-code"
    return redirect(f"{target}{'&' if '?' in target else '?'}{query}")  # type: ignore[return-value]  # werkzeug's base


@routes.get("/v2/web/auth-code")
def show_code() -> Response:
    """Where a person reads the code to paste."""
    return Response(request.args.get("code", ""), mimetype="text/plain")


@routes.get("/.well-known/openid-configuration")
def openid_configuration() -> Response:
    base = request.host_url
    return jsonify(
        {
            "issuer": signing.ISSUER,
            "authorization_endpoint": f"{base}v2/oauth2/authorize",
            "token_endpoint": f"{base}v2/oauth2/token",
            "userinfo_endpoint": f"{base}v2/oauth2/userinfo",
            "revocation_endpoint": f"{base}v2/oauth2/token/revoke",
            "jwks_uri": f"{base}jwk.json",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile"],
            "subject_types_supported": ["public"],
        }
    )


@routes.get("/jwk.json")
def keys() -> Response:
    return jsonify({"keys": [signing.public_key()]})
