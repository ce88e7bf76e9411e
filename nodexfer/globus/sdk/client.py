"""The calls: one method of the protocol each, every error in our words."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import globus_sdk

from nodexfer.errors import ServiceRefused
from nodexfer.globus import codes
from nodexfer.globus.protocol import Collection, Entry, Event, Moved, NewEndpoint, Submission, Task
from nodexfer.globus.sdk import documents
from nodexfer.globus.sdk.login import Login, base_url, client_options

#: Rows of one page, and task ids of one question (they travel in the URL).
PAGE, IDS = 1000, 50
LABEL_LENGTH = 128
#: Nobody wants e-mails from jobs (Transfer API, task submission: all three default to true).
QUIET = {"notify_on_succeeded": False, "notify_on_failed": False, "notify_on_inactive": False}


class Asked(NamedTuple):
    """What is asked, for the sentence when it is refused, and what somebody could then type to see more."""

    what: str
    next: str = "nodexfer status"


def _about(what: str, collection: str, path: str) -> Asked:
    shown = shlex.quote(f"{collection}:{posixpath.dirname(path.rstrip('/')) or '/'}")
    return Asked(f"{what} on {collection}", f"globus ls {shown}")


class SdkGlobus:
    """:class:`nodexfer.globus.protocol.Globus`. Threads may share one."""

    def __init__(self, login: Login, timeout: float, environ: Mapping[str, str]) -> None:
        self._login = login
        # By shape, not by inheritance: both versions only call its two methods.
        authorizer: Any = login
        self._client = globus_sdk.TransferClient(
            authorizer=authorizer, base_url=base_url(environ, "TRANSFER"), **client_options(timeout)
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

    def _call(self, asked: Asked, call: Callable[[], Any]) -> dict[str, Any]:
        try:
            found = self._authorized(call).data
        except globus_sdk.GlobusAPIError as error:
            mend = _consent(error) or asked.next
            raise codes.transfer_error(
                error.http_status, str(error.code), error.message or "", asked.what, mend
            ) from error
        except globus_sdk.NetworkError as error:
            raise codes.unreachable(self.service, str(error)) from error
        if not isinstance(found, dict):  # a proxy's page, say
            raise codes.unreachable(self.service, "what answers there is not Globus Transfer")
        return found

    @staticmethod
    def _authorized(call: Callable[[], Any]) -> Any:
        """The SDK renews a token that is refused at its last attempt (after two busy answers), and then gives up."""
        try:
            return call()
        except globus_sdk.GlobusAPIError as error:
            if error.http_status != 401:
                raise
        return call()

    def _get(self, asked: Asked, where: str, /, **query: Any) -> dict[str, Any]:
        return self._call(asked, lambda: self._client.get(f"/v0.10/{where}", query_params=query))

    def _post(self, asked: Asked, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._call(asked, lambda: self._client.post(f"/v0.10/{path}", data=body))

    def _pages(self, asked: Asked, path: str, /, **query: Any) -> Iterator[dict[str, Any]]:
        """Every row of a list that is paged by limit and offset."""
        offset = 0
        while True:
            page = self._get(asked, path, limit=PAGE, offset=offset, **query)
            yield from page["DATA"]
            offset += len(page["DATA"])
            if not page["DATA"] or offset >= int(page.get("total", 0)):
                return

    # -- endpoints ---------------------------------------------------------------------------------------------------

    def create_endpoint(self, name: str) -> NewEndpoint:
        """A GCP mapped collection that no search shows to others (``public`` defaults to true)."""
        body = {"DATA_TYPE": "endpoint", "is_globus_connect": True, "display_name": name, "public": False}
        answer = self._post(Asked(f"creating the endpoint {name}", "nodexfer pool list"), "endpoint", body)
        return NewEndpoint(str(answer["id"]), str(answer["globus_connect_setup_key"]))

    def delete_endpoint(self, endpoint: str) -> None:
        asked = Asked(f"deleting the endpoint {endpoint}", f"globus endpoint show {endpoint}")
        self._call(asked, lambda: self._client.delete(f"/v0.10/endpoint/{endpoint}"))

    def own_endpoint(self, name: str) -> str | None:
        """The id of our own endpoint with exactly this display name, or None."""
        query = {"filter_scope": "my-endpoints", "filter_fulltext": name}
        for row in self._pages(Asked(f"looking for the endpoint {name}"), "endpoint_search", **query):
            if row["display_name"] == name and row["owner_id"] == self.identity():
                return str(row["id"])
        return None

    def collection(self, collection: str) -> Collection:
        asked = Asked(f"looking up {collection}", f"globus endpoint show {collection}")
        row = self._get(asked, f"endpoint/{collection}")
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
        asked, where = _about(f"listing {path}", collection, path), f"operation/endpoint/{collection}/ls"
        rows: list[Entry] = []
        while True:
            page = self._get(asked, where, path=path, show_hidden="true", limit=100_000, offset=len(rows))
            rows.extend(map(documents.entry, page["DATA"]))
            if not page["DATA"] or len(rows) >= int(page.get("total") or 0):
                return rows

    def stat(self, collection: str, path: str) -> Entry:
        asked = _about(f"looking at {path}", collection, path)
        return documents.entry(self._get(asked, f"operation/endpoint/{collection}/stat", path=path))

    def mkdir(self, collection: str, path: str) -> None:
        body = {"DATA_TYPE": "mkdir", "path": path}
        self._post(_about(f"making {path}", collection, path), f"operation/endpoint/{collection}/mkdir", body)

    def rename(self, collection: str, old: str, new: str) -> None:
        body = {"DATA_TYPE": "rename", "old_path": old, "new_path": new}
        asked = _about(f"renaming {old} to {new}", collection, new)
        self._post(asked, f"operation/endpoint/{collection}/rename", body)

    # -- tasks -------------------------------------------------------------------------------------------------------

    def submission_id(self) -> str:
        return str(self._get(Asked("asking for a submission id"), "submission_id")["value"])

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
        return self._task_of(self._post(Asked("submitting a transfer"), "transfer", body))

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
        return self._task_of(self._post(Asked(f"submitting a deletion on {collection}"), "delete", body))

    def _task_of(self, answer: Mapping[str, Any]) -> str:
        """``Accepted``, or ``Duplicate`` for a submission id that was used: the same task either way."""
        if answer.get("code") not in ("Accepted", "Duplicate") or not answer.get("task_id"):
            raise ServiceRefused(
                f"Globus did not accept the task: {answer.get('code')}: {answer.get('message')}", "nodexfer status"
            )
        return str(answer["task_id"])

    def tasks(self, ids: Sequence[str]) -> Mapping[str, Task]:
        found: dict[str, Task] = {}
        for start in range(0, len(ids), IDS):
            some = ",".join(ids[start : start + IDS])
            rows = self._pages(Asked("asking for tasks"), "task_list", filter=f"task_id:{some}")
            found.update((row["task_id"], documents.task(row)) for row in rows)
        return found

    def unfinished_tasks(self, endpoint: str) -> Sequence[Task]:
        rows = self._pages(Asked("asking for unfinished tasks"), "task_list", filter="status:ACTIVE,INACTIVE")
        return [
            task for task in map(documents.task, rows) if endpoint in (task.source_endpoint, task.destination_endpoint)
        ]

    def cancel(self, task: str) -> None:
        """Ends well for a task that has ended: code ``TaskComplete``, which may come as 200 or as 409."""
        try:
            self._post(Asked(f"cancelling the task {task}"), f"task/{task}/cancel", {})
        except ServiceRefused as error:
            if "TaskComplete" not in error.message:
                raise

    def events(self, task: str, limit: int = 20) -> Sequence[Event]:
        page = self._get(Asked(f"asking for the events of {task}"), f"task/{task}/event_list", limit=limit)
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
            page = self._get(Asked(f"asking what {task} moved"), f"task/{task}/successful_transfers", **query)
            for row in page["DATA"]:
                yield Moved(str(row["source_path"]), str(row["destination_path"]))
            if not page.get("next_marker"):
                return
            query["marker"] = page["next_marker"]


def _consent(error: globus_sdk.GlobusAPIError) -> str:
    """The command that gives the consent that is missing, where the service names it."""
    needed = error.info.consent_required
    scopes = getattr(needed, "required_scopes", None) if needed else None
    return " ".join(["globus session consent", *(f"'{scope}'" for scope in scopes)]) if scopes else ""
