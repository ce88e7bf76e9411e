"""Moved again, from the look on: a file that was written to while it was moved may be still the next time."""

from __future__ import annotations

from collections.abc import Callable

from nodexfer.errors import ChangedMeanwhile
from nodexfer.staging.client import OnProgress
from nodexfer.staging.receipt import Receipt
from nodexfer.staging.request import Progress

TRIES = 3


def until_still(work: Callable[[int], Receipt], tell: OnProgress, *, tries: int = TRIES) -> Receipt:
    """Do ``work``, which gets the number of tries before it, until nothing changes under it.

    :param tries: 1 where a part of it may have its final name by then.
    :raises ChangedMeanwhile: each time something did.
    """
    for before in range(tries - 1):
        try:
            return work(before)
        except ChangedMeanwhile:
            tell(Progress(state="a file was written to meanwhile: moving again"))
    try:
        return work(tries - 1)
    except ChangedMeanwhile as error:
        said = f" So it was each of {tries} times." if tries > 1 else ""
        raise ChangedMeanwhile(f"{error.message}{said}", error.next) from error
