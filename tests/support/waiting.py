"""Waiting without sleeping for luck: poll until it is so, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(check: Callable[[], T], deadline: float = 30.0, *, every: float = 0.01) -> T:
    """Call ``check`` until it returns something true and return that.

    An AssertionError or OSError of ``check`` counts as "not yet"; after ``deadline`` seconds the last one is raised as
    it is, so that the report shows what was still missing. Nothing is promised by that time: on a loaded machine the
    start of one Python can take ten seconds. Where a time is promised, it is given.
    """
    end = time.monotonic() + deadline
    while True:
        missing: AssertionError | OSError | None = None
        try:
            if found := check():
                return found
        except (AssertionError, OSError) as error:
            missing = error
        if time.monotonic() >= end:
            raise missing or AssertionError(f"not so within {deadline:g} s: {check}")
        time.sleep(every)
