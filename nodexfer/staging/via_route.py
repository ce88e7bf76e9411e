"""Which way a request takes: ``direct`` by an endpoint on this node, ``via`` the site's own collection, or ``auto``."""

from __future__ import annotations

import os
from collections.abc import Sequence

from nodexfer.errors import EndpointError
from nodexfer.node import silence
from nodexfer.staging import client, spool
from nodexfer.staging.client import Client
from nodexfer.staging.request import Progress, Request, Result


def results(
    who: Client, requests: Sequence[Request], directories: list[str], gathered: Sequence[str] = ()
) -> list[Result]:
    """Have all requests served; in the order given. ``directories`` gets what is in the spool for their sake.

    ``auto`` is ``direct``, and ``via`` where no endpoint can be had and the configuration has a collection to go by.

    :param gathered: directories that must still be there for a second try.
    :raises NodexferError: the first that one of them ends with. What is in the spool is the caller's to call off.
    """
    if who.route == "via":
        return _via(who, requests, directories)
    try:
        directories.extend(client.ask(who, request) for request in requests)
        return client.results(_impatient(who, directories), directories)
    except EndpointError as error:
        if who.route != "auto" or not _is_open(who):
            raise
        client.call_off(who, directories)
        if not all(map(os.path.isdir, gathered)) or any(map(os.path.exists, directories)):
            raise
        directories.clear()
        who.on_progress(Progress(state=f"going via the site's own collection: {error.message}"))
    return _via(who, requests, directories)


def _impatient(who: Client, directories: Sequence[str]) -> Client:
    """Does not wait for a leader that can not be ended, unless Globus is at work for the request already."""
    if who.route != "auto" or not any(found.local_path for found in who.config.collections.values()):
        return who

    def tell(progress: Progress) -> None:
        blocked = silence.blocked(who.config.node_paths)
        if blocked is not None and not any(os.path.exists(f"{path}/{spool.BATCH}") for path in directories):
            raise blocked
        who.on_progress(progress)

    return who._replace(on_progress=tell)


def _via(who: Client, requests: Sequence[Request], directories: list[str]) -> list[Result]:
    # Imported here: most commands, from a parallel file system, never need it.
    from nodexfer.staging import via

    return via.results(who, requests, directories)


def _is_open(who: Client) -> bool:
    from nodexfer.staging import via

    return via.is_open(who)
