"""Scopes and the servers that they are for."""

from __future__ import annotations

import pytest

from nodexfer.sandbox.accounts import Refused, by_resource_server

TRANSFER = "urn:globus:auth:scope:transfer.api.globus.org:all"
TIMER = "https://auth.globus.org/scopes/524230d7-ea86-4a52-8312-86065a9e0417/timer"
FLOWS = "https://auth.globus.org/scopes/eec9b274-0c81-4334-bdc2-54e90e689b9a/manage_flows"


@pytest.mark.parametrize(
    ("scope", "servers"),
    [
        (TRANSFER, {"transfer.api.globus.org": [TRANSFER]}),
        ("openid email", {"auth.globus.org": ["openid", "email"]}),
        (f"openid {TRANSFER}", {"auth.globus.org": ["openid"], "transfer.api.globus.org": [TRANSFER]}),
        (FLOWS, {"flows.globus.org": [FLOWS]}),
        (
            f"{TIMER}[{TRANSFER}[*https://auth.globus.org/scopes/x/data_access]]",
            {"524230d7-ea86-4a52-8312-86065a9e0417": [TIMER]},
        ),
    ],
)
def test_scopes_belong_to_servers(scope: str, servers: dict[str, list[str]]) -> None:
    assert by_resource_server(scope) == servers


@pytest.mark.parametrize(("scope", "error"), [("", "invalid_scope"), ("everything", "unknown_scope")])
def test_what_is_no_scope_is_refused(scope: str, error: str) -> None:
    with pytest.raises(Refused) as refused:
        by_resource_server(scope)
    assert refused.value.error == error
