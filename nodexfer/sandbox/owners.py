"""Names of users and groups, remembered: a listing asks for the same one thousands of times."""

from __future__ import annotations

import functools
import grp
import pwd


@functools.lru_cache(maxsize=256)
def user(number: int) -> str:
    """The name, or the number as text where there is none (containers with an unknown uid)."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


@functools.lru_cache(maxsize=256)
def group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
