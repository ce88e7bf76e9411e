"""Which way a request takes: ``direct`` by an endpoint on this node, ``via`` the site's own collection, or ``auto``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import msgspec

from nodexfer.errors import EndpointError, Interrupted, NodexferError, from_record
from nodexfer.node import endpoint, silence
from nodexfer.staging import client, spool
from nodexfer.staging.client import Client
from nodexfer.staging.request import Progress, Request, Result
from nodexfer.units import format_duration

#: Seconds between two looks at what the leader waits for.
_LOOK_SECONDS = 1.0


def results(
    who: Client, requests: Sequence[Request], directories: list[str], gathered: Sequence[str] = ()
) -> list[Result]:
    """Have all requests served; in the order given. ``directories`` gets what is in the spool for their sake.

    ``auto`` is ``direct``, and ``via`` where no endpoint can be had and the configuration has a collection to go by.
    Then an endpoint is waited for as long as the user says, or else for ``via_after`` seconds and at most half of the
    time that is left.

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
        why = f"it went via the site's own collection: {error.message}"
        who.on_progress(Progress(state=f"going via the site's own collection: {error.message}"))
    first, *others = _via(who, requests, directories)
    return [msgspec.structs.replace(first, warnings=(*first.warnings, why.rstrip("."))), *others]


def _impatient(who: Client, directories: Sequence[str]) -> Client:
    """Waits only so long for what may never come, unless Globus is at work for the request already."""
    if who.route != "auto" or not any(found.local_path for found in who.config.collections.values()):
        return who
    return who._replace(on_progress=_Patience(who, directories).tell)


class _Patience:
    def __init__(self, who: Client, directories: Sequence[str]) -> None:
        self._who, self._directories = who, directories
        #: (Monotonic.) The other half is for the other way, however often one leader follows another until then.
        self._half = time.monotonic() + max(who.deadline - time.time(), 0.0) / 2
        self._next_look = 0.0
        #: Since when (monotonic) the leader waits, and what for.
        self._since: float | None = None
        self._waiting: NodexferError | None = None

    def tell(self, progress: Progress) -> None:
        """:raises NodexferError: what it is not waited for any longer."""
        blocked = silence.blocked(self._who.config.node_paths)
        if blocked is not None and not self._has_begun:
            raise blocked
        self._look(time.monotonic())
        if self._since is not None and self._waiting is not None:
            left = max(min(self._since + self._who.config.via_after, self._half) - time.monotonic(), 0.0)
            if left == 0 and not self._has_begun:
                raise self._waiting
            words = f"in {format_duration(left)} it goes via the site's own collection"
            progress = msgspec.structs.replace(progress, state=f"waiting: {self._waiting.message} Else {words}")
        self._who.on_progress(progress)

    @property
    def _has_begun(self) -> bool:
        return any(os.path.exists(f"{path}/{spool.BATCH}") for path in self._directories)

    def _look(self, now: float) -> None:
        if now < self._next_look or self._who.wait_endpoint is not None:
            return
        self._next_look = now + _LOOK_SECONDS
        try:
            found = endpoint.read(self._who.config.node_paths)
        except Interrupted:
            raise  # by a signal, which comes once
        except (NodexferError, OSError):
            return
        if found is None or not found.led or found.state != endpoint.WAITING or found.waiting is None:
            self._since = self._waiting = None
        elif not self._has_begun and _is_open(self._who):
            self._since = now if self._since is None else self._since
            self._waiting = from_record(found.waiting)


def _via(who: Client, requests: Sequence[Request], directories: list[str]) -> list[Result]:
    # Imported here: most commands, from a parallel file system, never need it.
    from nodexfer.staging import via

    return via.results(who, requests, directories)


def _is_open(who: Client) -> bool:
    from nodexfer.staging import via

    return via.is_open(who)
