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
    paths = [f"{where}/{name}" for where, _, names in os.walk(f"{home}/receipts") for name in names]
    own = [record for record in map(read_json, paths) if record.get("job") == job]
    own.sort(key=lambda record: float(record.get("created") or 0.0))
    tasks = dict.fromkeys(task for record in own for task in record.get("tasks") or ())
    return Told(sum(float(record.get("waited_endpoint") or 0.0) for record in own), tuple(tasks))
