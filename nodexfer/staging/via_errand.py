"""What one process is to carry between a far collection and the site's own, and what it remembers on disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from nodexfer.errors import EndpointFailed, ServiceUnreachable
from nodexfer.globus.protocol import Globus
from nodexfer.staging import spool
from nodexfer.staging.request import Batch, BatchItem, Progress, Request
from nodexfer.staging.via_site import Site

_T = TypeVar("_T")
AWAY = (ServiceUnreachable, EndpointFailed)
#: Seconds that a call may fail for before that is the end; a task that moves is waited for until the deadline.
_PATIENCE = 60.0


class Errand(NamedTuple):
    """``request`` names one collection; its items lie, or arrive, as ``<data>/<number>``, which ``site`` shows."""

    globus: Globus
    site: Site
    request: Request
    data: str
    #: Where the state is kept: the record ``name`` in ``directory``.
    directory: str
    name: str
    label: str
    tell: Callable[[Progress], None] = lambda _: None

    @property
    def direction(self) -> str:
        return self.request.direction

    @property
    def collection(self) -> str:
        return (self.request.ins or self.request.outs)[0].collection

    def seen(self, items: Sequence[BatchItem]) -> list[BatchItem]:
        """As the site's collection names them."""
        return [msgspec.structs.replace(item, local=self.site.remote(item.local)) for item in items]


def saved(errand: Errand, *, whole: bool = True) -> Batch | None:
    """What an earlier process has begun; with ``whole`` False also what only tells of attempts that failed."""
    found = spool.read(errand.directory, errand.name, Batch)
    return found if found is not None and (found.submission_id or not whole) else None


def keep(errand: Errand, batch: Batch) -> Batch:
    """Write it down. :raises HomeFull, NodeDirRemoved: nothing was changed."""
    spool.write(errand.directory, errand.name, batch)
    return batch


def forget(errand: Errand) -> None:
    """It is over, and its result has been noted: a further call starts anew."""
    try:
        os.unlink(f"{errand.directory}/{errand.name}")
    except FileNotFoundError:
        pass


def patiently(errand: Errand, call: Callable[[], _T]) -> _T:
    """Make a call again while the service is away. :raises NodexferError: it stays away, or says no."""
    end = time.monotonic() + min(_PATIENCE, max(errand.request.deadline - time.time(), 0.0))
    pause = 0.25
    while True:
        try:
            return call()
        except AWAY as error:
            if time.monotonic() + pause > end:
                raise
            errand.tell(Progress(state=f"trying again: {error.message}"))
        time.sleep(pause)
        pause = min(2 * pause, 5.0)
