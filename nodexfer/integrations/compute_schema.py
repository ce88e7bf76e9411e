"""What an option of a shipped template may be, as its ``user_config_schema.json`` says it.

The endpoint looks at what a caller gives, and not at the defaults in its template: ``init`` has to look at these. Of
JSON Schema this is what the shipped ones use (a test sees to it); jsonschema comes with the endpoint, and a login node
may have nodexfer without it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from nodexfer.errors import ConfigInvalid

#: The words that :func:`wrong` knows; a description is for people.
KEYWORDS = frozenset({"type", "pattern", "minimum", "items", "description"})
_HELP = "nodexfer compute init --help"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


#: Each type: what it is called, and what is one. (JSON has no other integers than numbers.)
_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "string": ("a text", lambda value: isinstance(value, str)),
    "integer": ("a whole number", lambda value: _is_number(value) and value == value // 1),
    "number": ("a number", _is_number),
    "array": ("a list", lambda value: isinstance(value, (list, tuple))),
}


def refuse(file: str, site: str, options: Mapping[str, Any]) -> None:
    """:raises ConfigInvalid: the schema in ``file`` has no such option, or refuses its value; key, value and why."""
    with open(file, encoding="utf-8") as opened:
        known = json.load(opened)["properties"]
    for key, value in options.items():
        if key not in known:
            raise ConfigInvalid(f"A block at {site} has no {key}; it has: {', '.join(known)}.", _HELP)
        why = wrong(value, known[key])
        if why:
            raise ConfigInvalid(f"{key} of a block at {site} can not be {value!r}: {why}.", _HELP)


def wrong(value: Any, schema: Mapping[str, Any]) -> str:
    """Why ``schema`` refuses ``value``; "" where it does not."""
    name, is_one = _TYPES[schema["type"]]
    if not is_one(value):
        return f"{name} is wanted"
    if "minimum" in schema and value < schema["minimum"]:
        return f"it is {schema['minimum']} at least"
    if "pattern" in schema and re.search(schema["pattern"], value) is None:
        return f"it does not match {schema['pattern']}"
    found = (wrong(one, schema["items"]) for one in value) if "items" in schema else ()
    return next((f"of each in it, {why}" for why in found if why), "")
