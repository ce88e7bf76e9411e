"""Names that are not UTF-8, which Globus does not move and JSON does not carry: written down so that people know them.

Python has each byte that is none as a lone surrogate (os.fsdecode, PEP 383).
"""

from __future__ import annotations

from typing import Any


def utf8(name: str) -> str:
    """``name`` with ``%`` and two digits in place of each such byte."""
    if name.isascii():
        return name
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in name)


def utf8_record(value: Any) -> Any:
    """The same of every text in a record."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, dict):
        return {utf8_record(key): utf8_record(one) for key, one in value.items()}
    return [utf8_record(one) for one in value] if isinstance(value, (list, tuple)) else value
