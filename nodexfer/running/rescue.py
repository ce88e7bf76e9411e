"""Outputs that Globus does not take in time: the one place where ``run`` meets the salvage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nodexfer.staging.client import Client
from nodexfer.staging.plan import Send
from nodexfer.staging.receipt import Receipt
from nodexfer.units import format_bytes

#: So many are named of what could not be saved.
_NAMED = 3


class Saved(NamedTuple):
    """``words`` say what is where, ``next`` is the command that sends it from there."""

    words: str
    next: str
    receipt: Receipt


def save(
    who: Client, sends: Sequence[Send], deadline: float, *, first: Sequence[str], overwrite: bool, merge: bool
) -> Saved:
    """Copy what is there to the shared file system, in this process, until ``deadline`` (seconds since the epoch).

    :param first: patterns of what is saved before all else.

    :raises NodexferError: nothing, or not everything, could be saved; the message says what was.
    """
    from nodexfer.staging.salvage import save

    saved = save(who, sends, first=first, deadline=deadline, overwrite=overwrite, merge=merge)
    count = len(saved.files)
    size = format_bytes(sum(file.size for file in saved.files))
    words = f"Saved on the shared file system: {count} file{'' if count == 1 else 's'}, {size}, in {saved.directory}."
    if saved.unsaved:
        more = f", and {len(saved.unsaved) - _NAMED} more" if len(saved.unsaved) > _NAMED else ""
        words += f" Not saved: {'; '.join(saved.unsaved[:_NAMED])}{more}."
    for warning in saved.receipt.warnings[:_NAMED]:
        words += f" {warning}."
    return Saved(words, f"nodexfer resume {saved.receipt.id}", saved.receipt)
