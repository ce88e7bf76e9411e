"""A program for either line of globus-sdk: compares the sandbox's answers with those that the SDK has recorded.

For each call of Transfer and Auth that the SDK keeps test data for, it makes the same call and looks whether the answer
has at least the recorded fields (and the status and code, for errors). Prints, as JSON, [call, case, what is wrong].
A call that is neither made here nor named as not offered is wrong as well: new data do not go by unseen.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import pkgutil
import sys
import types
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

#: What the sandbox does not do (yet), call by call.
NOT_OFFERED = {
    # guest collections, access rules, tunnels, bookmarks, the endpoint manager
    *("create_tunnel", "delete_tunnel", "get_tunnel", "get_tunnel_events", "list_tunnels", "update_tunnel"),
    *("get_stream_access_point", "endpoint_manager_task_list"),
    # projects, clients, policies and scopes of developers
    *(
        "create_child_client",
        "create_client",
        "create_client_credential",
        "create_native_app_instance",
        "create_policy",
    ),
    *("create_project", "create_scope", "delete_client", "delete_client_credential", "delete_policy", "delete_project"),
    *("delete_scope", "get_client", "get_client_credentials", "get_clients", "get_consents", "get_identity_providers"),
    *("get_policies", "get_policy", "get_project", "get_projects", "get_scope", "get_scopes", "update_client"),
    *("update_policy", "update_project", "update_scope", "oauth2_get_dependent_tokens"),
}
#: Cases that need what the sandbox has not: more than one subscription, roles in one, sessions.
NOT_OFFERED_CASES = {
    ("set_subscription_id", "multi_subscriber_cannot_use_default"),
    ("set_subscription_admin_verified", "no_admin_role"),
    ("set_subscription_admin_verified", "no_identities_in_session"),
    # a token that is refused is 401 here; 403 is for one without the scope
    ("userinfo", "forbidden"),
    ("oauth2_userinfo", "forbidden"),
}
#: The same answer under another path.
SAME_AS = {"endpoint_manager_task_successful_transfers": "successful_transfers", "oauth2_userinfo": "userinfo"}

BASE = os.environ["GLOBUS_SDK_SERVICE_URL_TRANSFER"].rstrip("/")
CLIENT, SECRET = os.environ["NODEXFER_CLIENT_ID"], os.environ["NODEXFER_CLIENT_SECRET"]
SCOPES = "openid profile email urn:globus:auth:scope:auth.globus.org:view_identity_set"


class Answer(NamedTuple):
    status: int
    json: Any


def ask(
    method: str, path: str, token: str | None = None, body: Any = None, form: dict[str, str] | None = None
) -> Answer:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = None if body is None else json.dumps(body).encode()
    if form is not None:
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        headers["Authorization"] = f"Basic {basic}"
        data = urllib.parse.urlencode(form).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(BASE + path, data, headers, method=method)) as answer:
            return Answer(answer.status, json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, json.loads(error.read()))


def grant(scope: str) -> Answer:
    return ask("POST", "/v2/oauth2/token", form={"grant_type": "client_credentials", "scope": scope})


class Calls:
    """How each call is made, in an order in which each has what it needs. Methods are named as the SDK's data."""

    def __init__(self, source: str, destination: str, code: str) -> None:
        self._source, self._destination, self._code = source, destination, code
        self._token = str(grant("urn:globus:auth:scope:transfer.api.globus.org:all").json["access_token"])
        self._auth = str(grant(SCOPES).json["access_token"])
        made = self.create_endpoint("default")
        self._gcp = str(made.json["id"])
        self._task = str(self.submit_transfer("default").json["task_id"])
        while self._get(f"/v0.10/task/{self._task}").json["status"] == "ACTIVE":
            pass

    def _get(self, path: str) -> Answer:
        return ask("GET", path, self._token)

    def _send(self, method: str, path: str, body: Any) -> Answer:
        return ask(method, path, self._token, body)

    # Transfer

    def create_endpoint(self, case: str) -> Answer:
        name = f"{case} {uuid.uuid4()}"
        return self._send("POST", "/v0.10/endpoint", {"is_globus_connect": True, "display_name": name})

    def get_endpoint(self, case: str) -> Answer:
        return self._get(f"/v0.10/endpoint/{self._source}")

    def update_endpoint(self, case: str) -> Answer:
        return self._send("PUT", f"/v0.10/endpoint/{self._gcp}", {"DATA_TYPE": "endpoint", "description": "d"})

    def set_subscription_id(self, case: str) -> Answer:
        endpoint = uuid.uuid4() if case == "not_found" else self._gcp
        return self._send("PUT", f"/v0.10/endpoint/{endpoint}/subscription", {"subscription_id": "DEFAULT"})

    def set_subscription_admin_verified(self, case: str) -> Answer:
        if case == "non_subscribed_endpoint":
            self._send("PUT", f"/v0.10/endpoint/{self._gcp}/subscription", {"subscription_id": None})
        else:
            self.set_subscription_id("default")
        value = "no boolean" if case == "non_valid_verified_status" else True
        path = f"/v0.10/endpoint/{self._gcp}/subscription_admin_verified"
        return self._send("PUT", path, {"subscription_admin_verified": value})

    def get_submission_id(self, case: str) -> Answer:
        return self._get("/v0.10/submission_id")

    def submit_transfer(self, case: str) -> Answer:
        item = {"DATA_TYPE": "transfer_item", "source_path": "/file", "destination_path": "/copied"}
        body = {
            "DATA_TYPE": "transfer",
            "submission_id": str(uuid.uuid4()),
            "source_endpoint": self._source,
            "destination_endpoint": self._destination,
            "verify_checksum": True,
            "DATA": [] if case == "failure" else [item],
        }
        return self._send("POST", "/v0.10/transfer", body)

    def submit_delete(self, case: str) -> Answer:
        item = {"DATA_TYPE": "delete_item", "path": "/nothing"}
        body = {"DATA_TYPE": "delete", "submission_id": str(uuid.uuid4()), "endpoint": self._source, "DATA": [item]}
        return self._send("POST", "/v0.10/delete", {**body, "ignore_missing": True})

    def task_list(self, case: str) -> Answer:
        return self._get("/v0.10/task_list?filter=type:TRANSFER")

    def cancel_task(self, case: str) -> Answer:
        item = {"DATA_TYPE": "transfer_item", "source_path": "/missing", "destination_path": "/x"}
        body = {
            "submission_id": str(uuid.uuid4()),
            "source_endpoint": self._source,
            "destination_endpoint": self._destination,
            "DATA": [item],
        }
        task = self._send("POST", "/v0.10/transfer", body).json["task_id"]
        return self._send("POST", f"/v0.10/task/{task}/cancel", None)

    def successful_transfers(self, case: str) -> Answer:
        return self._get(f"/v0.10/task/{self._task}/successful_transfers")

    def operation_stat(self, case: str) -> Answer:
        path = {"not_found": "/no/such/file", "permission_denied": "/outside"}.get(case, "/file")
        return self._get(f"/v0.10/operation/endpoint/{self._source}/stat?path={path}")

    def operation_mkdir(self, case: str) -> Answer:
        path = f"/directory-{uuid.uuid4()}"
        return self._send("POST", f"/v0.10/operation/endpoint/{self._source}/mkdir", {"path": path})

    def operation_rename(self, case: str) -> Answer:
        old = f"/directory-{uuid.uuid4()}"
        self._send("POST", f"/v0.10/operation/endpoint/{self._source}/mkdir", {"path": old})
        body = {"DATA_TYPE": "rename", "old_path": old, "new_path": f"{old}-new"}
        return self._send("POST", f"/v0.10/operation/endpoint/{self._source}/rename", body)

    # Auth

    def oauth2_client_credentials_tokens(self, case: str) -> Answer:
        # an id_token is for who logs in, and a client does not: its case is answered by the code's exchange
        if case == "openid":
            return self.oauth2_exchange_code_for_tokens("openid")
        return grant("urn:globus:auth:scope:transfer.api.globus.org:all")

    def oauth2_exchange_code_for_tokens(self, case: str) -> Answer:
        redirect = f"{BASE}/v2/web/auth-code"
        scope = "openid" if case == "openid" else "urn:globus:auth:scope:transfer.api.globus.org:all"
        query = {"client_id": CLIENT, "scope": scope, "redirect_uri": redirect, "response_type": "code"}
        url = f"{BASE}/v2/oauth2/authorize?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(
            urllib.request.Request(url, headers={"Authorization": f"Bearer {self._code}"})
        ) as page:
            code = "used" if case == "invalid_grant" else page.read().decode()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
        return ask("POST", "/v2/oauth2/token", form=form)

    def oauth2_revoke_token(self, case: str) -> Answer:
        return ask("POST", "/v2/oauth2/token/revoke", form={"token": str(grant("openid").json["access_token"])})

    def oauth2_token_introspect(self, case: str) -> Answer:
        return ask("POST", "/v2/oauth2/token/introspect", form={"token": self._auth})

    def userinfo(self, case: str) -> Answer:
        return ask("GET", "/v2/oauth2/userinfo", "no token" if case == "unauthorized" else self._auth)

    def get_identities(self, case: str) -> Answer:
        wanted = f"ids={uuid.uuid4() if case == 'empty' else CLIENT}"
        return ask("GET", f"/v2/api/identities?{wanted}", "no token" if case == "unauthorized" else self._auth)


def missing(recorded: Any, found: Any, where: str = "") -> list[str]:
    """Recorded fields that ``found`` has not, and kinds of JSON that differ (null goes for any)."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        problems = [f"{where}{name} is missing" for name in recorded if name not in found]
        for name in set(recorded) & set(found):
            problems += missing(recorded[name], found[name], f"{where}{name}.")
        return problems
    if isinstance(recorded, list) and isinstance(found, list):
        return missing(recorded[0], found[0], f"{where}0.") if recorded and found else []
    if recorded is None or found is None or isinstance(found, type(recorded)):
        return []
    if isinstance(recorded, (int, float)) and isinstance(found, (int, float)):
        return []
    return [f"{where[:-1]} is {found!r}, recorded was {recorded!r}"]


def compare(recorded: Any, found: Answer) -> list[str]:
    problems = missing(recorded.json, found.json)
    wanted = recorded.status
    # 201 and 202 are successes as 200 is; no client of Transfer tells them apart
    if (wanted < 300) != (found.status < 300) or (wanted >= 300 and wanted != found.status):
        problems.append(f"the status is {found.status}, recorded was {wanted}")
    if wanted >= 300 and isinstance(recorded.json, dict) and recorded.json.get("code") != found.json.get("code"):
        problems.append(f"the code is {found.json.get('code')}, recorded was {recorded.json.get('code')}")
    return problems


def recorded_responses() -> dict[str, dict[str, Any]]:
    """Call -> case -> response. The data import ``responses``, a library for tests, and need nothing of it."""
    sys.modules["responses"] = types.ModuleType("responses")
    matchers = types.ModuleType("responses.matchers")
    matchers.__dict__["__getattr__"] = lambda name: lambda *args, **kwargs: None
    sys.modules["responses.matchers"] = matchers
    import globus_sdk

    package = "globus_sdk._testing" if globus_sdk.__version__.startswith("3.") else "globus_sdk.testing"
    found: dict[str, dict[str, Any]] = {}
    for service in ("transfer", "auth"):
        data = importlib.import_module(f"{package}.data.{service}")
        for module in pkgutil.iter_modules(data.__path__):
            if not module.name.startswith("_") and not module.ispkg:
                responses = importlib.import_module(f"{data.__name__}.{module.name}").RESPONSES
                found[module.name] = dict(responses._data)
    return found


def main(source: str, destination: str, admin_token: str) -> None:
    calls = Calls(source, destination, admin_token)
    problems: list[list[str]] = []
    compared = 0
    for call, cases in recorded_responses().items():
        make: Callable[[str], Answer] | None = getattr(calls, SAME_AS.get(call, call), None)
        for case, recorded in cases.items():
            if call in NOT_OFFERED or (call, case) in NOT_OFFERED_CASES or not hasattr(recorded, "json"):
                continue
            if make is None:
                problems.append([call, case, "nobody makes this call"])
                continue
            compared += 1
            problems += [[call, case, problem] for problem in compare(recorded, make(case))]
    json.dump({"compared": compared, "problems": problems}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
