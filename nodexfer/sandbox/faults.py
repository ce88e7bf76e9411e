"""Faults that are set and cleared while the sandbox runs, and the switches.

Every kind says which fields it takes; a fault with ``count`` is used up, one without stays until it is cleared.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from nodexfer.sandbox.store import Store
from nodexfer.sandbox.switches import Switches

#: Kind -> the fields that it takes. ``endpoint`` left out or "all": every endpoint.
KINDS: dict[str, frozenset[str]] = {
    # The service loses the endpoint; the stand-in's connection is cut and not let in again.
    "disconnect": frozenset({"endpoint"}),
    # Bytes to and from it go at most so fast, all streams together.
    "slow": frozenset({"endpoint", "bytes_per_second"}),
    # The next ``count`` files written to it arrive with a byte changed.
    "corrupt": frozenset({"endpoint", "count"}),
    # The service answers 502 until so many seconds after the stand-in connected.
    "delay_ready": frozenset({"endpoint", "seconds"}),
    # "connected" locally and in the endpoint document, 502 from the service.
    "wedge": frozenset({"endpoint"}),
    # The next ``count`` requests whose path starts with ``prefix`` get this status.
    "http": frozenset({"status", "count", "prefix", "method", "retry_after"}),
    # All access tokens expire now; with ``refuse`` no new ones are given while it stands.
    "expire_tokens": frozenset({"refuse"}),
    # Operations on this path, or below it, end with this code.
    "fail_path": frozenset({"endpoint", "path", "code", "count"}),
    # Submissions that name an offline GCP are refused. (Globus is believed to accept them.)
    "refuse_offline": frozenset(),
}

#: Those that only a GCP can have.
OF_CONNECTIONS = frozenset({"disconnect", "delay_ready"})

REQUIRED: dict[str, frozenset[str]] = {
    "slow": frozenset({"bytes_per_second"}),
    "delay_ready": frozenset({"seconds"}),
    "http": frozenset({"status"}),
    "fail_path": frozenset({"path"}),
}


class Fault(msgspec.Struct):
    id: str
    kind: str
    fields: dict[str, Any]

    def concerns(self, endpoint: str) -> bool:
        return self.fields.get("endpoint", "all") in ("all", endpoint)


class Faults:
    """All threads ask here. ``wait`` ends early when anything is set or cleared: nothing sleeps past a change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed = threading.Condition()
        self._faults = store.load("fault", Fault)
        self.switches = store.load("switches", Switches).get("switches", Switches())
        #: Called, with no lock held, after every change: the engine and the relay have something to look at then.
        self.listeners: list[Callable[[], None]] = []

    def set(self, kind: str, fields: dict[str, Any]) -> Fault:
        """:raises ValueError: an unknown kind, or a field that is unknown, missing or of the wrong type."""
        _check(kind, fields)
        fault = Fault(secrets.token_hex(4), kind, dict(fields))
        with self._changed:
            self._faults[fault.id] = fault
            self._store.save("fault", fault.id, fault)
        self._tell()
        return fault

    def clear(self, id: str | None = None) -> int:
        """Clear one fault, or all of them; how many there were."""
        with self._changed:
            gone = list(self._faults) if id is None else [name for name in (id,) if name in self._faults]
            for name in gone:
                del self._faults[name]
                self._store.forget("fault", name)
        self._tell()
        return len(gone)

    def switch(self, values: dict[str, Any]) -> Switches:
        """:raises ValueError: an unknown switch, or a value of the wrong type."""
        with self._changed:
            try:
                found = msgspec.convert({**msgspec.structs.asdict(self.switches), **values}, Switches)
            except msgspec.ValidationError as error:
                raise ValueError(f"A switch can not be set so: {error}.") from error
            self.switches = found
            self._store.save("switches", "switches", found)
        self._tell()
        return found

    def list(self) -> list[Fault]:
        with self._changed:
            return list(self._faults.values())

    def find(self, kind: str, endpoint: str) -> Fault | None:
        """The first fault of ``kind`` that concerns ``endpoint``."""
        if not self._faults:  # the usual case; asked for every block of every file
            return None
        with self._changed:
            return next((f for f in self._faults.values() if f.kind == kind and f.concerns(endpoint)), None)

    def take(self, kind: str, wanted: Callable[[Fault], bool]) -> Fault | None:
        """As :meth:`find`, and use it once: at the end of its ``count`` it is gone."""
        if not self._faults:
            return None
        with self._changed:
            fault = next((f for f in self._faults.values() if f.kind == kind and wanted(f)), None)
            if fault is not None and fault.fields.get("count") is not None:
                fault.fields["count"] -= 1
                if fault.fields["count"] <= 0:
                    del self._faults[fault.id]
                    self._store.forget("fault", fault.id)
                else:
                    self._store.save("fault", fault.id, fault)
            return fault

    def wait(self, seconds: float) -> None:
        """Sleep, or less when something changes."""
        with self._changed:
            self._changed.wait(seconds)

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
        for listener in self.listeners:
            listener()


def _check(kind: str, fields: dict[str, Any]) -> None:
    allowed = KINDS.get(kind)
    if allowed is None:
        raise ValueError(f"There is no fault '{kind}'; there are: {', '.join(sorted(KINDS))}.")
    unknown = set(fields) - allowed
    if unknown:
        raise ValueError(
            f"The fault '{kind}' takes {', '.join(sorted(allowed)) or 'no fields'}, not {', '.join(sorted(unknown))}."
        )
    missing = REQUIRED.get(kind, frozenset()) - set(fields)
    if missing:
        raise ValueError(f"The fault '{kind}' needs {', '.join(sorted(missing))}.")
    for name, value in fields.items():
        shape, words = _SHAPES[name]
        if not shape(value):
            raise ValueError(f"The fault '{kind}' needs {words} for {name}, not {value!r}.")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


#: Field -> whether a value may be used, and what may.
_SHAPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "endpoint": (lambda value: isinstance(value, str), "an id or a name"),
    "bytes_per_second": (_number, "a number"),
    "seconds": (_number, "a number"),
    "count": (lambda value: _whole(value) and value >= 1, "a number from 1 on"),
    "status": (lambda value: _whole(value) and 400 <= value <= 599, "a number from 400 to 599"),
    "retry_after": (_number, "a number"),
    "prefix": (lambda value: isinstance(value, str) and value.startswith("/"), "a path"),
    "method": (lambda value: isinstance(value, str) and value.isupper(), "GET, POST, PUT or DELETE"),
    "path": (lambda value: isinstance(value, str) and value.startswith(("/", "~")), "a path"),
    "code": (lambda value: isinstance(value, str) and re.fullmatch("[A-Z_]+", value) is not None, "an event code"),
    "refuse": (lambda value: isinstance(value, bool), "true or false"),
}
