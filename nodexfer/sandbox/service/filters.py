"""The query language of the Transfer API: filter clauses, order, pages (task list, directory listing, events)."""

from __future__ import annotations

import datetime as dt
import fnmatch
from typing import Any

from nodexfer.sandbox.service.errors import bad_request

Row = dict[str, Any]

DATES = frozenset({"request_time", "completion_time", "last_modified", "time"})


def select(rows: list[Row], filters: list[str]) -> list[Row]:
    """Rows that satisfy one of ``filters``; each is clauses joined by "/", all of which must hold."""
    wanted = [_clauses(text) for text in filters if text]
    if not wanted:
        return rows
    return [row for row in rows if any(all(_holds(row, *clause) for clause in clauses) for clauses in wanted)]


def _clauses(text: str) -> list[tuple[str, list[str]]]:
    clauses = []
    for clause in text.split("/"):
        field, colon, values = clause.partition(":")
        if not colon:
            raise bad_request(f"Invalid filter clause '{clause}'")
        clauses.append((field, values.split(",")))
    return clauses


def _holds(row: Row, field: str, values: list[str]) -> bool:
    if field not in row:
        raise bad_request(f"Invalid filter field '{field}'")
    if field in DATES:
        return _within(row[field], values)
    return any(_matches(_text(row[field]), value) for value in values)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else "" if value is None else str(value)


def _matches(found: str, wanted: str) -> bool:
    """``=x`` or ``x`` exactly, ``~x`` with ``*``, ``!x`` and ``!~x`` the opposite; letters' case is ignored."""
    negative = wanted.startswith("!")
    wanted = wanted[1:] if negative else wanted
    if wanted.startswith("~"):
        # Only the star is special here.
        pattern = wanted[1:].lower().replace("[", "[[]").replace("?", "[?]")
        matched = fnmatch.fnmatchcase(found.lower(), pattern)
    else:
        matched = found.lower() == wanted.removeprefix("=").lower()
    return matched != negative


def _within(value: str | None, limits: list[str]) -> bool:
    if value is None:
        return False
    begin, end = [*limits, "", ""][:2]
    moment = parse_time(value)
    return (not begin or moment >= parse_time(begin)) and (not end or moment <= parse_time(end))


def parse_time(text: str) -> float:
    """ISO 8601 to seconds since the epoch; without a zone it is UTC. :raises ApiError: 400, it is no time."""
    try:
        moment = dt.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.timezone.utc)
        return moment.astimezone(dt.timezone.utc).timestamp()
    except (ValueError, OverflowError):  # the latter: before the year 1, or after 9999, once it is UTC
        raise bad_request(f"Invalid date '{text}'") from None


def order(rows: list[Row], orderby: str) -> list[Row]:
    """``field [ASC|DESC]``, several joined by commas."""
    for term in reversed([term.split() for term in orderby.split(",") if term.strip()]):
        field, direction = term[0], (term[1] if len(term) > 1 else "ASC").upper()
        if direction not in ("ASC", "DESC") or any(field not in row for row in rows):
            raise bad_request(f"Invalid orderby '{orderby}'")
        rows = _sorted(rows, field, descending=direction == "DESC")
    return rows


def _sorted(rows: list[Row], field: str, *, descending: bool) -> list[Row]:
    return sorted(rows, key=lambda row: _key(row[field]), reverse=descending)


def _key(value: object) -> tuple[int, float, str]:
    if value is None:
        return (0, 0.0, "")
    return (1, float(value), "") if isinstance(value, (int, float)) else (2, 0.0, str(value))


def number(text: str | None, default: int, most: int) -> int:
    """A count out of a query. :raises ApiError: 400, it is none."""
    if text is None or text == "":
        return default
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise bad_request(f"Invalid number '{text}'")
    return min(value, most)


def fields(row: Row, wanted: str | None) -> Row:
    """Only the fields that were asked for, with what says the kind of document."""
    if not wanted:
        return row
    names = {"DATA_TYPE", *wanted.split(",")}
    return {name: value for name, value in row.items() if name in names}
