"""Stage-out, from the job's side: look at all outputs, link them, ask, write the receipt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from nodexfer import identity
from nodexfer.errors import Interrupted
from nodexfer.staging import client, exchange, outgoing, plan, publish, receipt, spool
from nodexfer.staging.client import Client
from nodexfer.staging.outgoing import Output
from nodexfer.staging.receipt import Receipt, ReceiptFile
from nodexfer.staging.request import Request, Result
from nodexfer.staging.stall import STALL_SECONDS


def send(
    who: Client,
    sends: Sequence[plan.Send],
    *,
    overwrite: bool = False,
    merge: bool = False,
    stall: float = STALL_SECONDS,
) -> Receipt:
    """Send every output to its destination; the receipt. Every output is looked at before the first is sent.

    :param stall: seconds without a byte after which a task is tried again through a restarted endpoint.

    Dying in here leaves a request without an owner, which the desk cancels: temporary names at the far side are
    deleted, or, where the task was proven already, renamed to the end.

    :raises NodexferError: see :mod:`nodexfer.errors`; nothing was published, or the message names what was.
    """
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
        ),
    )
    groups = {name: [o for o in outputs if o.send.destination.collection == where] for where, name in names.items()}
    directories: list[str] = []
    results: list[Result] = []
    gathered = [path for name, group in groups.items() for path in outgoing.directories(group, name, who.config)]
    try:
        for name, group in groups.items():
            request = _request(who, name, group, created, overwrite=overwrite, merge=merge, stall=stall)
            directories.append(client.ask(who, request))
        results = client.results(who, directories)
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
    return _finish(who, asked, results, list(groups.values()))


def _request(who: Client, name: str, group: Sequence[Output], created: float, **flags: Any) -> Request:
    items = outgoing.gather(group, name, who.config)
    return Request(
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
        fingerprint=exchange.fingerprint(outgoing.directories(group, name, who.config)),
        **flags,
    )


def _left(results: Sequence[Result]) -> list[str]:
    """The request's directories in the exchanges."""
    return sorted({item.local.rpartition("/")[0] for result in results for item in result.items})


def _finish(who: Client, asked: Receipt, results: Sequence[Result], groups: Sequence[Sequence[Output]]) -> Receipt:
    files = []
    for result, group in zip(results, groups, strict=True):
        remote = {item.number: item.remote for item in result.items}
        for number, output in enumerate(group):
            for seen in output.files:
                below = f"/{seen.path}" if seen.path else ""
                url = f"globus://{output.send.destination.collection}{remote[number]}{below}"
                files.append(ReceiptFile(seen.source, url, seen.size))
    return receipt.complete(who.config.home_paths, asked, results, files, "The data were sent and proven")
