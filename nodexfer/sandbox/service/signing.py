"""The signed id_token of OpenID Connect, and the key to check it with. Made only for those who log in as people."""

from __future__ import annotations

import base64
import functools
import hashlib
import time
from typing import TYPE_CHECKING, Any

from nodexfer.sandbox.model import PROVIDER, PROVIDER_NAME, Identity

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["ISSUER", "PROVIDER", "PROVIDER_NAME", "id_token", "public_key"]

ISSUER = "https://auth.globus.org"
KEY_ID = "sandbox"
SECONDS = 172800


@functools.cache
def _key() -> RSAPrivateKey:
    """A new one for each run of the server: an id_token is looked at once, right after the login."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def id_token(identity: Identity, client: str, access_token: str) -> str:
    import jwt

    now = int(time.time())
    half = hashlib.sha256(access_token.encode()).digest()[:16]
    claims = {
        "iss": ISSUER,
        "sub": identity.id,
        "aud": client,
        "iat": now,
        "exp": now + SECONDS,
        "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
        "preferred_username": identity.username,
        "name": identity.name,
        "email": identity.email,
        "identity_provider": PROVIDER,
        "identity_provider_display_name": PROVIDER_NAME,
        "organization": "",
        "last_authentication": now,
        "identity_set": [],
    }
    return jwt.encode(claims, _key(), algorithm="RS256", headers={"kid": KEY_ID})


def public_key() -> dict[str, Any]:
    """The key as JSON (RFC 7517)."""
    numbers = _key().public_key().public_numbers()
    return {
        "alg": "RS256",
        "kty": "RSA",
        "use": "sig",
        "kid": KEY_ID,
        "n": _encoded(numbers.n),
        "e": _encoded(numbers.e),
    }


def _encoded(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
