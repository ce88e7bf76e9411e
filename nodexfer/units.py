"""Sizes, rates and durations: from text and to text."""

from __future__ import annotations

import re

#: Powers of 1024 have the i of IEC 80000-13; the bare letters mean the same, as in coreutils.
_FACTORS: dict[str, int] = {"": 1, "B": 1} | {
    f"{letter}{ending}": int(base**power)
    for power, letter in enumerate("KMGTP", 1)
    for ending, base in (("iB", 1024), ("", 1024), ("B", 1000))
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


def parse_bytes(text: str) -> int:
    """``64MiB``, ``1.5 GB``, ``4096``, ``10K`` (of 1024) as bytes.

    :raises ValueError: it is none of these.
    """
    match = _SIZE.fullmatch(text)
    factor = _FACTORS.get(match[2].replace("k", "K")) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size; write it as 4096, 10K, 64MiB or 1.5GB.")
    return round(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor


def format_bytes(count: float) -> str:
    """``0 B``, ``999 B``, ``1.5 KiB``, ``64.0 MiB``: at most one decimal, powers of 1024."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        count /= 1024
        if round(count, 1) < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} PiB"


def format_rate(bytes_per_second: float) -> str:
    return f"{format_bytes(bytes_per_second)}/s"


def parse_duration(text: str) -> float:
    """``300``, ``90s``, ``5m``, ``1h30m``, ``2d`` as seconds.

    :raises ValueError: it is none of these.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not text.strip():
        raise ValueError(f"{text!r} is not a duration; write it as 300, 90s, 5m, 1h30m or 2d.")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def format_duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 05 s``, ``1 h 02 min``, ``2 d 03 h``."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for big, small, size in (("d", "h", 86400), ("h", "min", 3600), ("min", "s", 60)):
        if whole >= size:
            return f"{whole // size} {big} {whole % size // (size // (24 if big == 'd' else 60)):02} {small}"
    return f"{whole} s"
