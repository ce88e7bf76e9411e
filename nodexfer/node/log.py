"""The keeper's log: lines with the time on stderr, which is a file in ``logs/``. Users are told in other ways."""

from __future__ import annotations

import os

from nodexfer.clock import utc


def say(text: str) -> None:
    """One line; a full disk loses it, and nothing else."""
    try:
        os.write(2, f"{utc()} [{os.getpid()}] {text}\n".encode(errors="replace"))
    except OSError:
        pass
