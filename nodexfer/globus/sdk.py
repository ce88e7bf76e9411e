"""The service by globus_sdk, 3.65 and 4.x alike; nobody else imports it.

Only the clients' ``get``, ``post`` and ``delete`` are used, with whole paths (``/v0.10/...``; version 3 strips its
prefix from them): version 4 has no ``create_endpoint``, and its ``TransferData`` has another signature, while the
documents on the wire are the same. The SDK's own retries stay, fewer of them: it never retries an ExternalError, which
a GCP that is not connected is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

import globus_sdk

from nodexfer.config import Config
from nodexfer.errors import ServiceRefused, TokenMissing
from nodexfer.globus import codes
from nodexfer.globus.auth import ClientSecret, StoredToken, Token, find
from nodexfer.globus.protocol import Collection, Entry, Event, Moved, NewEndpoint, Submission, Task

SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"
#: After the first attempt; between two the SDK waits at most MAX_SLEEP seconds.
RETRIES, MAX_SLEEP = 2, 5.0
#: Rows of one page, and task ids of one question (they travel in the URL).
PAGE, IDS = 1000, 50
LABEL_LENGTH = 128
#: Nobody wants e-mails from jobs (Transfer API, task submission: all three default to true).
QUIET = {"notify_on_succeeded": False, "notify_on_failed": False, "notify_on_inactive": False}


def connect(config: Config, environ: Mapping[str, str]) -> SdkGlobus:
    """The service, with the token that :func:`nodexfer.globus.auth.find` finds.

    Makes no call yet. A call takes at most ``service_timeout`` three times and 10 s; a token may have to be got first.

    :raises TokenMissing, SecretExposed, ConfigInvalid: see there.
    """
    return SdkGlobus(_Login(find(config, environ), config.service_timeout, environ), config.service_timeout, environ)


def _client_options(timeout: float) -> dict[str, Any]:
    """Timeout and retries, as either version wants them."""
    if globus_sdk.__version__.startswith("3."):
        return {"transport_params": {"http_timeout": timeout, "max_retries": RETRIES, "max_sleep": MAX_SLEEP}}
    from globus_sdk.transport import RequestsTransport, RetryConfig

    return {
        "transport": RequestsTransport(http_timeout=timeout),
        "retry_config": RetryConfig(max_retries=RETRIES, max_sleep=MAX_SLEEP),
    }


def _base_url(environ: Mapping[str, str], service: str) -> str | None:
    """As the SDK does, but from the environment that we were given."""
    return environ.get(f"GLOBUS_SDK_SERVICE_URL_{service}") or None


class _Login:
    """An authorizer, by shape: what the SDK's clients ask of one. Threads may share it."""

    def __init__(self, credentials: ClientSecret | StoredToken, timeout: float, environ: Mapping[str, str]) -> None:
        self._credentials = credentials
        self._options = {**_client_options(timeout), "base_url": _base_url(environ, "AUTH")}
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


class SdkGlobus:
    """:class:`nodexfer.globus.protocol.Globus`. Threads may share one."""

    def __init__(self, login: _Login, timeout: float, environ: Mapping[str, str]) -> None:
        self._login = login
        # By shape, not by inheritance: both versions only call its two methods.
        authorizer: Any = login
        self._client = globus_sdk.TransferClient(
            authorizer=authorizer, base_url=_base_url(environ, "TRANSFER"), **_client_options(timeout)
        )

    def close(self) -> None:
        """Close the connections. Afterwards a call opens new ones."""
        self._client.transport.session.close()

    @property
    def service(self) -> str:
        parts = urlsplit(self._client.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    def identity(self) -> str:
        return self._login.identity()

    def _call(self, what: str, call: Callable[[], Any]) -> dict[str, Any]:
        """Make one call; ``what`` is for the sentence when it fails."""
        try:
            return dict(call().data)
        except globus_sdk.GlobusAPIError as error:
            raise codes.transfer_error(
                error.http_status, str(error.code), error.message or "", what, _consent(error)
            ) from error
        except globus_sdk.NetworkError as error:
            raise codes.unreachable(self.service, str(error)) from error

    def _get(self, what: str, where: str, /, **query: Any) -> dict[str, Any]:
        return self._call(what, lambda: self._client.get(f"/v0.10/{where}", query_params=query))

    def _post(self, what: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._call(what, lambda: self._client.post(f"/v0.10/{path}", data=body))

    def _pages(self, what: str, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every row of a list that is paged by limit and offset."""
        offset = 0
        while True:
            page = self._get(what, path, limit=PAGE, offset=offset, **query)
            yield from page["DATA"]
            offset += len(page["DATA"])
            if not page["DATA"] or offset >= int(page.get("total", 0)):
                return

    # -- endpoints ---------------------------------------------------------------------------------------------------

    def create_endpoint(self, name: str) -> NewEndpoint:
        """A GCP mapped collection that no search shows to others (``public`` defaults to true)."""
        body = {"DATA_TYPE": "endpoint", "is_globus_connect": True, "display_name": name, "public": False}
        answer = self._post(f"creating the endpoint {name}", "endpoint", body)
        return NewEndpoint(str(answer["id"]), str(answer["globus_connect_setup_key"]))

    def delete_endpoint(self, endpoint: str) -> None:
        what = f"deleting the endpoint {endpoint}"
        self._call(what, lambda: self._client.delete(f"/v0.10/endpoint/{endpoint}"))

    def own_endpoint(self, name: str) -> str | None:
        """The id of our own endpoint with exactly this display name, or None."""
        query = {"filter_scope": "my-endpoints", "filter_fulltext": name}
        for row in self._pages(f"looking for the endpoint {name}", "endpoint_search", **query):
            if row["display_name"] == name and row["owner_id"] == self.identity():
                return str(row["id"])
        return None

    def collection(self, collection: str) -> Collection:
        row = self._get(f"looking up {collection}", f"endpoint/{collection}")
        is_gcp = bool(row.get("is_globus_connect"))
        return Collection(
            id=str(row["id"]),
            name=str(row.get("display_name") or row["id"]),
            owner_id=str(row["owner_id"]),
            is_gcp=is_gcp,
            connected=bool(row.get("gcp_connected")) if is_gcp else None,
            setup_key=row.get("globus_connect_setup_key"),
        )

    # -- files -------------------------------------------------------------------------------------------------------

    def ls(self, collection: str, path: str) -> Sequence[Entry]:
        what, where = f"listing {path} on {collection}", f"operation/endpoint/{collection}/ls"
        rows: list[Entry] = []
        while True:
            page = self._get(what, where, path=path, show_hidden="true", limit=100_000, offset=len(rows))
            rows.extend(map(_entry, page["DATA"]))
            if not page["DATA"] or len(rows) >= int(page.get("total") or 0):
                return rows

    def stat(self, collection: str, path: str) -> Entry:
        what = f"looking at {path} on {collection}"
        return _entry(self._get(what, f"operation/endpoint/{collection}/stat", path=path))

    def mkdir(self, collection: str, path: str) -> None:
        body = {"DATA_TYPE": "mkdir", "path": path}
        self._post(f"making {path} on {collection}", f"operation/endpoint/{collection}/mkdir", body)

    def rename(self, collection: str, old: str, new: str) -> None:
        body = {"DATA_TYPE": "rename", "old_path": old, "new_path": new}
        self._post(f"renaming {old} to {new} on {collection}", f"operation/endpoint/{collection}/rename", body)

    # -- tasks -------------------------------------------------------------------------------------------------------

    def submission_id(self) -> str:
        return str(self._get("asking for a submission id", "submission_id")["value"])

    def submit(self, submission: Submission) -> str:
        body = {
            "DATA_TYPE": "transfer",
            "submission_id": submission.submission_id,
            "source_endpoint": submission.source_endpoint,
            "destination_endpoint": submission.destination_endpoint,
            "label": submission.label[:LABEL_LENGTH].strip(),
            "deadline": submission.deadline,
            # Its default differs between the service, the SDK's versions and the CLI.
            "verify_checksum": submission.verify_checksum,
            "encrypt_data": False,
            "preserve_timestamp": False,
            "skip_source_errors": False,
            "fail_on_quota_errors": True,
            "delete_destination_extra": False,
            **QUIET,
            "DATA": [
                {
                    "DATA_TYPE": "transfer_item",
                    "source_path": item.source,
                    "destination_path": item.destination,
                    "recursive": item.recursive,
                }
                for item in submission.items
            ],
        }
        return self._task_of(self._post("submitting a transfer", "transfer", body))

    def delete(self, submission_id: str, collection: str, paths: Iterable[str], label: str) -> str:
        body = {
            "DATA_TYPE": "delete",
            "submission_id": submission_id,
            "endpoint": collection,
            "label": label[:LABEL_LENGTH].strip(),
            "recursive": True,
            "ignore_missing": True,
            "interpret_globs": False,
            **QUIET,
            "DATA": [{"DATA_TYPE": "delete_item", "path": path} for path in paths],
        }
        return self._task_of(self._post(f"submitting a deletion on {collection}", "delete", body))

    def _task_of(self, answer: Mapping[str, Any]) -> str:
        """``Accepted``, or ``Duplicate`` for a submission id that was used: the same task either way."""
        if answer.get("code") not in ("Accepted", "Duplicate") or not answer.get("task_id"):
            raise ServiceRefused(f"Globus did not accept the task: {answer.get('code')}: {answer.get('message')}")
        return str(answer["task_id"])

    def tasks(self, ids: Sequence[str]) -> Mapping[str, Task]:
        found: dict[str, Task] = {}
        for start in range(0, len(ids), IDS):
            some = ",".join(ids[start : start + IDS])
            rows = self._pages("asking for tasks", "task_list", filter=f"task_id:{some}")
            found.update((row["task_id"], _task(row)) for row in rows)
        return found

    def unfinished_tasks(self, endpoint: str) -> Sequence[Task]:
        rows = self._pages("asking for unfinished tasks", "task_list", filter="status:ACTIVE,INACTIVE")
        return [task for task in map(_task, rows) if endpoint in (task.source_endpoint, task.destination_endpoint)]

    def cancel(self, task: str) -> None:
        """Ends well for a task that has ended: code ``TaskComplete``, which may come as 200 or as 409."""
        try:
            self._post(f"cancelling the task {task}", f"task/{task}/cancel", {})
        except ServiceRefused as error:
            if "TaskComplete" not in error.message:
                raise

    def events(self, task: str, limit: int = 20) -> Sequence[Event]:
        page = self._get(f"asking for the events of {task}", f"task/{task}/event_list", limit=limit)
        return [
            Event(
                code=str(row["code"]),
                is_error=bool(row["is_error"]),
                description=str(row.get("description") or ""),
                details=str(row.get("details") or ""),
                time=str(row["time"]),
            )
            for row in page["DATA"]
        ]

    def moved(self, task: str) -> Iterable[Moved]:
        query: dict[str, Any] = {}
        while True:
            page = self._get(f"asking what {task} moved", f"task/{task}/successful_transfers", **query)
            for row in page["DATA"]:
                yield Moved(str(row["source_path"]), str(row["destination_path"]))
            if not page.get("next_marker"):
                return
            query["marker"] = page["next_marker"]


_KINDS: Mapping[str, Literal["file", "dir", "link", "other"]] = {
    "file": "file",
    "dir": "dir",
    "invalid_symlink": "link",
}


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        name=str(row.get("name") or ""),
        type=_KINDS.get(str(row.get("type")), "other"),
        size=int(row.get("size") or 0),
        modified=str(row.get("last_modified") or ""),
    )


def _task(row: Mapping[str, Any]) -> Task:
    fatal = row.get("fatal_error") or {}
    destination = row.get("destination_endpoint_id")
    return Task(
        id=str(row["task_id"]),
        status=row["status"],
        label=str(row.get("label") or ""),
        source_endpoint=str(row.get("source_endpoint_id") or ""),
        destination_endpoint=str(destination) if destination else None,
        bytes_transferred=int(row.get("bytes_transferred") or 0),
        files=int(row.get("files") or 0),
        files_transferred=int(row.get("files_transferred") or 0),
        files_skipped=int(row.get("files_skipped") or 0),
        directories=int(row.get("directories") or 0),
        faults=int(row.get("faults") or 0),
        skipped_errors=int(row.get("subtasks_skipped_errors") or 0),
        nice_status=row.get("nice_status"),
        nice_details=row.get("nice_status_details"),
        fatal_code=fatal.get("code"),
        fatal_description=fatal.get("description"),
    )


def _consent(error: globus_sdk.GlobusAPIError) -> str:
    """The command that gives the consent that is missing, where the service names it."""
    needed = error.info.consent_required
    scopes = getattr(needed, "required_scopes", None) if needed else None
    return " ".join(["globus session consent", *(f"'{scope}'" for scope in scopes)]) if scopes else ""
