"""``[compute]`` of the configuration: how functions are sent, in the words of Globus Compute itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nodexfer.config import Config
from nodexfer.errors import ConfigInvalid

#: The service's words: a login by a browser, and an application's own identity by its id and secret.
NATIVE = "native_client"
CREDENTIALS = ("client_credentials", "confidential_client")


class Settings(NamedTuple):
    """Times are seconds. ``auth_method`` "" is what the SDK does: an application's identity where one is set."""

    auth_method: str = ""
    endpoint_id: str = ""
    #: How long to wait for a function's result, its time in the queue included.
    function_timeout: float = 3600.0
    #: How often a function that did not fail by its own fault is sent again.
    max_retries: int = 0
    #: Options of the endpoint's template: ``[compute.options]``.
    options: Mapping[str, Any] = {}


def read(config: Config, **given: Any) -> Settings:
    """:param given: what was said on the command line; None means nothing was.

    :raises ConfigInvalid: a key is not known, or a value can not be used.
    """
    found: dict[str, Any] = dict(config.compute)
    unknown = found.keys() - set(Settings._fields)
    if unknown:
        known = ", ".join(Settings._fields)
        raise _invalid(config, ", ".join(sorted(unknown)), f"is not known; [compute] may have {known}")
    options = found.pop("options", {})
    if not isinstance(options, dict):
        raise _invalid(config, "options", "must be a table, as in [compute.options]")
    said = {key: value for key, value in given.items() if value is not None}
    options = {**options, **said.pop("options", {})}
    made = Settings(**{**found, **said}, options=options)
    for key, check in _CHECKS.items():
        if not check(getattr(made, key)):
            raise _invalid(config, key, f"can not be {getattr(made, key)!r}; {_WANTED[key]}")
    return made


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_id(value: object) -> bool:
    try:
        return value == "" or bool(uuid.UUID(str(value)))
    except ValueError:
        return False


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "auth_method": lambda value: value in ("", NATIVE, *CREDENTIALS),
    "endpoint_id": _is_id,
    "function_timeout": lambda value: _is_number(value) and value > 0,
    "max_retries": lambda value: _is_number(value) and value >= 0 and value == int(value),
}
_WANTED = {
    "auth_method": f"it is one of {', '.join((NATIVE, *CREDENTIALS))}",
    "endpoint_id": "it is the endpoint's UUID",
    "function_timeout": "it is a number of seconds",
    "max_retries": "it is a number, 0 or more",
}


def _invalid(config: Config, key: str, reason: str) -> ConfigInvalid:
    where = f"{config.file}: " if key in config.compute and config.file else ""
    next_ = f"${{EDITOR:-vi}} {config.file}" if where else "nodexfer compute --help"
    return ConfigInvalid(f"{where}compute.{key} {reason}.", next_)
