"""Errors in the words of whoever asked: a collection is called what was typed, where below it has only its UUID.

The next command keeps the UUID: globus-cli knows no other name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from nodexfer.errors import NodexferError
from nodexfer.staging.location import Remote
from nodexfer.staging.plan import Fetch, Send

_Move = TypeVar("_Move", bound=Callable[..., Any])


def names(remotes: Sequence[Remote]) -> dict[str, str]:
    """The name that each collection was typed by; those that were typed as a UUID are left out."""
    found: dict[str, str] = {}
    for remote in remotes:
        name = remote.text.partition(":")[0]
        if name != "globus" and name.lower() != remote.collection:
            found.setdefault(remote.collection, name)
    return found


@contextmanager
def typed(known: dict[str, str]) -> Iterator[None]:
    """Errors from in here say the names of ``known`` (by UUID)."""
    try:
        yield
    except NodexferError as error:
        words = error.message
        for collection, name in known.items():
            words = words.replace(collection, name)
        error.say(words)
        raise


def as_typed(move: _Move) -> _Move:
    """For what brings or sends a plan: its errors say the names in the plan."""

    @functools.wraps(move)
    def named(who: Any, wanted: Sequence[Fetch | Send], **options: Any) -> Any:
        remotes = [one.source if isinstance(one, Fetch) else one.destination for one in wanted]
        with typed(names(remotes)):
            return move(who, wanted, **options)

    return cast(_Move, named)
