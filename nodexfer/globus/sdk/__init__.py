"""The service by globus_sdk, 3.65 and 4.x alike; nobody else imports it.

Only the clients' ``get``, ``post`` and ``delete`` are used, with whole paths (``/v0.10/...``; version 3 strips its
prefix from them): version 4 has no ``create_endpoint``, and its ``TransferData`` has another signature, while the
documents on the wire are the same. The SDK's own retries stay, fewer of them: it never retries an ExternalError, which
a GCP that is not connected is.
"""

from __future__ import annotations

from collections.abc import Mapping

from nodexfer.config import Config
from nodexfer.globus.auth import find
from nodexfer.globus.sdk.client import SdkGlobus
from nodexfer.globus.sdk.login import SCOPE, Login

__all__ = ["SCOPE", "SdkGlobus", "connect"]


def connect(config: Config, environ: Mapping[str, str]) -> SdkGlobus:
    """The service, with the token that :func:`nodexfer.globus.auth.find` finds.

    Makes no call yet. A call takes at most ``service_timeout`` three times and 10 s; a token may have to be got first.

    :raises TokenMissing, SecretExposed, ConfigInvalid: see there.
    """
    return SdkGlobus(Login(find(config, environ), config.service_timeout, environ), config.service_timeout, environ)
