"""Who there is, who may act for whom: identities, clients, tokens. No HTTP here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
import uuid
from collections.abc import Iterable

from nodexfer.sandbox.faults import Faults
from nodexfer.sandbox.model import AUTH_SERVER, COMPUTE_SERVER, Identity, Token
from nodexfer.sandbox.store import Store

CODE_SECONDS = 600.0
REFRESH_SECONDS = 180 * 86400.0

#: Scopes of Globus Auth itself that are plain words.
AUTH_WORDS = frozenset({"openid", "profile", "email"})
#: Scopes whose URL names another server than their resource server's own name.
NAMED_SERVERS = {
    "eec9b274-0c81-4334-bdc2-54e90e689b9a": "flows.globus.org",
    "facd7ccc-c5f4-42aa-916b-a0e270e2c2a9": COMPUTE_SERVER,
}


class Refused(Exception):
    """What the token endpoint answers, by RFC 6749 section 5.2; ``status`` is the HTTP status."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.status = status


class Accounts:
    """Any thread may call."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._faults = faults
        self._lock = threading.RLock()
        self._identities = store.load("identity", Identity)
        self._tokens = store.load("token", Token)

    # identities -------------------------------------------------------------------------------------------------

    def add_person(self, username: str, name: str, id: str | None = None) -> Identity:
        return self._add(Identity(id or str(uuid.uuid4()), username, name, username))

    def add_client(self, name: str, id: str | None = None, secret: str | None = None, *, acts: bool = True) -> Identity:
        """A client with a secret; its username is what Globus gives to a client's identity.

        :param acts: it may use the service as itself. A client that anybody can make must not.
        """
        found = id or str(uuid.uuid4())
        username = f"{found}@clients.auth.globus.org"
        return self._add(Identity(found, username, name, username, secret or secrets.token_urlsafe(32), acts))

    def remove(self, id: str) -> None:
        with self._lock:
            self._identities.pop(id, None)
            self._store.forget("identity", id)

    def identity(self, id: str) -> Identity | None:
        return self._identities.get(id)

    def find(self, ids: Iterable[str] = (), usernames: Iterable[str] = ()) -> list[Identity]:
        wanted_ids, wanted_names = set(ids), {name.lower() for name in usernames}
        with self._lock:
            known = list(self._identities.values())
        return [i for i in known if i.id in wanted_ids or i.username.lower() in wanted_names]

    def people(self) -> list[Identity]:
        with self._lock:
            return [identity for identity in self._identities.values() if identity.secret is None]

    def check_client(self, id: str, secret: str) -> Identity:
        """:raises Refused: no such client, or not its secret."""
        client = self._identities.get(id)
        if client is None or client.secret is None or not same_secret(client.secret, secret):
            raise Refused("invalid_client", 401)
        return client

    def _add(self, identity: Identity) -> Identity:
        with self._lock:
            self._identities[identity.id] = identity
            self._store.save("identity", identity.id, identity)
        return identity

    def act(self, id: str) -> str:
        """:raises Refused: this client may not have tokens for itself."""
        client = self._identities.get(id)
        if client is None or not client.acts:
            raise Refused("unauthorized_client", 401)
        return id

    # tokens -----------------------------------------------------------------------------------------------------

    def grant(self, identity: str, client: str, scope: str, *, offline: bool) -> list[Token]:
        """Access tokens, one for each resource server that ``scope`` names; with refresh tokens when ``offline``.

        :raises Refused: a scope that nobody knows, or tokens are refused by a fault.
        """
        fault = self._faults.find("expire_tokens", "all")
        if fault is not None and fault.fields.get("refuse"):
            raise Refused("invalid_grant", 401)
        family = secrets.token_hex(8)
        granted: list[Token] = []
        for server, words in by_resource_server(scope).items():
            text = " ".join(words)
            granted.append(self._issue("access", identity, client, text, server, self._lifetime(), family))
            if offline:
                granted.append(self._issue("refresh", identity, client, text, server, REFRESH_SECONDS, family))
        self._keep(granted)
        return granted

    def refresh(self, value: str, client: str) -> list[Token]:
        """A new access token, and the refresh token that gave it, whose life begins anew. :raises Refused:"""
        old = self._living(value, "refresh", client)
        old.expires = time.time() + REFRESH_SECONDS
        [access] = self.grant(old.identity, client, old.scope, offline=False)
        self._keep([old])
        return [access, old]

    def give_code(
        self, identity: str, client: str, scope: str, redirect: str, challenge: str | None, offline: bool
    ) -> str:
        """An authorization code (RFC 6749 section 4.1, with PKCE where ``challenge`` is given), for ten minutes."""
        by_resource_server(scope)
        text = f"offline_access {scope}" if offline else scope
        code = self._issue("code", identity, client, text, AUTH_SERVER, CODE_SECONDS, secrets.token_hex(8))
        code.redirect, code.challenge = redirect, challenge
        self._keep([code])
        return code.value

    def exchange(self, value: str, client: str, redirect: str, verifier: str | None) -> tuple[Token, list[Token]]:
        """The code, once, and what it gives. :raises Refused: not this client's, used, or without its verifier."""
        with self._lock:
            code = self._living(value, "code", client)
            self._drop([code])
        if code.redirect != redirect or (code.challenge is not None and code.challenge != _challenge(verifier or "")):
            raise Refused("invalid_grant", 401)
        words = code.scope.split()
        offline = "offline_access" in words
        scope = " ".join(word for word in words if word != "offline_access")
        return code, self.grant(code.identity, client, scope, offline=offline)

    def look(self, value: str) -> Token | None:
        """The token, if it is known and has not expired."""
        token = self._tokens.get(value)
        return token if token is not None and token.expires > time.time() else None

    def revoke(self, value: str) -> None:
        with self._lock:
            token = self._tokens.get(value)
            if token is not None:
                self._drop([token])

    def expire_access_tokens(self) -> None:
        with self._lock:
            access = [token for token in self._tokens.values() if token.use == "access"]
            for token in access:
                token.expires = 0.0
            self._keep(access)

    def clean(self) -> None:
        """Forget what expired a day ago: until then an expired token is told from an unknown one."""
        with self._lock:
            limit = time.time() - 86400.0
            self._drop([token for token in self._tokens.values() if 0.0 < token.expires < limit])

    def _living(self, value: str, use: str, client: str) -> Token:
        token = self.look(value)
        if token is None or token.use != use or token.client != client:
            raise Refused("invalid_grant", 401)
        return token

    def _lifetime(self) -> float:
        return self._faults.switches.token_seconds

    def _issue(
        self, use: str, identity: str, client: str, scope: str, server: str, seconds: float, family: str
    ) -> Token:
        now = time.time()
        value = f"sandbox-{use}-{secrets.token_urlsafe(32)}"
        return Token(value, use, identity, client, scope, server, now, now + seconds, family)  # type: ignore[arg-type]

    def _keep(self, tokens: list[Token]) -> None:
        with self._lock:
            self._tokens.update((token.value, token) for token in tokens)
            self._store.save_all([("token", token.value, token) for token in tokens])

    def _drop(self, tokens: list[Token]) -> None:
        for token in tokens:
            self._tokens.pop(token.value, None)
            self._store.forget("token", token.value)


def same_secret(one: str, other: str) -> bool:
    """Compared in a time that tells nothing. What a stranger sends need not be ASCII."""
    return hmac.compare_digest(*(text.encode("utf-8", "surrogatepass") for text in (one, other)))


def by_resource_server(scope: str) -> dict[str, list[str]]:
    """Scopes by the server that they are for; what a scope depends on (in brackets) is granted and not shown.

    :raises Refused: a word that is no scope.
    """
    servers: dict[str, list[str]] = {}
    for word in _without_dependencies(scope).split():
        servers.setdefault(_server(word), []).append(word)
    if not servers:
        raise Refused("invalid_scope")
    return servers


def _server(scope: str) -> str:
    if scope in AUTH_WORDS:
        return AUTH_SERVER
    urn = re.fullmatch(r"urn:globus:auth:scope:([^:]+):\S+", scope)
    if urn:
        return urn[1]
    url = re.fullmatch(r"https://auth\.globus\.org/scopes/([^/]+)/\S+", scope)
    if url:
        return NAMED_SERVERS.get(url[1], url[1])
    raise Refused("unknown_scope")


def _without_dependencies(scope: str) -> str:
    """``a[b *c[d]] e`` -> ``a e``; a leading ``*`` (optional) goes as well."""
    depth, kept = 0, []
    for character in scope:
        if character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
        elif depth == 0 and character != "*":
            kept.append(character)
    return "".join(kept)


def _challenge(verifier: str) -> str:
    """RFC 7636: S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
