"""What nodexfer's receipts tell of a job: not for the proof, for the table."""

from __future__ import annotations

import os
from typing import NamedTuple

from nodexfer.sandbox.demo.watch import read_json


class Told(NamedTuple):
    """``waited`` in seconds, summed over the job's requests; ``tasks`` the Globus tasks, in order."""

    waited: float
    tasks: tuple[str, ...]


def told(home: str, job: str) -> Told:
    """Read the receipts of ``job`` (its key) below ``home`` (the user's nodexfer directory)."""
    waited = 0.0
    tasks: dict[str, None] = {}
    for where, _, names in sorted(os.walk(f"{home}/receipts")):
        for name in sorted(names):
            record = read_json(f"{where}/{name}")
            if record.get("job") == job:
                waited += float(record.get("waited_endpoint") or 0.0)
                tasks.update(dict.fromkeys(record.get("tasks") or ()))
    return Told(waited, tuple(tasks))
