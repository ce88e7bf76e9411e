"""Stage-out, from the job's side: look at all outputs, link them, ask, write the receipt."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from nodexfer import identity
from nodexfer.errors import Interrupted
from nodexfer.staging import again, checksum, client, exchange, outgoing, plan, publish, receipt, spool, via_route
from nodexfer.staging.checksum import Verify
from nodexfer.staging.client import Client
from nodexfer.staging.naming import as_typed
from nodexfer.staging.outgoing import Output
from nodexfer.staging.receipt import Receipt, ReceiptFile
from nodexfer.staging.request import STALL_SECONDS, Progress, Request, Result


@as_typed
def send(
    who: Client,
    sends: Sequence[plan.Send],
    *,
    overwrite: bool = False,
    merge: bool = False,
    verify: Verify = "size",
    stall: float = STALL_SECONDS,
) -> Receipt:
    """Send every output to its destination; the receipt. Every output is looked at before the first is sent.

    :param verify: "checksum" reads every output before it is sent, and again before it gets its name at the far side.
    :param stall: seconds without a byte after which a task is tried again through a restarted endpoint.

    What was written to meanwhile is moved again, twice at most.

    Dying in here leaves a request without an owner, which the desk cancels: temporary names at the far side are
    deleted, or, where the task was proven already, renamed to the end.

    :raises NodexferError: see :mod:`nodexfer.errors`; nothing was published, or the message names what was.
    """

    def once(tries: int) -> Receipt:
        return _send(who, sends, tries, overwrite=overwrite, merge=merge, verify=verify, stall=stall)

    # What goes to one collection gets its names when all of it is proven; two collections know nothing of each other.
    collections = {send.destination.collection for send in sends}
    return again.until_still(once, who.on_progress, tries=again.TRIES if len(collections) == 1 else 1)


def _send(
    who: Client, sends: Sequence[plan.Send], tries: int, *, overwrite: bool, merge: bool, verify: Verify, stall: float
) -> Receipt:
    outputs = outgoing.survey(plan.distinct_sends(sends), who.config)
    names = {send.destination.collection: spool.new_id() for send in sends}
    created = time.time()
    asked = receipt.write(
        who.config.home_paths,
        Receipt(
            id=next(iter(names.values())),
            direction="out",
            job=who.job.key,
            host=identity.host(),
            created=created,
            verify=verify,
            attempts=tries,
        ),
    )
    groups = {name: [o for o in outputs if o.send.destination.collection == where] for where, name in names.items()}
    directories: list[str] = []
    requests: list[Request] = []
    results: list[Result] = []
    sums: list[Mapping[str, str]] = []
    gathered = [path for name, group in groups.items() for path in outgoing.directories(group, name, who.config)]
    try:
        for name, group in groups.items():
            flags = {"overwrite": overwrite, "merge": merge, "verify": verify, "stall": stall}
            request, found = _request(who, name, group, created, **flags)
            sums.append(found)
            requests.append(request)
        results = via_route.results(who, requests, directories, gathered)
    except BaseException as error:
        client.call_off(who, directories)
        publish.remove(gathered)
        receipt.forget(who.config.home_paths, asked)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted("Interrupted; what was not yet published was called off.", "nodexfer status") from error
        raise
    publish.remove([*gathered, *_left(results)])
    for directory in directories:
        spool.forget(directory)
    return _finish(who, asked, results, list(groups.values()), sums)


def _request(
    who: Client, name: str, group: Sequence[Output], created: float, **flags: Any
) -> tuple[Request, Mapping[str, str]]:
    """The request, and the checksums of its files where they are wanted: by ``<number>[/<path>]``."""
    items = outgoing.gather(group, name, who.config)
    places = outgoing.directories(group, name, who.config)
    sums: Mapping[str, str] | None = None
    if flags["verify"] == "checksum":
        who.on_progress(Progress(state="reading the outputs"))
        sums = checksum.of_trees(places, who.deadline)
    request = Request(
        id=name,
        job=who.job.key,
        owner=client.owner(),
        direction="out",
        outs=items,
        deadline=who.deadline,
        created=created,
        service=who.service,
        client=who.identity,
        wait_endpoint=who.wait_endpoint,
        fingerprint=exchange.fingerprint(places, sums),
        **flags,
    )
    return request, sums or {}


def _left(results: Sequence[Result]) -> list[str]:
    """The request's directories in the exchanges."""
    return sorted({item.local.rpartition("/")[0] for result in results for item in result.items})


def _finish(
    who: Client,
    asked: Receipt,
    results: Sequence[Result],
    groups: Sequence[Sequence[Output]],
    sums: Sequence[Mapping[str, str]],
) -> Receipt:
    files = []
    for result, group, known in zip(results, groups, sums, strict=True):
        remote = {item.number: item.remote for item in result.items}
        for number, output in enumerate(group):
            for seen in output.files:
                below = f"/{seen.path}" if seen.path else ""
                url = f"globus://{output.send.destination.collection}{remote[number]}{below}"
                files.append(ReceiptFile(seen.source, url, seen.size, known.get(f"{number}{below}")))
    return receipt.complete(who.config.home_paths, asked, results, files, "The data were sent and proven")
