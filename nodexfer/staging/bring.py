"""Stage-in, from the job's side: refuse at once, ask, check what arrived, publish, write the receipt."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from nodexfer import identity
from nodexfer.errors import Interrupted, UrlMalformed
from nodexfer.paths import ground as ground_of
from nodexfer.staging import again, arrival, checksum, client, ground, plan, publish, receipt, spool, unpack, via_route
from nodexfer.staging.checksum import Verify
from nodexfer.staging.client import Client
from nodexfer.staging.naming import as_typed
from nodexfer.staging.plan import Fetch
from nodexfer.staging.receipt import Receipt, ReceiptFile
from nodexfer.staging.request import STALL_SECONDS, InItem, MovedItem, Progress, Request, Result


class _Target(NamedTuple):
    number: int
    fetch: Fetch
    #: The destination, with the links above it followed.
    path: str
    root: str


class _Contents(NamedTuple):
    """What is to be known of, and done with, what is in the sources."""

    extract: bool
    expect: str | None

    @classmethod
    def wanted(cls, fetches: Sequence[Fetch], extract: bool, expect: str | None) -> _Contents:
        """:raises UrlMalformed: no checksum, or several files for one."""
        if expect is not None:
            unpack.parse_checksum(expect)
            if len(fetches) != 1:
                raise UrlMalformed("A checksum is expected of one source, and there are several.", unpack.NEXT)
        return cls(extract, expect)


@as_typed
def bring(
    who: Client,
    fetches: Sequence[Fetch],
    *,
    overwrite: bool = False,
    merge: bool = False,
    verify: Verify = "size",
    stall: float = STALL_SECONDS,
    extract: bool = False,
    expect: str | None = None,
) -> Receipt:
    """Bring every source to its destination; the receipt. Nothing is published unless all of it is proven.

    :param extract: every source is an archive; what is in it becomes its destination, a directory.
    :param expect: the checksum of the only source, a file, as ``algorithm:hex``.
    :param verify: "checksum" reads what arrived once more, from the disk, for the receipt.
    :param stall: seconds without a byte after which a task is tried again through a restarted endpoint.

    What was written to meanwhile is moved again, twice at most.

    Dying in here leaves a request without an owner, which the desk cancels; or, between two renames of the publishing,
    whole files under their names. The receipt says "done" only at the end.

    :raises NodexferError: see :mod:`nodexfer.errors`; nothing was published, or the message names what was.
    """

    contents = _Contents.wanted(fetches, extract, expect)
    if extract:
        fetches = plan.unpacked(fetches)

    def once(tries: int) -> Receipt:
        return _bring(who, fetches, contents, tries, overwrite=overwrite, merge=merge, verify=verify, stall=stall)

    return again.until_still(once, who.on_progress)


def _bring(
    who: Client,
    fetches: Sequence[Fetch],
    contents: _Contents,
    tries: int,
    *,
    overwrite: bool,
    merge: bool,
    verify: Verify,
    stall: float,
) -> Receipt:
    targets = [_target(who, number, fetch) for number, fetch in enumerate(fetches)]
    plan.refuse_overlap([target.path for target in targets])
    for target in targets:
        ground.refuse_destination(target.path, overwrite=overwrite, merge=merge)
    requests = _requests(who, targets, overwrite=overwrite, merge=merge, verify=verify, stall=stall)
    asked = receipt.write(
        who.config.home_paths,
        Receipt(
            id=requests[0].id,
            direction="in",
            job=who.job.key,
            host=identity.host(),
            created=requests[0].created,
            verify=verify,
            attempts=tries,
        ),
    )
    directories: list[str] = []
    results: list[Result] = []
    try:
        results = via_route.results(who, requests, directories)
        arrived = _check(targets, requests, results)
        sums = _checksums(who, results, arrived) if verify == "checksum" else {}
        results = _look_inside(who, contents, targets, results, sums)
        _publish(who, targets, requests, results, overwrite=overwrite, merge=merge, verify=verify)
    except BaseException as error:
        client.call_off(who, directories)
        receipt.forget(who.config.home_paths, asked)
        _clear(results)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(
                "Interrupted; the transfer was cancelled, and nothing was published.", "nodexfer status"
            ) from error
        raise
    _clear(results)
    for directory in directories:
        spool.forget(directory)
    return _finish(who, asked, results, targets, arrived, sums)


def _target(who: Client, number: int, fetch: Fetch) -> _Target:
    path = ground.settle(fetch.destination)
    return _Target(number, fetch, path, ground.root_of(path, who.config))


def _requests(who: Client, targets: Sequence[_Target], **flags: Any) -> list[Request]:
    """One for each collection."""
    requests = []
    owner, now = client.owner(), time.time()
    for collection in dict.fromkeys(target.fetch.source.collection for target in targets):
        name = spool.new_id()
        mine = [target for target in targets if target.fetch.source.collection == collection]
        requests.append(
            Request(
                id=name,
                job=who.job.key,
                owner=owner,
                direction="in",
                ins=tuple(
                    InItem(t.number, collection, t.fetch.source.path, t.root, ground_of(t.root, who.config.node_dir))
                    for t in mine
                ),
                deadline=who.deadline,
                created=now,
                service=who.service,
                client=who.identity,
                wait_endpoint=who.wait_endpoint,
                litter=tuple(publish.near(target.path, name, target.number) for target in mine),
                measure=who.measure,
                **flags,
            )
        )
    return requests


def _check(targets: Sequence[_Target], requests: Sequence[Request], results: Sequence[Result]) -> list[arrival.Arrived]:
    found = []
    for request, result in zip(requests, results, strict=True):
        found += arrival.check(result, [item.number for item in request.ins])
    assert {file.number for file in found} <= {target.number for target in targets}
    return found


def _checksums(
    who: Client, results: Sequence[Result], arrived: Sequence[arrival.Arrived]
) -> dict[tuple[int, str], str]:
    """Of every file that arrived, by the number of its item and its path there."""
    who.on_progress(Progress(state="reading what arrived once more"))
    where = {item.number: item.local for result in results for item in result.items}
    return {
        (file.number, file.path): checksum.of_file(
            os.path.join(where[file.number], file.path).rstrip("/"), who.deadline
        )
        for file in arrived
    }


def _look_inside(
    who: Client,
    contents: _Contents,
    targets: Sequence[_Target],
    results: Sequence[Result],
    sums: dict[tuple[int, str], str],
) -> list[Result]:
    """Compare the checksum and unpack, as far as wanted: the results, with what is to be published."""
    called = {target.number: target.fetch.source.text for target in targets}
    if contents.expect is not None:
        who.on_progress(Progress(state="comparing its checksum"))
        (item,) = (item for result in results for item in result.items)
        unpack.refuse_other(item.local, called[item.number], contents.expect, who.deadline)
        sums[item.number, ""] = contents.expect
    if not contents.extract:
        return list(results)
    who.on_progress(Progress(state="unpacking"))
    return [
        msgspec.structs.replace(
            result,
            items=tuple(_unpacked(item, called[item.number], who.deadline) for item in result.items),
        )
        for result in results
    ]


def _unpacked(item: MovedItem, called: str, deadline: float) -> MovedItem:
    into = f"{os.path.dirname(item.local)}/unpacked-{item.number}"
    unpack.unpack(item.local, into, called, deadline)
    return msgspec.structs.replace(item, local=into, is_directory=True)


def _publish(
    who: Client,
    targets: Sequence[_Target],
    requests: Sequence[Request],
    results: Sequence[Result],
    *,
    overwrite: bool,
    merge: bool,
    verify: Verify,
) -> None:
    by_number = {target.number: target for target in targets}
    publications = []
    for request, result in zip(requests, results, strict=True):
        for item in result.items:
            path = by_number[item.number].path
            publications.append(publish.Publication(item.local, path, publish.near(path, request.id, item.number)))

    def check(original: str, copy: str) -> None:
        checksum.refuse_other(original, copy, who.deadline)

    publish.publish(publications, overwrite=overwrite, merge=merge, check=check if verify == "checksum" else None)


def _clear(results: Sequence[Result]) -> None:
    publish.remove(sorted({os.path.dirname(item.local) for result in results for item in result.items}))


def _finish(
    who: Client,
    asked: Receipt,
    results: Sequence[Result],
    targets: Sequence[_Target],
    arrived: Sequence[arrival.Arrived],
    sums: Mapping[tuple[int, str], str],
) -> Receipt:
    by_number = {target.number: target for target in targets}
    files = []
    for file in arrived:
        target = by_number[file.number]
        source, below = target.fetch.source, f"/{file.path}" if file.path else ""
        url = f"globus://{source.collection}{source.path}{below}"
        files.append(ReceiptFile(url, f"{target.path}{below}", file.size, sums.get(file[:2])))
    return receipt.complete(who.config.home_paths, asked, results, files, "The data are in place and proven")
